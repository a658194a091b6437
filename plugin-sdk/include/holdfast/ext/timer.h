/* hf.timer/1 — one-shot timers (host side). */
#ifndef HOLDFAST_EXT_TIMER_H
#define HOLDFAST_EXT_TIMER_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_TIMER "hf.timer/1"
typedef struct hf_timer {
    uint32_t size;
    uint32_t reserved;
    int64_t (*now)(void* ctx); /* [any] CLOCK_MONOTONIC nanoseconds as the host sees it */
    /* [any & active] Calls fire(arg) once on a host thread after delay_ns. Keep it short. *timer > 0 names it. */
    int32_t (*after)(void* ctx, int64_t delay_ns, void (*fire)(void* arg), void* arg, uint64_t* timer, hf_error* err);
    /* [any] After it returns fire is not running and will not run (unless called from fire itself). */
    void (*cancel)(void* ctx, uint64_t timer);
} hf_timer;
#ifdef __cplusplus
}
#endif
#endif
