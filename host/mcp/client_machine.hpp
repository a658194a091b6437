#pragma once
// The client's side of one connection to one MCP server, as a pure state machine: events and the time go in, actions come
// out. It opens nothing, reads no clock, starts no thread. Speaks both eras and shows one: calls, progress, input, lists.
//
//   opened → [modern? server/discover] → [legacy: initialize, initialized] → lists → ready → … → closed
//
// Spec: MCP 2026-07-28 (basic/versioning, transports, patterns) and 2025-11-25.
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "mcp/era.hpp"
#include "mcp/json_rpc.hpp"

namespace holdfast::mcp {

struct client_limits {
    milliseconds probe_timeout{5'000};       ///< silence after server/discover means legacy (stdio)
    milliseconds handshake_timeout{30'000};  ///< initialize, and each page of a list
    milliseconds idle_timeout{0};            ///< of a call without progress; 0: only its maximum
    std::uint32_t max_pages = 200;
    std::size_t max_items = 20'000;          ///< per list
    std::uint32_t max_input_rounds = 16;     ///< of one call
    milliseconds url_wait{60'000};           ///< for what a person does at a URL; without news the call is tried again then
    std::uint32_t max_server_requests = 32;  ///< legacy: requests of the server that wait for an answer
    std::uint32_t max_calls = 1'024;         ///< at the same time
    std::uint32_t max_violations = 1'000;    ///< in a row, without a valid answer between: the connection is given up
    milliseconds refresh_interval{1'000};    ///< list_changed is followed at most this often
    milliseconds stale_interval{10'000};     ///< a list whose ttlMs is over is read again when used, at most this often
    std::size_t max_watched = 1'000;         ///< resources subscribed to
    std::size_t max_cached_reads = 256;
    std::size_t max_cached_bytes = 8u << 20;
};

struct client_options {
    bool http = false;           ///< cancel by abandoning the response stream; 4xx means legacy
    era known = era::unknown;    ///< from the connection before: legacy skips the probe
    json client_info;
    json capabilities = json{{"elicitation", {{"form", json::object()}, {"url", json::object()}}},
                             {"sampling", json::object()}, {"roots", json::object()}};
    json roots = json::array();
    std::set<std::string> watched;  ///< as in::watch, from the start
    std::string log_level;          ///< as in::log_level, from the start
    client_limits limits;
};

/// debug, info, notice, warning, error, critical, alert, emergency.
bool is_log_level(std::string_view level) noexcept;

using call_id = std::uint64_t;  ///< chosen by the shell, never reused

namespace in {
struct opened {};
struct message { std::string text; };  ///< maybe after "<request id>\n": it came on that request's stream
struct request_failed { std::string request_id; error why; int peer_status = 0; };  ///< id as JSON text
struct send_failed { std::string request_id; error why; };                          ///< the transport refused it: not sent
struct closed { error why; };
/// Any request of the modern model: tools/call, prompts/get, resources/read, completion/complete.
struct call {
    call_id id = 0;
    std::string method;
    json params;
    milliseconds timeout{60'000};
    bool accepts_input = false;   ///< false: no capability is declared for it, and legacy servers are declined
    bool wants_progress = false;
    std::string owner;            ///< session; input requests of legacy servers go to its newest call
    json capabilities;            ///< of the one who asks, declared to modern servers; null: client_options::capabilities
    std::string log_level;        ///< least severe log message wanted; empty: none. Modern servers are asked for it
    bool fills_defaults = false;  ///< what an accepted form leaves out gets its default (false: answers pass as they are)
    milliseconds input_wait{600'000};  ///< its clock stands still while a person is asked, this long at most
};
struct cancel { call_id id; std::string reason; };
struct answer { call_id id; std::string key; json response; };  ///< the result, or {"error":{"code","message"}}
struct probe { std::uint64_t id; milliseconds timeout; json request; };  ///< health check; request null, or {"method","params"}
struct refresh {};                                              ///< fetch all lists again
struct watch { std::set<std::string> uris; };                   ///< all resources whose updates are wanted from now on
struct log_level { std::string level; };                        ///< of what a legacy server logs; empty: as it likes
struct tick {};                                                 ///< next_deadline() has come
}  // namespace in
using client_event = std::variant<in::opened, in::message, in::request_failed, in::send_failed, in::closed, in::call, in::cancel,
                                  in::answer, in::probe, in::refresh, in::watch, in::log_level, in::tick>;

/// What a server offers. Immutable once published.
struct server_lists {
    json tools = json::array();               ///< definitions as the server gave them, invalid ones left out
    json prompts = json::array();
    json resources = json::array();
    json resource_templates = json::array();
};

struct server_identity {
    era detected = era::unknown;
    std::string version;
    json info;           ///< {"name","version"}: self-reported, for display only
    json capabilities;
    std::string instructions;
};

namespace out {
struct send { std::string text; std::string request_id; };  ///< request_id empty for notifications and answers
struct abandon { std::string request_id; };
struct ready { server_identity who; std::shared_ptr<const server_lists> lists; };   ///< once
struct lists_changed { std::shared_ptr<const server_lists> lists; };
struct failed { error why; };                               ///< this connection is of no use: close it
/// `answered`: the server answered with this error. `cached`: the answer is an older one that is still fresh; nothing was sent.
struct done {
    call_id id;
    result<json> outcome;
    bool sent;
    nanoseconds took;
    std::optional<rpc_error> answered = {};
    bool cached = false;
};
struct progress { call_id id; json value; };
struct input { call_id id; std::string key; std::string method; json params; bool more = false; };  ///< more: of the same round
struct input_withdrawn { call_id id; std::string key; };    ///< the server no longer waits for it
struct probed { std::uint64_t id; result<json> outcome; nanoseconds took; };  ///< null: the server does not know the method, but lives
struct log { bool warning; std::string line; };             ///< for the server's log
/// notifications/message. call 0: it does not say whose call it is about, and several sessions have one under way.
struct message { call_id call; json params; };
/// The server says of its own accord: notifications/{tools,prompts,resources}/list_changed (after lists_changed),
/// notifications/resources/updated, notifications/elicitation/complete.
struct notice { std::string method; json params; };
}  // namespace out
using client_action = std::variant<out::send, out::abandon, out::ready, out::lists_changed, out::failed, out::done, out::progress,
                                   out::input, out::input_withdrawn, out::probed, out::log, out::message, out::notice>;

struct client_counters {
    std::uint64_t sent = 0, received = 0;
    std::uint64_t garbage = 0;        ///< not JSON-RPC
    std::uint64_t foreign = 0;        ///< answers to ids that were never ours
    std::uint64_t repeated = 0;       ///< second answers
    std::uint64_t late = 0;           ///< answers to cancelled or timed-out requests: legal
    std::uint64_t misplaced = 0;      ///< legal shape, not allowed here: unknown token, request from a modern server …
    std::uint64_t excluded_tools = 0;
};

/// [one thread at a time: the server's actor]
class client_machine {
  public:
    explicit client_machine(client_options options);
    ~client_machine();
    client_machine(client_machine&&) noexcept;
    client_machine& operator=(client_machine&&) noexcept;

    /// Appends the actions in the order they have to be performed. Never throws for anything a peer sends.
    void on(client_event event, steady_time now, std::vector<client_action>& actions);
    std::optional<steady_time> next_deadline() const;

    bool is_ready() const noexcept;
    bool is_over() const noexcept;  ///< failed or closed
    bool is_reading_tools() const noexcept;  ///< or is about to: those it has published may be old
    const server_identity& identity() const noexcept;
    const client_counters& counters() const noexcept;
    std::size_t pending_calls() const noexcept;
    std::string_view phase() const noexcept;  ///< "idle" "probing" "initializing" "listing" "ready" "over"

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::mcp
