#pragma once
// Byte streams: TCP, TLS and Unix sockets, outgoing ones and accepted ones. One thread, given by the owner, drives everything:
// every callback, posted function and timer runs on it, one at a time, as with http_client.
//
// Half-open connections: TCP keep-alive finds a peer that has vanished in silence; a peer that takes nothing for `stuck` is lost.
// Names are resolved without blocking the thread. Proxies are not used.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "net-client/http_client.hpp"
#include "net-stream/address.hpp"

namespace holdfast::net {

struct stream_options {
    milliseconds connect{10'000};    ///< name, connection and TLS handshake together
    milliseconds stuck{20'000};      ///< longest time in which the peer takes nothing of what waits for it
    milliseconds keep_alive{30'000}; ///< silence after which TCP asks whether the peer is there; 0: never. Lost after three more questions
    std::string ca_file;             ///< of TLS; empty: the system's
};

/// All on the driving thread. on_done comes exactly once and last.
struct stream_callbacks {
    std::function<void()> on_open;
    std::function<void(std::string_view bytes)> on_data;
    std::function<void()> on_written;  ///< something left the queue towards the peer
    /// ok: the peer ended the stream, or finish() did; otherwise why it was lost.
    std::function<void(const result&)> on_done;
};

struct stream_limits {
    std::size_t open = 4096;      ///< streams, outgoing and accepted
    std::size_t posted = 65'536;  ///< functions and timers not yet run
};

class stream_client {
  public:
    explicit stream_client(stream_limits limits = {});
    ~stream_client();  ///< shutdown()
    stream_client(const stream_client&) = delete;
    stream_client& operator=(const stream_client&) = delete;

    // [driving thread]
    /// 0: too many streams; no callback follows.
    std::uint64_t connect(const stream_address& to, stream_options options, stream_callbacks on);
    /// Takes a connected socket over; it is open from the start, and on_open is not called. 0: too many; the socket is closed.
    std::uint64_t adopt(int fd, const std::string& shown, stream_options options, stream_callbacks on);
    /// Accepts from a listening socket, which it owns from now on. `accepted` owns what it is given.
    void listen(int fd, std::function<void(int fd)> accepted);
    /// Queues bytes. The caller bounds what it queues, by queued() and on_written.
    void write(std::uint64_t id, std::string bytes);
    /// Sends what is queued, then ends this side; on_done follows when the peer ends its own.
    void finish(std::uint64_t id);
    /// on_done(why) follows before this returns.
    void drop(std::uint64_t id, const result& why = {outcome::cancelled, 0, "the connection was closed"});
    std::size_t queued(std::uint64_t id) const;  ///< bytes that wait to be taken by the peer
    std::size_t size() const;

    // [any]
    bool post(std::function<void()> f);                       ///< false: full or shut down, `f` is dropped
    bool after(milliseconds delay, std::function<void()> f);  ///< as post(), not before `delay` has passed
    void interrupt();                                         ///< run() returns soon, now and in future

    /// [one thread at a time] Drives until stop() says so or interrupt(); calls beat() at least twice a second unless a callback
    /// takes longer. May be run again: what is under way goes on.
    void run(const std::function<bool()>& stop, const std::function<void()>& beat);
    /// [not during run()] Ends every stream with `cancelled` on this thread; drops posted functions and timers.
    void shutdown();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::net
