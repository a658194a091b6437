#pragma once
// One connection to one MCP server: its exchanges, its legacy session, its listening stream.
#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "holdfast/transport.hpp"
#include "net-client/sse.hpp"
#include "oauth/account.hpp"
#include "transport-http/http_config.hpp"
#include "transport-http/message.hpp"
#include "transport-http/param_headers.hpp"
#include "transport-http/sse_link.hpp"

namespace holdfast::transport_http {

inline constexpr std::size_t max_exchanges = 1024;  ///< of one connection, waiting ones included
inline constexpr std::chrono::milliseconds delivery_time{30'000};  ///< of what expects no answer: a server that never accepts it holds nothing for ever
inline constexpr int max_resumes = 5;               ///< of one broken stream, without a new event in between
inline constexpr int max_credential_tries = 2;      ///< of one message, after the first
inline constexpr std::chrono::milliseconds first_reconnect{1'000}, longest_reconnect{30'000}, longest_asked_retry{300'000};

/// Owner: the client's driving thread, except where said. Everything the sink hears is said on that thread.
class link : public std::enable_shared_from_this<link> {
  public:
    /// `account`: null when the server has no "auth".
    link(net::http_client& client, server_config server, const settings& s, std::shared_ptr<oauth::account> account, sdk::transport_sink sink,
         std::function<void()> ended)
        : client_(client), server_(std::move(server)), settings_(s), account_(std::move(account)), sink_(std::move(sink)), ended_(std::move(ended)) {}

    void open();
    void deliver(std::string text, outgoing o);
    void abandon(const std::string& id);
    void close(sdk::time_point deadline);
    /// Ends it at once; also after the driving thread has ended. Does not call `ended`.
    void drop(const sdk::status& why);

    std::atomic<bool> accepting{true};      ///< [any]
    std::atomic<std::size_t> load{0};       ///< [any] accepted and not yet ended exchanges

  private:
    // One message on its way and what comes back: a POST, and the GETs that resume its stream.
    struct exchange {
        outgoing out;
        std::string text;
        std::uint64_t transfer = 0;
        int status = 0;
        bool events = false, with_session = false, resumed = false;
        bool over = false;  // answered, failed or abandoned: whatever still comes is ignored
        std::string body, session, last_event_id;
        std::chrono::milliseconds retry_after{0};  // 0: not said
        net::sse_parser sse;
        int resumes = 0;
        std::string sent_with;         // Authorization
        oauth::challenge challenge;    // of a refusal
        int credential_tries = 0;
    };
    using exchange_ptr = std::shared_ptr<exchange>;  // owners: exchanges_, and the callbacks of its transfer

    void begin(const exchange_ptr& x);
    void post(const exchange_ptr& x);
    bool wants_credentials(const exchange& x) const;
    void authorize(const exchange_ptr& x, const net::result& r);
    void settle(const exchange_ptr& x);
    void transmit(const exchange_ptr& x, net::request r);
    void on_headers(exchange& x, int status, const net::headers& h);
    void on_data(const exchange_ptr& x, std::string_view bytes);
    void on_done(const exchange_ptr& x, const net::result& r);
    void on_refusal(const exchange_ptr& x, const net::result& r);
    void on_loss(const exchange_ptr& x, const net::result& r);
    void hear(const exchange_ptr& x, const std::string& text, bool whole);
    bool resume(const exchange_ptr& x);
    void end(const exchange_ptr& x);
    void fail(const exchange_ptr& x, const sdk::status& why);
    void release_held();
    void listen();
    void open_listener();
    void listen_again(bool heard);
    void shut(const sdk::status& why);
    void quiet();
    void open_older();
    bool fall_back(const exchange_ptr& x);
    net::request request_to_server(const char* method) const;
    void add_session(net::headers& h) const;

    net::http_client& client_;
    const server_config server_;
    const settings& settings_;
    const std::shared_ptr<oauth::account> account_;  // shared with the plugin and with other connections to the server
    sdk::transport_sink sink_;
    std::function<void()> ended_;

    std::map<const exchange*, exchange_ptr> exchanges_;
    std::deque<exchange_ptr> held_;  // behind notifications/initialized, which may not be overtaken
    bool holding_ = false;
    bool any_answer_ = false;  // the server has been reached once
    bool closing_ = false, closed_ = false;
    std::string session_, version_;  // of a legacy server
    param_headers params_;           // of a modern one

    struct listener {
        std::uint64_t transfer = 0;
        int status = 0;
        bool events = false, heard = false;
        std::string sent_with;
        oauth::challenge challenge;
        net::sse_parser sse;
    };
    std::shared_ptr<listener> listener_;  // second owner: the callbacks of its transfer
    std::string listen_last_id_;
    std::shared_ptr<sse_link> older_;  // the server speaks HTTP with SSE, or is being asked. Second owner: the callbacks of its transfers
    std::chrono::milliseconds listen_wait_{first_reconnect};
};

/// What an HTTP status other than 2xx means, and how an exchange was lost.
sdk::status status_of_refusal(int http, const std::string& origin);
sdk::status status_of_loss(const net::result& r);

}  // namespace holdfast::transport_http
