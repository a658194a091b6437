/* hf.store/1 — durable storage (plugin side). Completion of a write means it is durable.
 *
 * Methods of submit(), requests → results:
 *   "append"   {"events":[{"stream":"session:<id>","seq":n,"type":"...","idem_key"?:"...","at":"RFC3339","data":{…}}…]}
 *              → {"appended":n}. All or none, one commit (several calls may share it: group commit). Seq must be above the
 *              stream's last (gaps are allowed, a repeat is HF_E_EXISTS); a repeated (stream, idem_key) is HF_E_EXISTS.
 *   "read"     {"stream":"...","after":n,"limit":n}  → {"events":[…ascending…],"last":n}
 *   "tail"     {"stream":"...","limit":n,"before"?:n} → {"events":[…ascending…],"last":n}   the newest `limit` (before seq)
 *   "last"     {"stream":"..."}                      → {"last":n}    0 = empty
 *   "streams"  {"prefix":"session:","limit":n,"after"?:"name"} → {"streams":[{"stream","last","events"}…]}
 *   "drop"     {"stream":"..."}                      → {"dropped":n}
 *   "trim"     {"stream":"...","keep":n}             → {"dropped":n}   all but the newest n, at least 1; their idem_keys are forgotten.
 *              A store may do without: HF_E_UNSUPPORTED, and logs of servers' health grow without end.
 *   "put"      {"table":"...","key":"...","value":{…}} → {}        tables: sessions, mcp_servers, overrides, snapshots, aliases, history …
 *   "get"      {"table":"...","key":"..."}           → {"value":{…}|null}
 *   "list"     {"table":"...","prefix"?:"","after"?:"key","limit":n} → {"rows":[{"key","value"}…]}
 *   "delete"   {"table":"...","key":"..."}           → {"deleted":bool}
 *   "status"   {} → {"writable":bool,"reason":"","path":"...","schema":n,"last_error":"..."}
 * Errors: HF_E_READ_ONLY (disk full, read-only file; reads still work), HF_E_CORRUPT, HF_E_IO, HF_E_EXISTS, HF_E_INVALID. */
#ifndef HOLDFAST_EXT_STORE_H
#define HOLDFAST_EXT_STORE_H
#include "holdfast/abi/call.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_STORE "hf.store/1"
typedef struct hf_store {
    uint32_t size;
    uint32_t reserved;
    int32_t (*submit)(void* self, const hf_call* call, hf_error* err); /* [any & active] */
    void (*cancel)(void* self, uint64_t call_id);                      /* [any & active] best effort */
} hf_store;
#ifdef __cplusplus
}
#endif
#endif
