/* hf.llm/1 — a language model adapter (plugin side).
 *
 * Methods of submit():
 *   "describe"  request {}            → result {"model": "...", "available": bool, "reason": "why / why not",
 *                                        "local": bool, "demonstration": bool}. Cheap; may ask a local server.
 *   "chat"      request (below)       → chunks (below), then the result
 *
 * chat request: {"model"?: "...", "system"?: "...", "messages": [message…], "tools": [{"name","description","input_schema"}…],
 *                "max_tokens"?: n, "temperature"?: x, "session_id"?: "..."}
 *   message: {"role": "user"|"assistant"|"tool", "content": [part…]}
 *   part:    {"type":"text","text":…} | {"type":"tool_use","id":…,"name":…,"input":{…}}
 *          | {"type":"tool_result","tool_use_id":…,"text":…,"is_error":bool}   (role "tool" only)
 *          | {"type":"image","media_type":…,"data":base64} | {"type":"opaque", …}  (echoed back unmodified to the same adapter)
 * chunk:   {"type":"text","text":…} | {"type":"reasoning","text":…} | {"type":"tool_use_start","id":…,"name":…}
 * result:  {"model":…, "stop_reason":"end_turn"|"tool_use"|"max_tokens"|"refusal"|"other",
 *           "content":[part…]   the complete assistant message; tool inputs parsed and whole, never truncated ones,
 *           "usage":{"input_tokens":n,"output_tokens":n,"cached_tokens":n}}
 * A stream that ends without its terminal event is an error (HF_E_PROTOCOL); silence longer than the idle limit is HF_E_TIMEOUT. */
#ifndef HOLDFAST_EXT_LLM_H
#define HOLDFAST_EXT_LLM_H
#include "holdfast/abi/call.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_LLM "hf.llm/1"
typedef struct hf_llm {
    uint32_t size;
    uint32_t reserved;
    int32_t (*submit)(void* self, const hf_call* call, hf_error* err); /* [any & active] */
    void (*cancel)(void* self, uint64_t call_id);                      /* [any & active] completes it with HF_E_CANCELLED soon; unknown ids are ignored */
} hf_llm;
#ifdef __cplusplus
}
#endif
#endif
