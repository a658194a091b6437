#pragma once
// What the gateway's machines share: who asks, what happened upstream, what the shell has to do. Pure data.
//
//   client message ─▶ modern_call (one request, perhaps several rounds)  ─▶ actions ─▶ shell ─▶ chunks, upstream calls
//                  └▶ legacy_session (one handshake, many requests)       ◀─ upstream events ◀┘
//
// The internal model is the modern one; the legacy session translates at the edge, so bridging is one translation.
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "kernel/core/clock.hpp"
#include "mcp/era.hpp"
#include "mcp/json_rpc.hpp"

namespace holdfast::mcp::gateway {

/// Which words a client understands.
struct dialect {
    era speaks = era::modern;
    std::string version{modern_version};
    bool modern() const { return speaks == era::modern; }
};

struct limits {
    std::size_t max_requests = 256;            ///< under way in one legacy session
    std::size_t max_subscriptions = 256;       ///< resources one client watches
    std::size_t max_streams = 64;              ///< kept per legacy session, with what can be replayed of them
    std::size_t max_replay_bytes = 256u << 10; ///< per legacy session
    std::size_t max_batch = 100;               ///< messages of one POST (2025-03-26)
    std::size_t max_questions = 64;            ///< of servers, waiting for one legacy client
    milliseconds input_wait{600'000};          ///< a client may take this long to come back with the input a server asked for
    milliseconds stream_after{1'000};          ///< a request without an answer so far gets its event stream open
    milliseconds session_idle{1'800'000};      ///< a legacy session nobody uses
    milliseconds replay_keep{60'000};          ///< a finished stream can be resumed so long
    milliseconds call_timeout{300'000};        ///< whatever progress says
};

using stream_id = std::uint64_t;  ///< one mcp.post or mcp.listen; chosen by the shell, never reused
using call_ref = std::uint64_t;   ///< one upstream call; chosen by the machine, unique within it

/// A request for a server behind the gateway.
struct upstream_request {
    std::string server, method;
    json params;
};

// What a machine wants done, in this order.
namespace act {
/// First thing on a stream: HTTP status, whether events follow, and the session a client has just been given.
struct head { stream_id on; int status = 200; bool stream = false; std::string session = {}; };
/// One JSON-RPC message; `event` is what goes before it: "", "<id>" or "<id> <retry ms>". An empty text primes the event id.
struct emit { stream_id on; std::string event; std::string text; };
struct end { stream_id on; };
struct call { call_ref id; upstream_request request; bool progress = false; bool input = false; json capabilities; std::string log_level; };
struct cancel { call_ref id; };
struct answer { call_ref id; std::string key; json response; };  ///< a result, or {"error":{…}}
struct watch { std::set<std::string> uris; };                    ///< all the resources this client watches from now on
struct over {};                                                  ///< nothing will ever happen here again
}  // namespace act
using action = std::variant<act::head, act::emit, act::end, act::call, act::cancel, act::answer, act::watch, act::over>;
using actions = std::vector<action>;

// What happens to an upstream call.
namespace up {
struct progress { call_ref id; json value; };   ///< {"progress","total"?,"message"?}
struct log { call_ref id; json params; };       ///< of notifications/message
struct input { call_ref id; std::string key, method; json params; bool more = false; };
struct done { call_ref id; result<json> outcome; std::optional<rpc_error> answered; };  ///< answered: the server's own error
}  // namespace up

enum class list_kind : std::uint8_t { tools, prompts, resources, templates };
inline constexpr std::size_t list_kinds = 4;

/// RFC 5424; -1: no such level.
int log_severity(std::string_view level);
/// Whether a client that declared `capabilities` can be asked this (elicitation by mode).
bool can_ask(const json& capabilities, std::string_view method, const json& params);
/// What a server hears when its question cannot be put to the client.
json unasked(std::string_view method);

}  // namespace holdfast::mcp::gateway
