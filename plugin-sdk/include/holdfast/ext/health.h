/* hf.health/1 — a health policy (plugin side): samples in, verdict out. Synchronous, plain structs, time passed in. */
#ifndef HOLDFAST_EXT_HEALTH_H
#define HOLDFAST_EXT_HEALTH_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_HEALTH "hf.health/1"

enum { HF_SAMPLE_ACTIVE = 0, HF_SAMPLE_PASSIVE = 1 };                       /* a probe, or a real call */
enum { HF_FAULT_NONE = 0, HF_FAULT_REMOTE = 1, HF_FAULT_LOCAL = 2 };        /* who is to blame; counted apart */
enum { HF_HEALTH_UNKNOWN = 0, HF_HEALTH_UP = 1, HF_HEALTH_DEGRADED = 2, HF_HEALTH_DOWN = 3 };

typedef struct hf_health_sample {
    uint32_t size;
    int32_t kind;        /* HF_SAMPLE_… */
    int32_t ok;
    int32_t fault;       /* HF_FAULT_… when !ok */
    int64_t latency_ns;
    int64_t now_ns;
    double memory_bytes, cpu_percent, queue_length; /* NaN = not measured */
} hf_health_sample;

typedef struct hf_health_verdict {
    uint32_t size;
    int32_t state;              /* HF_HEALTH_… */
    double score;               /* the policy's own figure: failures in a row, phi, … */
    int64_t next_check_ns;      /* absolute: when the next active probe is due (jittered) */
    int64_t probe_timeout_ns;   /* how long that probe may take */
    char reason[160];           /* why, NUL-terminated */
} hf_health_verdict;

typedef struct hf_health {
    uint32_t size;
    uint32_t reserved;
    /* `config`: JSON {"interval_s":30,"timeout_s":5,"failure_threshold":1,"success_threshold":1, …}. */
    int32_t (*open)(void* self, hf_bytes config, uint64_t seed, int64_t now_ns, void** monitor, hf_error* err);
    void (*close)(void* self, void* monitor);
    void (*observe)(void* self, void* monitor, const hf_health_sample* sample);
    void (*verdict)(void* self, void* monitor, int64_t now_ns, hf_health_verdict* out);
    void (*reset)(void* self, void* monitor, int64_t now_ns); /* a fresh start: after a restart of what is watched */
} hf_health;
#ifdef __cplusplus
}
#endif
#endif
