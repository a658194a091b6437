#pragma once
// The two ways host and runner talk, over SEQPACKET sockets: `caller` asks and waits for the reply; `teller` never waits.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"
#include "kernel/plugins/isolation/wire.hpp"

namespace holdfast::plugins::isolation {

class unique_fd {
  public:
    unique_fd() = default;
    explicit unique_fd(int fd) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& o) noexcept {
        if (this != &o) reset(), fd_ = std::exchange(o.fd_, -1);
        return *this;
    }
    ~unique_fd() { reset(); }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    void reset() noexcept;

  private:
    int fd_ = -1;
};

/// A pair of connected SEQPACKET sockets, close-on-exec. Errors: io_error.
result<std::pair<unique_fd, unique_fd>> socket_pair();

enum class received : std::uint8_t {
    one,
    none,    ///< would block
    closed,  ///< the peer is gone
    broken,  ///< what came is no frame: a hostile or damaged peer
};

/// One received frame and the memory it lies in. A large one maps the sealed memfd it came in.
class frame {
  public:
    frame() = default;
    frame(frame&& o) noexcept;
    frame& operator=(frame&& o) noexcept;
    ~frame() { release(); }
    std::string_view bytes() const noexcept { return {map_ ? static_cast<const char*>(map_) : small_.get(), size_}; }
    frame_reader read() const { return frame_reader(bytes()); }

  private:
    friend received receive(int fd, frame& into, int flags, unique_fd* attached);
    void release() noexcept;
    std::unique_ptr<char[]> small_;
    void* map_ = nullptr;
    std::size_t size_ = 0;
};

/// [one thread per socket] flags: MSG_DONTWAIT or 0. attached: a descriptor that came with the frame; null: none may come.
received receive(int fd, frame& into, int flags, unique_fd* attached = nullptr);

enum class sent : std::uint8_t { yes, full, closed, failed };
/// One frame; longer ones than inline_bytes go into a sealed memfd. failed: no memory or descriptor for that.
/// attached: a descriptor that goes with it, for a frame that is not longer; -1: none.
sent send_frame(int fd, std::string_view bytes, int flags, int attached = -1);

/// Asks and waits. [any thread; requests wait for one another]
class caller {
  public:
    explicit caller(unique_fd socket) : socket_(std::move(socket)) {}
    /// attached: a descriptor that comes with the reply; null: none may come.
    /// Errors: timeout, transport_lost (the peer is gone), protocol_error (no frame). After any of them the channel is closed.
    result<frame> ask(const frame_writer& request, steady_time deadline, unique_fd* attached = nullptr);
    void close() noexcept;  ///< [any thread] Whoever waits is told transport_lost.

  private:
    std::mutex mutex_;
    const unique_fd socket_;
    std::atomic<bool> closed_{false};
};

/// Tells, in order, without ever blocking: what the socket does not take is queued and sent by the thread in run().
class teller {
  public:
    /// max_queued: bytes; told beyond it, the peer counts as one that does not read. block_when_full: wait for room instead.
    teller(unique_fd socket, std::size_t max_queued, bool block_when_full);
    /// false: the peer is gone or does not read, or the frame is longer than max_frame_bytes.
    bool tell(const frame_writer& f);
    std::uint64_t told() const noexcept { return told_.load(); }

    /// Receives until the peer is gone, close() or a broken frame, which it returns. handle must not throw.
    received run(const std::function<void(const frame&)>& handle);
    std::uint64_t handled() const noexcept { return handled_.load(); }
    /// Waits until n of the peer's frames have been handled, or it is gone. Returns at once on the thread in run().
    bool await_handled(std::uint64_t n, steady_time deadline);
    void close() noexcept;
    bool overflowed() const noexcept { return overflowed_.load(); }

  private:
    bool flush();
    const unique_fd socket_;
    unique_fd kick_;
    const std::size_t max_queued_;
    const bool block_when_full_;
    std::mutex mutex_;
    std::condition_variable room_;
    std::deque<std::string> queue_;  // under mutex_
    std::size_t queued_ = 0;         // bytes, under mutex_
    bool closed_ = false;            // under mutex_
    std::atomic<std::uint64_t> told_{0}, handled_{0};
    std::atomic<bool> overflowed_{false}, waited_for_{false};
    std::mutex handled_mutex_;
    std::condition_variable handled_changed_;
    std::atomic<std::thread::id> runs_on_{};
};

}  // namespace holdfast::plugins::isolation
