#pragma once
// The other end of the control socket: calls and subscriptions from another process (the command line).
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::app {

/// [any thread] Callbacks run on the client's reader thread.
class control_client {
  public:
    using reply = unique_function<void(result<json>)>;
    using on_event = std::function<void(const json& event)>;

    /// Errors: unavailable (no host answers there; the sentence says how to start one).
    static result<std::unique_ptr<control_client>> connect(const std::string& data_dir, std::string via = "cli");
    ~control_client();

    void call(const std::string& method, json params, reply done);
    /// Errors: as the method's; transport_lost when the host goes away; timeout. [not on the reader thread]
    result<json> call(const std::string& method, json params = json::object(), milliseconds timeout = seconds(60));
    /// A call that answers in pieces; `params` is JSON text. chunk: one at a time, before `done`. Returns what cancel() names it by.
    std::uint64_t stream(const std::string& method, std::string_view params, std::function<void(std::string chunk)> chunk, reply done);
    /// The call's `done` still comes.
    void cancel(std::uint64_t call);
    /// options: {"topic","from"?,"epoch"?,"types"?,"policy"?}. Returns {"subscription","seq","epoch"}. Events may come before it returns.
    result<json> subscribe(json options, on_event f);
    /// Called once when the connection is lost.
    void on_lost(std::function<void()> f);
    bool connected() const;

  private:
    explicit control_client(int fd, std::string via);
    void read_loop();
    void handle(std::string_view line);
    void fail_all();
    void send(json request, reply done);
    void write(const std::string& line);

    const int fd_;
    const std::string via_;
    std::mutex write_mutex_;
    mutable std::mutex mutex_;  // guards what follows
    std::uint64_t next_id_ = 1;
    std::map<std::uint64_t, reply> waiting_;
    std::map<std::uint64_t, std::shared_ptr<std::function<void(std::string)>>> chunks_;  // second owner: the reader, while one runs
    std::map<std::uint64_t, on_event> subscriptions_;
    on_event subscribing_;      // of the subscribe under way: its events may overtake the reply's handling
    std::function<void()> lost_;
    bool connected_ = true;
    std::thread reader_;        // last
};

}  // namespace holdfast::app
