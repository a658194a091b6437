/* hf.metrics/1 — counters, gauges, histograms (host side). `labels`: JSON object of strings or empty. */
#ifndef HOLDFAST_EXT_METRICS_H
#define HOLDFAST_EXT_METRICS_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_METRICS "hf.metrics/1"
typedef struct hf_metrics {
    uint32_t size;
    uint32_t reserved;
    void (*add)(void* ctx, hf_str name, hf_bytes labels, double delta);     /* [any] counter */
    void (*set)(void* ctx, hf_str name, hf_bytes labels, double value);     /* [any] gauge */
    void (*observe)(void* ctx, hf_str name, hf_bytes labels, double value); /* [any] histogram, seconds or bytes */
} hf_metrics;
#ifdef __cplusplus
}
#endif
#endif
