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
inline constexpr seconds retry_first{1};                    // after something the server did not do; doubled each time
inline constexpr seconds retry_max{60};
inline constexpr std::size_t max_peer_text = 400;           // of a peer's message quoted in ours

struct client_machine::impl {
    using actions = std::vector<client_action>;
    enum class phase { idle, probing, initializing, listing, ready, over };
    enum class purpose { discover, initialize, list, listen, watch, call, probe };
    enum list_kind : std::size_t { tools, prompts, resources, templates, list_kinds };

    /// A request that waits for its answer.
    struct waiting {
        purpose what;
        std::uint64_t subject = 0;  ///< call_id, list_kind, probe id or watch_what
        steady_time sent{};
        std::optional<steady_time> deadline;  ///< calls keep theirs in call_state
        std::string uri = {};                 ///< of resources/subscribe
    };

    struct asked {  ///< input the server wants
        std::string method;
        std::string server_key;  ///< modern: its name in inputRequests
        json server_id;          ///< legacy: the id of the server's request
        std::optional<json> response;
        json params;
        steady_time since{};
        bool guessed = false;    ///< legacy: it came on no call's stream, and may be about another one
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
        std::set<std::string> at_urls;    ///< legacy: elicitations the server has not called complete
        std::optional<steady_time> retry; ///< of a call that waits for them
        bool headers_retried = false;     ///< once, after the tool's definition was read again
        bool waits_for_list = false;      ///< … which is under way
        std::uint64_t forgotten_before = 0;  ///< reads_forgotten when it was sent
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
        std::optional<steady_time> due;  ///< a refresh that was put off, or failed
        seconds retry = retry_first;     ///< after the next failure
        steady_time last_start{};
        std::optional<steady_time> stale;  ///< the server says that it may be old from then on
        std::optional<steady_time> stale_next;  ///< of the run under way
    };

    /// One subscriptions/listen. Changing the filter opens another beside it; the first ends when the second stands.
    struct listening {
        std::uint64_t rpc = 0;  ///< 0: none
        json filter;
    };

    struct cached_read {
        json result;
        std::string uri;
        std::size_t bytes = 0;
        steady_time until;
        std::uint64_t order = 0;
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
    std::uint64_t on_stream_of = 0;  ///< the request on whose stream the message being handled came; 0: the transport has no such streams

    // connect
    bool hinted = false;
    std::uint32_t probes = 0, initializes = 0;
    std::string asked_version;
    // lists
    std::array<list_run, list_kinds> runs;
    std::shared_ptr<const server_lists> lists;
    listening stands, opening;   ///< `opening` replaces `stands`
    bool listen_lost = false;
    std::optional<steady_time> listen_due;
    seconds listen_retry = retry_first;
    // what the host wants to be told (client_watch.cpp)
    std::set<std::string> watched;     ///< wanted
    std::set<std::string> subscribed;  ///< legacy: asked for
    std::string log_level;
    // reads that are still fresh (client_cache.cpp)
    std::map<std::string, cached_read> reads;
    std::uint64_t reads_forgotten = 0;  ///< how often something was told to have changed
    std::size_t read_bytes = 0;
    std::uint64_t next_read = 1;
    // calls
    std::map<call_id, call_state> calls;
    std::map<std::string, std::pair<call_id, std::string>> server_requests;  ///< legacy: id text → call, key
    std::uint64_t next_key = 1;

    // client_machine.cpp
    void on_message(std::string_view whole, steady_time now, actions& out);
    void on_text(std::string_view text, steady_time now, actions& out);
    void on_rpc(rpc_message message, steady_time now, actions& out);
    bool speaks_batches() const;
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
    void next_page(list_kind k, const std::optional<std::string>& cursor, steady_time now, actions& out);
    void on_page(list_kind k, rpc_response& r, steady_time now, actions& out);
    void list_failed(list_kind k, const error& why, bool unknown_method, steady_time now, actions& out);
    void list_done(list_kind k, steady_time now, actions& out);
    void publish_lists(steady_time now, actions& out);
    void use_list(list_kind k, steady_time now, actions& out);  ///< somebody uses it: a stale one is read again
    bool list_notification(const std::string& method, const json& params, steady_time now, actions& out);

    // client_watch.cpp: what the server is asked to tell
    json wanted_filter() const;
    void listen(steady_time now, actions& out);
    void listen_ended(std::uint64_t rpc, bool again, steady_time now, actions& out);
    void on_acknowledged(std::uint64_t rpc, const json& params, steady_time now, actions& out);
    bool of_subscription(const std::string& method, const json& params, steady_time now, actions& out);
    void watch(std::set<std::string> uris, steady_time now, actions& out);
    void follow_watched(steady_time now, actions& out);
    void not_subscribed(const std::string& uri, steady_time now);
    void set_log_level(std::string level, steady_time now, actions& out);
    void want_logs(const std::string& level, steady_time now, actions& out);
    void start_watching(steady_time now, actions& out);
    void now_covered(const std::string& uri, actions& out);
    void on_updated(const json& params, steady_time now, actions& out);
    void on_log_message(const json& params, actions& out);

    // client_cache.cpp: results of resources/read while their ttlMs lasts
    static std::string read_key(const json& params, std::string_view owner);
    const cached_read* fresh_read(const in::call& c, steady_time now);
    void drop_read(std::map<std::string, cached_read>::iterator it);
    void keep_read(const call_state& c, const json& result, steady_time now);
    void forget_reads(std::string_view uri);  ///< of it and of what it lies below; empty: all

    // client_calls.cpp
    void start_call(in::call c, steady_time now, actions& out);
    void send_call(call_state& c, steady_time now, actions& out);
    void on_call_answer(call_id id, rpc_response& r, steady_time now, actions& out);
    void on_input_required(call_state& c, const json& result, steady_time now, actions& out);
    bool ask_for_urls(call_state& c, const rpc_error& e, actions& out, steady_time now);
    void urls_answered(call_state& c, steady_time now, actions& out);
    void on_url_complete(const std::string& elicitation, steady_time now, actions& out);
    void try_again(call_state& c, steady_time now, actions& out);
    void answer(in::answer a, steady_time now, actions& out);
    void question_gone(call_state& c, steady_time now, actions& out);
    void resume(call_state& c, steady_time now, actions& out);
    void end_call(call_id id, result<json> outcome, steady_time now, actions& out, std::optional<rpc_error> answered = {});
    bool retry_with_headers(call_state& c, const rpc_error& e, steady_time now, actions& out);
    void tools_were_read(steady_time now, actions& out);
    void cancel_call(call_id id, error why, steady_time now, actions& out);
    std::optional<steady_time> call_deadline(const call_state& c) const;
    void expire_call(call_id id, steady_time now, actions& out);
    // client_calls.cpp: health
    void start_probe(in::probe p, steady_time now, actions& out);
    void on_probe_answer(std::uint64_t id, const waiting& w, rpc_response& r, steady_time now, actions& out);

    // client_peer.cpp: what the server sends of its own accord
    void on_server_request(rpc_request& r, steady_time now, actions& out);
    void on_notification(rpc_notification& n, steady_time now, actions& out);
    void on_progress(const json& params, steady_time now, actions& out);
    void on_server_cancel(const json& params, steady_time now, actions& out);
    call_state* call_of_stream();
    call_state* call_for_input();
    void put_question(call_state& c, asked a, steady_time now, actions& out);
    bool hand_over(const call_state& ended, asked& a, steady_time now, actions& out);
    call_state* call_for_log();
};

error peer_error(const rpc_error& e);
std::int64_t ttl_ms(const json& result);  ///< -1: it says none; bounded
std::string quote(std::string_view text);  ///< a peer's text, cut, without control characters

}  // namespace holdfast::mcp
