/* hf.config/1 — the instance's own settings at runtime (host side). */
#ifndef HOLDFAST_EXT_CONFIG_H
#define HOLDFAST_EXT_CONFIG_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_CONFIG "hf.config/1"
typedef struct hf_config {
    uint32_t size;
    uint32_t reserved;
    /* [any] The resolved settings object (references replaced), as given to create. */
    int32_t (*settings)(void* ctx, hf_buf* out, hf_error* err);
    /* [any] The host's data directory for this instance, created on first use: {"path":"…"}. */
    int32_t (*data_dir)(void* ctx, hf_buf* out, hf_error* err);
} hf_config;
#ifdef __cplusplus
}
#endif
#endif
