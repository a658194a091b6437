#include "workers.hpp"

namespace holdfast::demo {

workers::~workers() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    more_.notify_all();
    for (auto& thread : threads_) thread.join();
}

bool workers::submit(std::function<void()> task) {
    bool grow = false;
    {
        const std::lock_guard lock(mutex_);
        if (queue_.size() >= max_queued) return false;
        queue_.push_back(std::move(task));
        grow = queue_.size() > idle_ && threads_.size() < max_workers;
    }
    if (grow) threads_.emplace_back([this] { work(); });
    more_.notify_one();
    return true;
}

bool workers::drain(std::chrono::milliseconds limit) {
    std::unique_lock lock(mutex_);
    return quiet_.wait_for(lock, limit, [&] { return queue_.empty() && running_ == 0; });
}

void workers::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        more_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        --idle_;
        if (queue_.empty()) return;
        auto task = std::move(queue_.front());
        queue_.pop_front();
        ++running_;
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
        --running_;
        if (queue_.empty() && running_ == 0) quiet_.notify_all();
    }
}

}  // namespace holdfast::demo
