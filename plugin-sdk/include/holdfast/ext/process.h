/* hf.process/1 — supervised child processes (host side). The host owns them: pipes in, bytes out. */
#ifndef HOLDFAST_EXT_PROCESS_H
#define HOLDFAST_EXT_PROCESS_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_PROCESS "hf.process/1"

/* [any thread; never two at once for one process] All valid until on_exit returned. The table is copied. */
typedef struct hf_process_sink {
    uint32_t size;
    uint32_t reserved;
    void* ctx;
    void (*on_stdout)(void* ctx, hf_bytes line);  /* one line without its newline when spec.lines, else raw bytes */
    void (*on_stderr)(void* ctx, hf_str line);
    /* stdout broke a limit: the line exceeded max_line_bytes and was dropped whole. */
    void (*on_overflow)(void* ctx, uint64_t bytes);
    /* Exactly once, last. status JSON: {"kind":"exited"|"signaled"|"memory_limit"|"killed","code":n,"signal":"SIGSEGV",
     * "detail":"…","uptime_ms":n}; stdout and stderr are drained before. */
    void (*on_exit)(void* ctx, hf_bytes status);
} hf_process_sink;

typedef struct hf_process {
    uint32_t size;
    uint32_t reserved;
    /* [any & active] spec JSON: {"name":"…","command":"…","args":[…],"env":{…},"cwd":"…","lines":true,
     * "max_line_bytes":4194304,"memory_mb":500,"stop_grace_ms":2000}. The environment is exactly an allow-list plus env.
     * HF_OK: running, *process and *pid are set. HF_E_COMMAND_NOT_FOUND and others: nothing runs, no callback comes. */
    int32_t (*spawn)(void* ctx, hf_bytes spec, const hf_process_sink* sink, uint64_t* process, int64_t* pid, hf_error* err);
    /* [any & active] Queues bytes for stdin. HF_E_OVERLOADED above the high-water mark (4 MiB). */
    int32_t (*write)(void* ctx, uint64_t process, hf_bytes data, hf_error* err);
    /* [any] Close stdin → SIGTERM to the group → SIGKILL to the group, each after grace_ms. on_exit follows. */
    void (*stop)(void* ctx, uint64_t process, uint32_t grace_ms);
    /* [any] {"pid","memory_bytes","cpu_percent","fds","uptime_ms"} */
    int32_t (*stats)(void* ctx, uint64_t process, hf_buf* out, hf_error* err);
} hf_process;
#ifdef __cplusplus
}
#endif
#endif
