#include "kernel/supervise/watchdog.hpp"

#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace holdfast::supervise {
namespace {
constexpr nanoseconds shortest_interval = std::chrono::milliseconds(1);
constexpr nanoseconds longest_interval = std::chrono::seconds(1);
}  // namespace

std::string_view to_string(watch_stage s) noexcept {
    switch (s) {
        case watch_stage::beating: return "beating";
        case watch_stage::missed: return "missed";
        case watch_stage::hung: return "hung";
        case watch_stage::escalated: break;
    }
    return "escalated";
}

std::optional<watch_stage> heartbeat_decision::on_sample(std::uint64_t beats, steady_time now) noexcept {
    if (beats != beats_) {
        beats_ = beats;
        last_change_ = now;
        if (stage_ == watch_stage::beating) return std::nullopt;
        return stage_ = watch_stage::beating;
    }
    // One stage per sample, so that each is told once and in order, however late the sample comes.
    if (stage_ == watch_stage::escalated || now < next_check()) return std::nullopt;
    return stage_ = static_cast<watch_stage>(static_cast<int>(stage_) + 1);
}

steady_time heartbeat_decision::next_check() const noexcept {
    switch (stage_) {
        case watch_stage::beating: return last_change_ + deadline_ / 2;
        case watch_stage::missed: return last_change_ + deadline_;
        default: return last_change_ + deadline_ * 2;
    }
}

namespace {
struct watched {
    watched(std::shared_ptr<const std::atomic<std::uint64_t>> b, nanoseconds deadline, watchdog::alert f, bool even_is_idle)
        : beats(std::move(b)), decision(deadline, std::chrono::steady_clock::now()), tell(std::move(f)),
          interval(std::clamp(deadline / 8, shortest_interval, longest_interval)), idles(even_is_idle) {}
    /// What the decision sees: while it idles, each look is a beat.
    std::uint64_t sample() {
        const auto now = beats->load(std::memory_order_relaxed);
        return idles && now % 2 == 0 ? idle_mark + ++idle_looks : now;
    }
    const std::shared_ptr<const std::atomic<std::uint64_t>> beats;  // second owner: the worker
    heartbeat_decision decision;  // Owner: the watchdog's thread
    const watchdog::alert tell;
    const nanoseconds interval;
    const bool idles;
    static constexpr std::uint64_t idle_mark = std::uint64_t{1} << 63;
    std::uint64_t idle_looks = 0;  // Owner: the watchdog's thread
    std::atomic<bool> over{false};
};
}  // namespace

struct watchdog::impl {
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::weak_ptr<supervise::watched>> entries;
    bool stopping = false;
    std::atomic<std::uint64_t> hung{0};
    std::thread thread;

    void run() {
        pthread_setname_np(pthread_self(), "hf-watchdog");
        std::unique_lock lock(mutex);
        while (!stopping) {
            std::vector<std::shared_ptr<supervise::watched>> now_watched;
            std::erase_if(entries, [&](auto& e) {
                auto live = e.lock();
                if (!live) return true;
                now_watched.push_back(std::move(live));
                return false;
            });
            lock.unlock();
            nanoseconds pause = longest_interval;
            for (auto& w : now_watched) {
                pause = std::min(pause, w->interval);
                if (const auto stage = w->decision.on_sample(w->sample(), std::chrono::steady_clock::now())) {
                    if (*stage == watch_stage::hung) hung.fetch_add(1, std::memory_order_relaxed);
                    if (w->over.load()) continue;
                    try {
                        w->tell(*stage);
                    } catch (...) {  // T1
                    }
                }
            }
            const bool none = now_watched.empty();
            now_watched.clear();
            lock.lock();
            if (stopping) break;
            if (none && entries.empty())
                changed.wait(lock, [&] { return stopping || !entries.empty(); });
            else
                changed.wait_for(lock, pause, [&] { return stopping; });
        }
    }
};

watchdog::watchdog() : impl_(std::make_unique<impl>()) {
    impl_->thread = std::thread([i = impl_.get()] { i->run(); });
}

watchdog::~watchdog() {
    {
        std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        impl_->changed.notify_all();
    }
    impl_->thread.join();
}

watchdog::registration watchdog::watch(std::shared_ptr<const std::atomic<std::uint64_t>> beats, nanoseconds deadline, alert f, bool even_is_idle) {
    auto entry = std::make_shared<supervise::watched>(std::move(beats), deadline, std::move(f), even_is_idle);
    registration r;
    r.entry_ = entry;
    std::lock_guard lock(impl_->mutex);
    impl_->entries.push_back(entry);
    impl_->changed.notify_all();
    return r;
}

watchdog::registration::registration(registration&& o) noexcept = default;
watchdog::registration& watchdog::registration::operator=(registration&& o) noexcept {
    if (this != &o) {
        reset();
        entry_ = std::move(o.entry_);
    }
    return *this;
}
watchdog::registration::~registration() { reset(); }

void watchdog::registration::reset() noexcept {
    if (auto entry = std::static_pointer_cast<supervise::watched>(std::move(entry_))) entry->over.store(true);
}

std::size_t watchdog::watched() const {
    std::lock_guard lock(impl_->mutex);
    return static_cast<std::size_t>(std::count_if(impl_->entries.begin(), impl_->entries.end(), [](auto& e) { return !e.expired(); }));
}

std::uint64_t watchdog::episodes() const noexcept { return impl_->hung.load(std::memory_order_relaxed); }

}  // namespace holdfast::supervise
