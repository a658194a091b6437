#include "servers/move_gate.hpp"

namespace holdfast::servers {

void move_gate::ask(granted g) {
    std::unique_lock lock(mutex_);
    waiting_.push_back(std::move(g));
    serve(std::move(lock));
}

void move_gate::release() noexcept {
    std::unique_lock lock(mutex_);
    ++free_;
    serve(std::move(lock));
}

void move_gate::serve(std::unique_lock<std::mutex> lock) noexcept {
    if (serving_) return;
    serving_ = true;
    while (free_ > 0 && !waiting_.empty()) {
        granted g = std::move(waiting_.front());
        waiting_.pop_front();
        --free_;
        lock.unlock();
        g(permit(this));
        g = nullptr;  // what it holds may give a permit back
        lock.lock();
    }
    serving_ = false;
}

}  // namespace holdfast::servers
