#pragma once
// One MCP client whose connection carries messages both ways (WebSocket, sockets, HTTP with SSE): what it says goes to the gateway's
// mcp.post, what comes back goes to it, and a legacy session of it is listened to and ends with the connection.
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "ui-http/api_port.hpp"

namespace holdfast::ui_http {

inline constexpr std::size_t max_channel_calls = 256;  ///< under way for one client; more are refused by name
inline constexpr std::size_t max_channel_held = 64;    ///< messages that wait for the session to begin

/// [any thread] Shared by the connection and by the completions of its calls.
class mcp_channel : public std::enable_shared_from_this<mcp_channel> {
  public:
    /// `write`: one JSON-RPC text for the client; any thread, perhaps after on_gone(). It must not call back in here.
    mcp_channel(std::shared_ptr<api_port> api, person who, std::function<void(std::string_view)> write)
        : api_(std::move(api)), who_(std::move(who)), write_(std::move(write)) {}

    void on_message(std::string_view text);
    /// The client has gone: its requests are cancelled, its session ends.
    void on_gone();
    /// Something is under way that will end by itself.
    bool busy() const;
    const person& who() const { return who_; }

  private:
    struct exchange {
        std::string id;      // as JSON text; empty: expects no answer
        std::string key;     // the same, however it was written
        std::string method;
        std::uint64_t call = 0;
        bool head_seen = false, answered = false;
        std::atomic<bool> cancelled{false};  // by the client: it hears no more of it
    };
    using exchange_ptr = std::shared_ptr<exchange>;  // owners: under_way_ and the call's callbacks

    void forward(std::string_view text);
    void on_piece(const exchange_ptr& e, std::string_view piece);
    void on_done(const exchange_ptr& e, const api_result& r);
    void begin_session(const std::string& session);
    void fail(const std::string& id, int code, std::string_view message) const;

    const std::shared_ptr<api_port> api_;  // shared with the gateway and with completions
    const person who_;
    const std::function<void(std::string_view)> write_;
    mutable std::mutex mutex_;  // guards what follows; never held while anything else is called
    std::map<const exchange*, exchange_ptr> under_way_;
    std::deque<std::string> held_;  // behind initialize
    std::string session_;           // of a legacy client
    std::uint64_t listening_ = 0;
    bool initializing_ = false, gone_ = false;
};

}  // namespace holdfast::ui_http
