#pragma once
// HTTP with SSE, the transport of 2024-11-05: one GET that stays open carries everything the server says, the endpoint it names
// in its first event takes what it is told. Deprecated since 2025-03-26; kept for the servers that speak nothing else.
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "holdfast/transport.hpp"
#include "net-client/sse.hpp"
#include "oauth/account.hpp"
#include "transport-http/http_config.hpp"
#include "transport-http/message.hpp"

namespace holdfast::transport_http {

inline constexpr std::chrono::milliseconds longest_wait_for_endpoint{10'000};

/// How the connection it belongs to hears of it. On the driving thread.
struct sse_hooks {
    std::function<net::request(const char* method)> request;           ///< to the server's own url, credentials included
    std::function<void()> opened;                                      ///< the endpoint is known
    std::function<void(const sdk::status&)> over;                      ///< once: it could not be opened, or was lost
    std::function<void()> taken;                                       ///< one message has been dealt with
    std::shared_ptr<oauth::account> account;                           ///< null: credentials are as they are
};

/// Owner: the client's driving thread.
class sse_link : public std::enable_shared_from_this<sse_link> {
  public:
    sse_link(net::http_client& client, const server_config& server, const settings& s, sdk::transport_sink sink, sse_hooks hooks)
        : client_(client), server_(server), settings_(s), sink_(std::move(sink)), hooks_(std::move(hooks)), stream_(s.max_message_bytes) {}

    void open();
    /// Messages wait until the endpoint is known, and behind notifications/initialized.
    void deliver(std::string text, outgoing o);
    /// Nobody waits for the answer any more. False: nothing is known of the request.
    void abandon(const std::string& id);
    /// Ends it; no hook is called any more.
    void close();

  private:
    // What a request was sent with, and why it was refused.
    struct credentials {
        std::string sent;
        oauth::challenge challenge;
        int tries = 0;
    };
    struct message {
        std::string text;
        outgoing out;
        std::uint64_t transfer = 0;
        int status = 0;
        bool over = false;
        credentials with;
    };
    using message_ptr = std::shared_ptr<message>;  // owners: under_way_ or waiting_, and the callbacks of its transfer

    void hear(const net::sse_event& e);
    void learn_endpoint(const std::string& reference);
    void listen();
    void post(const message_ptr& m);
    void transmit(const message_ptr& m);
    /// True: `then` hears whether to send it again. Requests are refused before anything is done.
    bool renew(int status, credentials& with, const net::result& r, std::function<void(const sdk::status&)> then);
    void on_posted(const message_ptr& m, const net::result& r);
    void settle(const message_ptr& m, const sdk::status& why);
    void send_waiting();
    void fail(const sdk::status& why);

    net::http_client& client_;
    const server_config server_;
    const settings& settings_;
    sdk::transport_sink sink_;
    sse_hooks hooks_;
    net::sse_parser stream_;
    std::uint64_t transfer_ = 0;  // the GET
    credentials with_;            // of the GET
    int status_ = 0;
    bool events_ = false, holding_ = false, closed_ = false;
    std::string endpoint_;
    std::deque<message_ptr> waiting_;
    std::vector<message_ptr> under_way_;
};

}  // namespace holdfast::transport_http
