/* holdfast/abi/call.h — one asynchronous call with streamed chunks and exactly one completion. */
#ifndef HOLDFAST_ABI_CALL_H
#define HOLDFAST_ABI_CALL_H

#include "holdfast/abi/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Lent by the caller for the duration of submit(); the callee copies the struct and the bytes it needs.
 *
 * Completion rule: if submit returns HF_PENDING, on_done is called exactly once, on any thread, perhaps before submit
 * returns; if it returns anything else, on_done is never called and `err` says why. After on_done nothing may be called
 * with this id. The host itself completes a call with HF_E_INTERNAL when the plugin crashes, and with HF_E_TIMEOUT when
 * the deadline passes; what the plugin says later for that id is dropped. */
typedef struct hf_call {
    uint32_t size;
    uint32_t reserved;
    uint64_t id;          /* unique per instance; names the call in cancel() */
    int64_t deadline_ns;  /* absolute, CLOCK_MONOTONIC; 0 = none */
    hf_str method;
    hf_bytes request; /* UTF-8 JSON */
    void* ctx;
    void (*on_chunk)(void* ctx, uint64_t id, hf_bytes chunk);                         /* [any thread, one at a time] */
    void (*on_done)(void* ctx, uint64_t id, const hf_error* err, hf_bytes result);    /* err NULL = success */
} hf_call;

#ifdef __cplusplus
}
#endif
#endif
