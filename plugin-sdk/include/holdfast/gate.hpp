#pragma once
// Lets a callback run until its owner closes it. The shared end of subscriptions and processes.
#include <condition_variable>
#include <mutex>
#include <thread>

namespace holdfast::sdk::detail {

/// Callbacks enter; close() lets nobody in any more and waits for the one inside, unless that one is the caller itself.
/// One callback at a time, as the host promises per subscription and per process.
class gate {
  public:
    bool enter() {
        std::unique_lock lock(mutex_);
        if (closed_) return false;
        inside_ = true;
        thread_ = std::this_thread::get_id();
        return true;
    }
    void leave() {
        std::lock_guard lock(mutex_);
        inside_ = false;
        left_.notify_all();
    }
    void close() {
        std::unique_lock lock(mutex_);
        closed_ = true;
        if (inside_ && thread_ == std::this_thread::get_id()) return;
        left_.wait(lock, [this] { return !inside_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable left_;
    bool closed_ = false;
    bool inside_ = false;
    std::thread::id thread_;
};

/// Runs `f` inside the gate if it is open.
template <class F>
void through(gate& g, F&& f) {
    if (!g.enter()) return;
    struct leaver {
        gate& g;
        ~leaver() { g.leave(); }
    } leaving{g};
    f();
}

}  // namespace holdfast::sdk::detail
