#include "parts.hpp"

namespace holdfast::testing {

fake_timers::fake_timers(bool manual) : manual_(manual) {
    if (!manual_) thread_ = std::thread([this] { loop(); });
}
fake_timers::~fake_timers() {
    {
        std::lock_guard lock(mutex_);
        closing_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

std::int64_t fake_timers::now() const {
    if (!manual_) return sdk::to_ns(std::chrono::steady_clock::now());
    std::lock_guard lock(mutex_);
    return manual_now_;
}

std::int32_t fake_timers::after(std::int64_t delay_ns, void (*fire)(void*), void* arg, std::uint64_t* id) {
    const std::int64_t at = now() + std::max<std::int64_t>(delay_ns, 0);
    std::lock_guard lock(mutex_);
    *id = ++last_id_;
    due_.emplace(at, entry{*id, fire, arg});
    changed_.notify_all();
    return HF_OK;
}

void fake_timers::cancel(std::uint64_t id) {
    std::unique_lock lock(mutex_);
    for (auto it = due_.begin(); it != due_.end(); ++it) {
        if (it->second.id != id) continue;
        due_.erase(it);
        return;
    }
    if (firing_on_ != std::this_thread::get_id()) changed_.wait(lock, [&] { return firing_ != id; });
}

// Fires the first timer due at or before `until`, outside the lock.
bool fake_timers::fire_one(std::unique_lock<std::mutex>& lock, std::int64_t until) {
    const auto it = due_.begin();
    if (it == due_.end() || it->first > until) return false;
    const entry e = it->second;
    manual_now_ = std::max(manual_now_, it->first);
    due_.erase(it);
    firing_ = e.id;
    firing_on_ = std::this_thread::get_id();
    lock.unlock();
    e.fire(e.arg);
    lock.lock();
    firing_ = 0;
    firing_on_ = {};
    changed_.notify_all();
    return true;
}

void fake_timers::advance(nanoseconds by) {
    std::unique_lock lock(mutex_);
    const std::int64_t until = manual_now_ + by.count();
    while (fire_one(lock, until)) {
    }
    manual_now_ = until;
}

void fake_timers::loop() {
    std::unique_lock lock(mutex_);
    while (!closing_) {
        if (fire_one(lock, sdk::to_ns(std::chrono::steady_clock::now()))) continue;
        if (due_.empty())
            changed_.wait(lock);
        else
            changed_.wait_until(lock, sdk::to_time(due_.begin()->first));
    }
}

std::size_t fake_timers::pending() const {
    std::lock_guard lock(mutex_);
    return due_.size();
}

std::size_t fake_timers::cancel_all() {
    std::unique_lock lock(mutex_);
    const std::size_t n = due_.size();
    due_.clear();
    changed_.wait(lock, [&] { return firing_ == 0; });
    return n;
}

const hf_timer* fake_timers::table() {
    static constexpr hf_timer t{
        sizeof(hf_timer), 0, [](void* c) -> std::int64_t { return fake_host::impl::of(c).timers.now(); },
        [](void* c, std::int64_t delay, void (*fire)(void*), void* arg, std::uint64_t* id, hf_error*) -> std::int32_t {
            return fake_host::impl::of(c).timers.after(delay, fire, arg, id);
        },
        [](void* c, std::uint64_t id) { fake_host::impl::of(c).timers.cancel(id); }};
    return &t;
}

}  // namespace holdfast::testing
