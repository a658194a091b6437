/* hf.worker/1 — supervised threads (host side). Plugins start no threads of their own. */
#ifndef HOLDFAST_EXT_WORKER_H
#define HOLDFAST_EXT_WORKER_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_WORKER "hf.worker/1"

/* Given to a running worker; valid until `run` returns. Plain memory: reading it costs nothing. */
typedef struct hf_worker_ctl {
    uint32_t size;
    uint32_t incarnation;           /* 1, 2, 3 … */
    const volatile int32_t* stop;   /* becomes 1 when the worker should return */
    volatile uint64_t* beat;        /* increment it at least once per heartbeat_ms */
    /* Waits until *stop, until wake() or until timeout_ns passed (negative: no timeout); counts as beating meanwhile.
     * Returns 1 when the worker should stop. */
    int32_t (*wait)(const struct hf_worker_ctl* ctl, int64_t timeout_ns);
    int32_t stop_fd;                /* readable once *stop is 1, for a worker with a poll() of its own; -1: there is none */
    int32_t reserved;
} hf_worker_ctl;

typedef struct hf_worker_spec {
    uint32_t size;
    uint32_t heartbeat_ms;          /* 0: no watchdog for this worker */
    hf_str name;                    /* unique within the instance; shown in the tree and as the thread's name */
    hf_str restart;                 /* "permanent" (default when empty), "transient", "temporary" */
    uint32_t shutdown_ms;           /* how long stop waits; 0 = the default 5000 */
    uint32_t reserved;
    void* arg;
    /* Runs on its own thread. HF_OK: normal exit; an HF_E_ code (err filled): abnormal exit. The supervisor calls it
     * again for every restart. It must return soon after *ctl->stop. */
    int32_t (*run)(void* arg, const hf_worker_ctl* ctl, hf_error* err);
} hf_worker_spec;

typedef struct hf_worker {
    uint32_t size;
    uint32_t reserved;
    /* [control or worker & ready|active] Adds a supervised worker, restarted by the instance's strategy. HF_E_EXISTS: the name is taken. */
    int32_t (*start)(void* ctx, const hf_worker_spec* spec, hf_error* err);
    /* [any & active] Asks the worker to stop and removes it. Returns at once. */
    int32_t (*stop)(void* ctx, hf_str name, hf_error* err);
    /* [any & active] Ends the worker's current or next wait(). */
    int32_t (*wake)(void* ctx, hf_str name);
} hf_worker;
#ifdef __cplusplus
}
#endif
#endif
