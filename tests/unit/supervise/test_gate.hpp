#pragma once
// Waiting for events in tests: a mutex, a condition variable and a deadline; never a sleep.
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace holdfast::supervise {

/// A value guarded by a lock, with waiting for a condition on it.
template <class T>
class observed {
  public:
    template <class F>
    void change(F f) {
        std::lock_guard lock(m_);
        f(v_);
        c_.notify_all();
    }
    template <class F>
    bool wait(F condition, std::chrono::seconds d = std::chrono::seconds(30)) {
        std::unique_lock lock(m_);
        return c_.wait_for(lock, d, [&] { return condition(v_); });
    }
    T get() {
        std::lock_guard lock(m_);
        return v_;
    }

  private:
    std::mutex m_;
    std::condition_variable c_;
    T v_{};
};

}  // namespace holdfast::supervise
