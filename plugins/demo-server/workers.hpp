#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast::demo {

inline constexpr std::size_t max_workers = 64;
inline constexpr std::size_t max_queued = 256;

/// Threads for tools that wait or touch the disk, started as needed and kept. Order between tasks is not kept.
class workers {
  public:
    workers() = default;
    workers(const workers&) = delete;
    ~workers();  ///< Joins: tasks that were accepted have run.

    /// [reader] False when the queue is full; the task was not taken then.
    bool submit(std::function<void()> task);
    /// [reader] Waits until everything accepted has finished. False when `limit` passed first.
    bool drain(std::chrono::milliseconds limit);

  private:
    void work();

    std::mutex mutex_;
    std::condition_variable more_;
    std::condition_variable quiet_;
    std::deque<std::function<void()>> queue_;  // Guarded by mutex_, as is everything below but threads_.
    std::size_t idle_ = 0;
    std::size_t running_ = 0;
    bool stopping_ = false;
    std::vector<std::thread> threads_;  // Owner: reader.
};

}  // namespace holdfast::demo
