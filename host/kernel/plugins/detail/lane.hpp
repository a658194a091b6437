#pragma once
// The control thread of one instance: calls that never overlap, each with a deadline, on a thread that may be lost without harm.
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/core/clock.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/plugins/instance_state.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::plugins::detail {

struct step_result {
    step_outcome outcome = step_outcome::ok;
    std::string why;
    bool refused = false;  ///< verify() said no: trying again changes nothing
};

/// [any thread] The thread is started on demand and ends after a moment of idleness.
class control_lane : public std::enable_shared_from_this<control_lane> {
  public:
    control_lane(supervise::runtime& rt, std::string thread_name) : rt_(rt), name_(std::move(thread_name)) {}
    using body = unique_function<step_result()>;
    using done = unique_function<void(step_result)>;
    /// Runs f; exceptions become `threw`. done: once, on the lane's thread, or on a pool thread with `timed_out` when f is not
    /// back in time (waiting for its turn included); the lane is then lost and answers `timed_out` to everything.
    void run(body f, nanoseconds deadline, done finished);

  private:
    struct job;
    void loop();
    supervise::runtime& rt_;
    const std::string name_;
    std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<std::shared_ptr<job>> queue_;  // under mutex_
    bool alive_ = false, lost_ = false;
};

/// Threads that the host started, by tid. A thread of this process that is not among them but bears a name that only an
/// instance's threads have was started by that instance (a thread inherits the name of its creator).
class host_thread {
  public:
    host_thread();
    ~host_thread();
    host_thread(const host_thread&) = delete;
    host_thread& operator=(const host_thread&) = delete;
};
/// Names of threads ("name (tid n)") whose name begins with `prefix` and that the host did not start. Looks again for up to
/// `patience`: a thread that has just returned is still listed for a moment.
std::vector<std::string> foreign_threads(const std::string& prefix, nanoseconds patience);

}  // namespace holdfast::plugins::detail
