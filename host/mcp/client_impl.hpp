#pragma once
// The state of client_machine and its parts. Private to this box.
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "mcp/client_machine.hpp"
#include "mcp/json_rpc.hpp"

namespace holdfast::mcp {

inline constexpr std::size_t max_forgotten_ids = 2'048;     // cancelled requests whose late answer is expected
inline constexpr seconds listen_retry_first{1};
inline constexpr seconds listen_retry_max{60};
inline constexpr std::size_t max_peer_text = 400;           // of a peer's message quoted in ours

struct client_machine::impl {
    using actions = std::vector<client_action>;
    enum class phase { idle, probing, initializing, listing, ready, over };
    enum class purpose { discover, initialize, list, listen, call, probe };
    enum list_kind : std::size_t { tools, prompts, resources, templates, list_kinds };

    /// A request that waits for its answer.
    struct waiting {
        purpose what;
        std::uint64_t subject = 0;  ///< call_id, list_kind or probe id
        steady_time sent{};
        std::optional<steady_time> deadline;  ///< calls keep theirs in call_state
    };

    struct asked {  ///< input the server wants
        std::string method;
        std::string server_key;  ///< modern: its name in inputRequests
        json server_id;          ///< legacy: the id of the server's request
        std::optional<json> response;
    };

    struct call_state {
        in::call request;
        std::uint64_t rpc = 0;  ///< request under way, 0: none (a person is asked between two rounds)
        bool sent = false;      ///< any byte may have left
        steady_time started{};
        steady_time last_sign{};          ///< of life: sent or progress
        nanoseconds waited{0};            ///< for people; the clock stood still
        std::optional<steady_time> paused_since;
        std::uint32_t rounds = 0;
        std::optional<double> progress;
        std::map<std::string, asked> inputs;  ///< by the key the caller knows
        std::optional<std::string> request_state;
    };

    struct list_run {
        bool offered = false, running = false, dirty = false, complete = false;
        std::uint64_t rpc = 0;
        json items = json::array();
        std::set<std::string> names, cursors;
        std::uint32_t pages = 0;
        std::optional<steady_time> due;  ///< a refresh that was put off
        steady_time last_start{};
    };

    explicit impl(client_options o) : options(std::move(o)), lists(std::make_shared<server_lists>()) {}

    client_options options;
    client_counters counters;
    server_identity identity;
    phase at = phase::idle;
    std::uint64_t next_id = 1;
    std::map<std::uint64_t, waiting> pending;
    std::deque<std::uint64_t> forgotten;  ///< bounded; in order
    std::uint32_t violations_in_row = 0;
    steady_time last_now{};  ///< of the event being handled

    // connect
    bool hinted = false;
    std::uint32_t probes = 0, initializes = 0;
    std::string asked_version;
    // lists
    std::array<list_run, list_kinds> runs;
    std::shared_ptr<const server_lists> lists;
    std::uint64_t listen_rpc = 0;
    bool listen_lost = false;
    std::optional<steady_time> listen_due;
    seconds listen_retry = listen_retry_first;
    // calls
    std::map<call_id, call_state> calls;
    std::map<std::string, std::pair<call_id, std::string>> server_requests;  ///< legacy: id text → call, key
    std::uint64_t next_key = 1;

    // client_machine.cpp
    void on_message(const std::string& text, steady_time now, actions& out);
    void on_response(rpc_response r, steady_time now, actions& out);
    void on_request_lost(const std::string& id, const error& why, int status, bool was_sent, steady_time now, actions& out);
    void on_closed(const error& why, steady_time now, actions& out);
    void on_tick(steady_time now, actions& out);
    void on_expired(std::uint64_t rpc, waiting w, steady_time now, actions& out);
    std::optional<steady_time> next_deadline() const;
    std::uint64_t send(purpose what, std::uint64_t subject, std::string_view method, json params, json capabilities,
                       std::optional<milliseconds> deadline, steady_time now, actions& out);
    void forget(std::uint64_t rpc);
    void stop_waiting(std::uint64_t rpc, std::string_view reason, actions& out);
    void violation(std::uint64_t& counter, std::string what, actions& out);
    void give_up(error why, steady_time now, actions& out);

    // client_connect.cpp
    void probe_era(steady_time now, actions& out);
    void initialize(std::string version, steady_time now, actions& out);
    void on_discovered(rpc_response& r, steady_time now, actions& out);
    void on_initialized(rpc_response& r, steady_time now, actions& out);
    void on_connect_lost(purpose what, const error& why, int status, steady_time now, actions& out);
    void choose(const json& supported, steady_time now, actions& out);
    void established(const json& capabilities, steady_time now, actions& out);

    // client_lists.cpp
    void start_lists(steady_time now, actions& out);
    void want_list(list_kind k, steady_time now, actions& out);
    void start_list(list_kind k, steady_time now, actions& out);
    void next_page(list_kind k, const std::string& cursor, steady_time now, actions& out);
    void on_page(list_kind k, rpc_response& r, steady_time now, actions& out);
    void list_failed(list_kind k, const error& why, bool unknown_method, steady_time now, actions& out);
    void list_done(list_kind k, steady_time now, actions& out);
    void publish_lists(steady_time now, actions& out);
    void listen(steady_time now, actions& out);
    void listen_ended(bool again, steady_time now, actions& out);
    bool list_notification(const std::string& method, const json& params, steady_time now, actions& out);

    // client_calls.cpp
    void start_call(in::call c, steady_time now, actions& out);
    void send_call(call_state& c, steady_time now, actions& out);
    void on_call_answer(call_id id, rpc_response& r, steady_time now, actions& out);
    void on_input_required(call_state& c, const json& result, steady_time now, actions& out);
    void answer(in::answer a, steady_time now, actions& out);
    void resume(call_state& c, steady_time now, actions& out);
    void end_call(call_id id, result<json> outcome, steady_time now, actions& out, std::optional<rpc_error> answered = {});
    void cancel_call(call_id id, error why, steady_time now, actions& out);
    std::optional<steady_time> call_deadline(const call_state& c) const;
    void expire_call(call_id id, steady_time now, actions& out);
    void start_probe(in::probe p, steady_time now, actions& out);
    void on_probe_answer(std::uint64_t id, const waiting& w, rpc_response& r, steady_time now, actions& out);

    // client_peer.cpp: what the server sends of its own accord
    void on_server_request(rpc_request& r, steady_time now, actions& out);
    void on_notification(rpc_notification& n, steady_time now, actions& out);
    void on_progress(const json& params, steady_time now, actions& out);
    void on_server_cancel(const json& params, steady_time now, actions& out);
    call_state* call_for_input();
};

error peer_error(const rpc_error& e);
std::string quote(std::string_view text);  ///< a peer's text, cut, without control characters

}  // namespace holdfast::mcp
