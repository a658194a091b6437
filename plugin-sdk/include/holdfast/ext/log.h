/* hf.log/1 — structured log lines (host side). */
#ifndef HOLDFAST_EXT_LOG_H
#define HOLDFAST_EXT_LOG_H
#include "holdfast/abi/plugin.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_LOG "hf.log/1"
typedef struct hf_log {
    uint32_t size;
    uint32_t reserved;
    /* [any] `fields`: a JSON object or empty. Never put secrets or prompt text into a line. */
    void (*write)(void* ctx, int32_t level, hf_str message, hf_bytes fields);
} hf_log;
#ifdef __cplusplus
}
#endif
#endif
