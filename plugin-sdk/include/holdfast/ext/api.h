/* hf.api/1 — the host's one API, the same methods as HTTP, WebSocket, the control socket and the CLI (host side).
 * Methods, their parameters and results: host/doc/api.md. */
#ifndef HOLDFAST_EXT_API_H
#define HOLDFAST_EXT_API_H
#include "holdfast/abi/call.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_API "hf.api/1"
typedef struct hf_api {
    uint32_t size;
    uint32_t reserved;
    /* [any & active] call->request: {"params":{…},"identity"?:{"user":"…","role":"admin","ui":"web"}}. A UI states on whose behalf it
     * calls; it can only lower its own rights. Errors arrive as on_done(err) with the result bytes holding the
     * uniform error object {"code","message","retry_after_ms"?}. Methods that answer in pieces need on_chunk; cancel() ends
     * them with HF_E_CANCELLED, and a piece that is with the plugin comes back before on_done. */
    int32_t (*submit)(void* ctx, const hf_call* call, hf_error* err);
    void (*cancel)(void* ctx, uint64_t call_id);
    /* [any] The method table as JSON (OpenAPI 3.1 document). */
    int32_t (*describe)(void* ctx, hf_buf* out, hf_error* err);
    /* [any & active] Checks a bearer token (header, cookie exchange). HF_OK: *identity is JSON {"user","role"}; HF_E_AUTH: refused. */
    int32_t (*authenticate)(void* ctx, hf_str token, hf_buf* identity, hf_error* err);
} hf_api;
#ifdef __cplusplus
}
#endif
#endif
