#pragma once
// One thread for the rare work that has to wait for others (applying a configuration): in order, joined at the end.
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "kernel/core/unique_function.hpp"

namespace holdfast::app {

class side_thread {
  public:
    side_thread() : thread_([this] { run(); }) {}
    ~side_thread() { stop(); }
    /// [any thread] Dropped after stop().
    void post(unique_function<void()> f) {
        std::lock_guard lock(mutex_);
        if (stopping_) return;
        queue_.push_back(std::move(f));
        changed_.notify_all();
    }
    /// Finishes the work under way, drops the rest, joins. Idempotent. [not on this thread]
    void stop() {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
            queue_.clear();
            changed_.notify_all();
        }
        if (thread_.joinable()) thread_.join();
    }

  private:
    void run() {
        for (;;) {
            unique_function<void()> f;
            {
                std::unique_lock lock(mutex_);
                changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
                if (stopping_) return;
                f = std::move(queue_.front());
                queue_.pop_front();
            }
            f();
        }
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<unique_function<void()>> queue_;
    bool stopping_ = false;
    std::thread thread_;  // last: it uses everything above
};

}  // namespace holdfast::app
