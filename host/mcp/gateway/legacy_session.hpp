#pragma once
// One client of the older protocol: what it negotiated, the requests it has under way, the questions of servers it was asked,
// its streams. Server-initiated requests are the modern input requests turned back into what this client knows. Pure.
// Spec: MCP 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05.
#include <map>
#include <memory>
#include <unordered_map>

#include "mcp/gateway/offer.hpp"
#include "mcp/gateway/stream_board.hpp"

namespace holdfast::mcp::gateway {

class legacy_session {
  public:
    /// `stdio`: one connection, nothing to resume.
    legacy_session(limits l, bool stdio, json initialize_params, steady_time now);
    /// The answer to initialize. `session`: the id the client has to send from now on.
    void welcome(stream_id on, const json& id, const std::string& session, const std::string& instructions, actions& out);

    /// A POST: one message, or several where the version has batches. `from`: what this client may see now.
    void post(stream_id on, json message, const offer& from, steady_time now, actions& out);
    void listen(stream_id on, const std::string& last_event, steady_time now, actions& out);  ///< a GET
    void gone(stream_id on, steady_time now);  ///< a stream was cut: its requests go on
    void close(actions& out);                  ///< DELETE, or the gateway ends: cancels everything

    void on(up::progress e, steady_time now, actions& out);
    void on(up::log e, steady_time now, actions& out);
    void on(up::input e, steady_time now, actions& out);
    void on(up::done e, steady_time now, actions& out);
    void changed(list_kind kind, steady_time now, actions& out);
    /// watched: what was subscribed to, `uri` or what it lies below.
    void updated(const std::string& uri, const std::string& watched, steady_time now, actions& out);
    void tick(steady_time now, actions& out);

    const dialect& words() const { return dialect_; }
    const std::set<std::string>& watched() const { return watched_; }
    bool is_over() const { return over_; }

  private:
    struct running {
        json id, token;
        std::string method, server;
        stream_board::number on = 0;
        steady_time since{};
        std::set<std::int64_t> questions;
    };
    struct question {
        call_ref call = 0;
        std::string key, method;
    };

    void batch(stream_id on, json messages, const offer& from, steady_time now, actions& out);
    void request(rpc_request r, stream_board::number on, const offer& from, steady_time now, actions& out);
    /// Requests about the session itself: a result as text, or an error. Nothing: it is about something else.
    std::optional<std::variant<std::string, rpc_error>> own(const rpc_request& r, const offer& from, actions& out);
    std::variant<std::string, rpc_error> subscribe(const json& params, bool wanted, const offer& from, actions& out);
    void notification(const rpc_notification& n, steady_time now, actions& out);
    void response(rpc_response r, actions& out);
    void tell_changed(list_kind kind, steady_time now, actions& out);
    void tell_updated(const std::string& uri, steady_time now, actions& out);
    void forget(std::map<call_ref, running>::iterator it, steady_time now, actions& out);

    limits limits_;
    dialect dialect_;
    json capabilities_;
    std::string log_level_;
    stream_board streams_;
    std::map<call_ref, running> calls_;
    std::unordered_map<std::string, call_ref> by_id_;  ///< client's id as text
    std::map<std::int64_t, question> questions_;       ///< our request ids
    call_ref next_call_ = 1;
    std::int64_t next_question_ = 1;
    std::set<std::string> watched_, updated_;          ///< updated_: told nobody yet
    std::array<bool, list_kinds> changed_{};           ///< as well
    steady_time last_use_{};
    bool over_ = false;
};

}  // namespace holdfast::mcp::gateway
