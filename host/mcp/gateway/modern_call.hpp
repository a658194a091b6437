#pragma once
// One request of a modern client that goes to a server: from its first POST, through the rounds in which the server asks for
// input and the client comes back with it, to its result. The upstream call lives on between the rounds, whatever era the
// server is of; the client carries a sealed number. Pure: events and the time in, actions out.
//
//   begin → running ─ input → asking (no stream) ─ resume → running … ─ done → over
//
// Spec: MCP 2026-07-28, basic/patterns/mrtr, basic/transports/streamable-http.
#include <functional>
#include <map>

#include "mcp/gateway/types.hpp"

namespace holdfast::mcp::gateway {

class modern_call {
  public:
    struct request {
        json id;                       ///< of this round's JSON-RPC request
        json token;                    ///< for progress; null: none wanted
        json responses = json::object();  ///< inputResponses
        std::string log_level;
    };
    /// Makes the requestState of a round, bound by the shell to the principal and the request.
    using seal_fn = std::function<std::string(std::uint32_t round, steady_time expires)>;

    modern_call(limits l, json capabilities, seal_fn seal) : limits_(l), capabilities_(std::move(capabilities)), seal_(std::move(seal)) {}

    void begin(stream_id on, request r, upstream_request what, steady_time now, actions& out);
    /// The client is back. Of another round than the present one, or while one is being answered: refused.
    void resume(stream_id on, request r, std::uint32_t round, steady_time now, actions& out);
    void gone(stream_id on, actions& out);  ///< the client went away: cancels, unless it had its answer
    void on(up::progress e, steady_time now, actions& out);
    void on(up::log e, steady_time now, actions& out);
    void on(up::input e, steady_time now, actions& out);
    void on(up::done e, steady_time now, actions& out);
    void tick(steady_time now, actions& out);
    bool is_over() const { return state_ == state::over; }
    bool asking() const { return state_ == state::asking; }

  private:
    enum class state { idle, running, asking, over };
    struct question { std::string method; json params; };

    void attach(stream_id on, request r, steady_time now);
    void open_stream(actions& out);
    void finish(const std::string& text, int status, actions& out);
    void ask(steady_time now, actions& out);
    void deliver(const up::done& e, actions& out);

    static constexpr call_ref the_call = 1;

    limits limits_;
    json capabilities_;
    seal_fn seal_;
    state state_ = state::idle;
    std::string server_, method_;
    // Of the round that is being answered.
    stream_id on_ = 0;
    request request_;
    bool streaming_ = false;
    steady_time since_{};
    // Between rounds.
    std::uint32_t round_ = 0;
    std::map<std::string, question> questions_;
    std::optional<steady_time> expires_;
    std::optional<up::done> early_;  ///< it ended while the client was away
};

}  // namespace holdfast::mcp::gateway
