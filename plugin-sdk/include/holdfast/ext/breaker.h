/* hf.breaker/1 — a circuit breaker policy (plugin side). Synchronous calls of plain structs; time is passed in.
 * [any thread; the host never calls two functions on one breaker handle at once unless the plugin sets thread_safe = 1] */
#ifndef HOLDFAST_EXT_BREAKER_H
#define HOLDFAST_EXT_BREAKER_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_BREAKER "hf.breaker/1"

enum { HF_BREAKER_CLOSED = 0, HF_BREAKER_OPEN = 1, HF_BREAKER_HALF_OPEN = 2, HF_BREAKER_DISABLED = 3 };
enum { HF_OUTCOME_SUCCESS = 0, HF_OUTCOME_FAILURE = 1, HF_OUTCOME_IGNORED = 2, HF_OUTCOME_DROPPED = 3 };

typedef struct hf_permit {
    uint32_t size;
    int32_t granted;         /* 1: call, then report exactly once with this generation */
    uint64_t generation;     /* results of an older generation count in metrics only */
    int64_t retry_after_ns;  /* when refused: how long until a permit may be granted; -1 = not before a person acts */
} hf_permit;

typedef struct hf_breaker_state {
    uint32_t size;
    int32_t state;             /* HF_BREAKER_… */
    uint64_t generation;
    uint32_t consecutive_failures;
    uint32_t open_count;       /* k: how many times in a row it opened, exponent of the backoff */
    int64_t until_ns;          /* open: when half-open begins; half_open: its deadline; else 0 */
    uint64_t calls, failures, rejected;
} hf_breaker_state;

typedef struct hf_breaker {
    uint32_t size;
    int32_t thread_safe;
    /* `config`: JSON {"failure_threshold":5,"recovery_timeout_s":30,"max_timeout_s":600,"backoff_multiplier":2, …}; `seed` for jitter. */
    int32_t (*open)(void* self, hf_bytes config, uint64_t seed, int64_t now_ns, void** breaker, hf_error* err);
    void (*close)(void* self, void* breaker);
    void (*permit)(void* self, void* breaker, int64_t now_ns, hf_permit* out);
    /* outcome HF_OUTCOME_…; latency_ns of the call. Exactly once per granted permit. */
    void (*report)(void* self, void* breaker, uint64_t generation, int32_t outcome, int64_t latency_ns, int64_t now_ns);
    void (*state)(void* self, void* breaker, int64_t now_ns, hf_breaker_state* out);
    /* Force: closed (fresh window), open, or disabled. */
    void (*force)(void* self, void* breaker, int32_t state, int64_t now_ns);
} hf_breaker;
#ifdef __cplusplus
}
#endif
#endif
