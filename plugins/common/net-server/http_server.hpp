#pragma once
// HTTP/1.1 and WebSocket server behind a plain interface. It starts no thread: the caller lends threads to run().
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "net-server/http_types.hpp"

namespace holdfast::web {

/// Every queue, buffer and wait of the server.
struct server_limits {
    std::size_t max_connections = 1000;          ///< more are answered 503 and closed
    std::size_t header_bytes = 16 * 1024;        ///< more: 431
    std::size_t body_bytes = 4 * 1024 * 1024;    ///< more: 413
    std::size_t message_bytes = 1024 * 1024;     ///< WebSocket message; more: closed with 1009
    std::size_t queue_bytes = 256 * 1024;        ///< output of one WebSocket client waiting to be written; see websocket::send
    std::size_t reply_queue_bytes = 8 * 1024 * 1024;  ///< answers may exceed queue_bytes up to here, then the client is cut; of a stream, what waits
    std::chrono::milliseconds header_time{5'000};     ///< from the first byte (or from connecting) to the end of the headers
    std::chrono::milliseconds body_time{60'000};
    std::chrono::milliseconds idle_time{75'000};       ///< keep-alive connections without a request
    std::chrono::milliseconds comment_time{15'000};    ///< a stream on which nothing was sent for so long gets an SSE comment
    std::chrono::milliseconds stuck_time{10'000};      ///< a reader that takes nothing for so long is cut
    std::chrono::milliseconds ping_time{60'000};       ///< silent WebSocket peers are pinged at half of it and cut at it
};

/// One WebSocket client, as its handler sees it. Every function: [any thread]; after the close they do nothing.
class websocket {
  public:
    virtual ~websocket() = default;
    /// Queues one text message. False when closed, or when queue_bytes are already waiting: the message was not taken.
    virtual bool send(std::shared_ptr<const std::string> text) = 0;
    /// Queues an answer to the client's own request: taken beyond queue_bytes, because reading pauses while the queue is full.
    virtual void reply(std::shared_ptr<const std::string> text) = 0;
    virtual void close(std::uint16_t code, std::string reason) = 0;
    /// Bytes waiting to be written.
    virtual std::size_t queued() const = 0;
};

/// Calls never overlap for one client. [server thread]
class websocket_handler {
  public:
    virtual ~websocket_handler() = default;
    virtual void on_open(std::shared_ptr<websocket> socket) = 0;
    virtual void on_message(std::string_view text) = 0;
    /// An answer to this client is under way: drain() waits for it before it says goodbye.
    virtual bool busy() const { return false; }
    /// Once, last, whatever ended it.
    virtual void on_close() = 0;
};

struct upgrade_answer {
    http_response refusal;                       ///< sent when `handler` is null
    std::shared_ptr<websocket_handler> handler;  ///< shared by the connection and by whoever publishes to it
    std::string protocol;                        ///< chosen Sec-WebSocket-Protocol, or empty
};

/// Must outlive the server. [server thread, several at once] Must not block; what it throws becomes 500.
class http_handler {
  public:
    virtual ~http_handler() = default;
    virtual void on_request(http_request request, responder respond) = 0;
    virtual upgrade_answer on_upgrade(const http_request& request) = 0;
};

struct server_options {
    int listener = -1;  ///< a TCP socket that listens; the server owns the descriptor from the call on. Others may have duplicates of it
    server_limits limits;
};

struct server_counters {
    std::uint64_t accepted = 0, refused = 0, requests = 0, upgrades = 0;
    std::uint64_t bad_requests = 0;  ///< malformed, oversized or late
    std::uint64_t slow_cut = 0;      ///< clients cut because they did not read
    std::size_t open = 0;
};

/// Lifetime: serve → run on one or more threads → perhaps drain → stop → destroy. Answers and sends that arrive after stop are dropped.
class http_server {
  public:
    /// Errors: in words; the socket is not one that listens.
    static tl::expected<std::unique_ptr<http_server>, std::string> serve(const server_options& options, http_handler& handler);
    ~http_server();

    /// Serves on the calling thread until stop() or until `go_on` returns false; `go_on` is asked at least every 100 ms.
    /// Several threads may run at once. What a handler throws beyond a request ends this run with the exception.
    void run(const std::function<bool()>& go_on);

    /// Gives its clients away, until none is left or the deadline: accepts nobody, and closes its duplicate of the socket. Requests are
    /// finished, those on open connections still answered, with Connection: close; idle connections are closed after an eighth of the
    /// time, WebSockets with 1001 once nothing is under way. [one thread, once, before stop; not from a handler]
    void drain(std::chrono::steady_clock::time_point deadline);

    /// Takes no new connection or request, finishes what is under way until `grace` passed, closes WebSockets with 1001, cuts the
    /// rest, and ends every run(). Works with no thread in run(). [one thread, once; not from a handler]
    void stop(std::chrono::milliseconds grace);

    /// Runs `f` on a server thread; dropped after stop. [any thread]
    void post(std::function<void()> f);

    unsigned short port() const;
    std::string address() const;  ///< numeric, without brackets
    server_counters counters() const;

  private:
    struct impl;
    explicit http_server(std::shared_ptr<impl> i);
    std::shared_ptr<impl> impl_;  ///< shared with the connections
};

}  // namespace holdfast::web
