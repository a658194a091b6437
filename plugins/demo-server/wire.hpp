#pragma once
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "protocol.hpp"

namespace holdfast::demo {

inline constexpr std::size_t max_open_asks = 256;  ///< server-initiated requests without an answer yet
inline constexpr std::chrono::minutes ask_timeout{10};

/// The way out to the client, and every wait that the client can end (by an answer, a cancellation, or by leaving).
/// One message is one line. A write blocks when the client does not read: that is the back pressure of stdio.
/// [any thread]
class wire {
  public:
    explicit wire(int fd) : fd_(fd) {}

    void send(const json& message);
    /// Sends unless the request was cancelled; check and write are one step, so nothing follows a cancellation.
    void send_for(const cancel_flag& cancelled, const json& message);
    /// After this returns nothing more leaves for that request, and its waits have been woken.
    void cancel(cancel_flag& flag);

    /// Waits. False as soon as the request is cancelled or the client has left.
    bool sleep(const cancel_flag& cancelled, std::chrono::milliseconds time);

    /// Legacy only: sends each {method, params} of `requests` as a JSON-RPC request and waits for all answers.
    /// Returns {key: result}. Errors: internal_error when the client refuses, times out or leaves; cancelled.
    outcome ask(const cancel_flag& cancelled, const json& requests);
    /// [reader] A JSON-RPC response from the client. Unknown ids are ignored, as late answers must be.
    void answer(const json& response);

    /// [reader] The client closed its end: every wait ends now.
    void close();
    bool closing() const { return closing_.load(); }

  private:
    void write_line(const json& message);  // holds out_mutex_

    const int fd_;
    std::mutex out_mutex_;
    bool broken_ = false;  // Guarded by out_mutex_: nobody reads any more, so writing stops.

    std::mutex wait_mutex_;
    std::condition_variable wake_;
    std::map<std::string, json> open_;  // Guarded by wait_mutex_: request id → response, null while waiting.
    std::uint64_t next_id_ = 1;         // Guarded by wait_mutex_.
    std::atomic<bool> closing_{false};
};

}  // namespace holdfast::demo
