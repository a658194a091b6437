/* hf.transport/1 — carries JSON-RPC messages between the host's MCP client and one server (plugin side).
 *
 * A connection is opened with the server's own configuration object (JSON, e.g. {"command":…,"args":[…],"env":{…}} or
 * {"url":…,"headers":{…}}). Messages are whole JSON-RPC texts. The transport does not interpret them beyond what its
 * binding demands (Streamable HTTP mirrors method, name and version into headers, keeps Mcp-Session-Id of a legacy server,
 * and turns one POST's answer — JSON or SSE — into messages). */
#ifndef HOLDFAST_EXT_TRANSPORT_H
#define HOLDFAST_EXT_TRANSPORT_H
#include "holdfast/abi/base.h"
#ifdef __cplusplus
extern "C" {
#endif
#define HF_EXT_TRANSPORT "hf.transport/1"

/* Where a connection reports. [any thread; never two at once for one connection] All valid until on_closed returned. */
typedef struct hf_transport_sink {
    uint32_t size;
    uint32_t reserved;
    void* ctx;
    /* The connection is usable (process spawned, socket open; for HTTP: at once). `info` JSON: {"pid":n}? {"url":…}? */
    void (*on_open)(void* ctx, hf_bytes info);
    /* One JSON-RPC message from the server. Where the binding says on which request's stream it came: "<id as JSON>\n<message>". */
    void (*on_message)(void* ctx, hf_bytes message);
    /* One request could not be delivered or got no JSON-RPC answer. `request_id` is its id as JSON text. err->peer_status
     * holds an HTTP status if there was one. Other requests go on. */
    void (*on_request_failed)(void* ctx, hf_bytes request_id, const hf_error* err);
    /* A line of the server's stderr or another diagnostic. */
    void (*on_log)(void* ctx, hf_str line);
    /* Exactly once, last: closed by close() (err NULL), or lost (err says how: exit code or signal in the message;
     * HF_E_PEER: the other side ended in order, as a program does that exits with status 0). */
    void (*on_closed)(void* ctx, const hf_error* err);
} hf_transport_sink;

typedef struct hf_transport {
    uint32_t size;
    uint32_t reserved;
    /* [any & active] Starts opening. HF_OK: on_open or on_closed follows. `conn` is chosen by the host, unique per instance.
     * The sink table is copied. */
    int32_t (*open)(void* self, uint64_t conn, hf_bytes config, const hf_transport_sink* sink, hf_error* err);
    /* [any & active] Queues one message. HF_E_OVERLOADED when the high-water mark is reached, HF_E_NOT_FOUND when closed. */
    int32_t (*send)(void* self, uint64_t conn, hf_bytes message, hf_error* err);
    /* [any & active] The host no longer waits for this request (id as JSON text): HTTP closes its response stream. */
    void (*abandon)(void* self, uint64_t conn, hf_bytes request_id);
    /* [any & active|quiescing] Graceful close within deadline_ns (CLOCK_MONOTONIC), then forced. on_closed follows. */
    void (*close)(void* self, uint64_t conn, int64_t deadline_ns);
} hf_transport;
#ifdef __cplusplus
}
#endif
#endif
