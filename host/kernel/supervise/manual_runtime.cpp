// The runtime for tests: the caller's thread, simulated time, a fixed order.
#include <poll.h>

#include <condition_variable>
#include <map>

#include "kernel/supervise/detail/timer_heap.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::supervise {
namespace {
thread_local const void* current_manual = nullptr;
}

struct manual_runtime::impl final : detail::watch_state::poller {
    struct atomic_clock final : clock_source {  // other threads may ask while the test's thread advances
        std::atomic<std::int64_t> ns{std::chrono::nanoseconds(std::chrono::hours(1)).count()};
        steady_time now() const override { return steady_time(nanoseconds(ns.load())); }
        wall_time wall() const override {
            return wall_time(std::chrono::hours(24 * 365 * 56)) + std::chrono::duration_cast<wall_time::duration>(nanoseconds(ns.load()));
        }
    } clock;
    std::mutex mutex;
    std::condition_variable arrived;
    detail::runnable *head = nullptr, *tail = nullptr;
    std::size_t queued = 0;
    std::uint64_t turns = 0, escaped = 0;
    bool closed = false;
    detail::timer_heap timers;
    std::map<std::uint64_t, std::weak_ptr<detail::watch_state>> watches;
    std::map<std::uint64_t, std::uint32_t> armed;  // id → interest
    std::uint64_t next_watch = 1;

    bool enqueue(detail::runnable* item) {
        std::lock_guard lock(mutex);
        if (closed) return false;
        item->next_runnable = nullptr;
        (tail ? tail->next_runnable : head) = item;
        tail = item;
        ++queued;
        arrived.notify_all();
        return true;
    }
    bool enqueue_watch(detail::runnable* item, dispatch) override { return enqueue(item); }
    bool arm(detail::watch_state& w, std::uint32_t interest) override {
        std::lock_guard lock(mutex);
        armed[w.id] = interest;
        return !closed;
    }
    void remove(detail::watch_state& w) override {
        std::lock_guard lock(mutex);
        watches.erase(w.id);
        armed.erase(w.id);
    }

    detail::runnable* pop() {
        std::lock_guard lock(mutex);
        auto* item = head;
        if (!item) return nullptr;
        head = item->next_runnable;
        if (!head) tail = nullptr;
        --queued;
        ++turns;
        return item;
    }
    bool fire_one() {
        std::shared_ptr<detail::timer_state> t;
        {
            std::lock_guard lock(mutex);
            t = timers.pop_due(clock.now());
        }
        if (!t) return false;
        t->self = t;
        run(t.get());
        return true;
    }
    bool poll_watches() {
        std::vector<pollfd> fds;
        std::vector<std::shared_ptr<detail::watch_state>> states;
        {
            std::lock_guard lock(mutex);
            for (const auto& [id, interest] : armed)
                if (auto w = watches[id].lock()) {
                    fds.push_back({w->fd, static_cast<short>((interest & fd_readable ? POLLIN : 0) | (interest & fd_writable ? POLLOUT : 0)), 0});
                    states.push_back(std::move(w));
                }
        }
        if (fds.empty() || poll(fds.data(), fds.size(), 0) <= 0) return false;
        for (std::size_t i = 0; i < fds.size(); ++i) {
            const auto e = fds[i].revents;
            if (!e) continue;
            {
                std::lock_guard lock(mutex);
                armed.erase(states[i]->id);
            }
            states[i]->on_ready((e & POLLIN ? fd_readable : 0u) | (e & POLLOUT ? fd_writable : 0u) | (e & (POLLHUP | POLLERR) ? fd_hangup : 0u));
        }
        return true;
    }
    void run(detail::runnable* item) {
        const auto* before = std::exchange(current_manual, this);
        try {
            item->run_turn();
        } catch (...) {
            std::lock_guard lock(mutex);
            ++escaped;
        }
        current_manual = before;
    }
};

manual_runtime::manual_runtime() : impl_(std::make_shared<impl>()) {}

manual_runtime::~manual_runtime() {
    auto& s = *impl_;
    std::vector<std::shared_ptr<detail::timer_state>> timers;
    {
        std::lock_guard lock(s.mutex);
        s.closed = true;
        timers = s.timers.take_all();
    }
    for (auto& t : timers) t->cancel();
    while (auto* item = s.pop()) item->drop();
}

std::size_t manual_runtime::run_until_idle() {
    std::size_t n = 0;
    for (;;) {
        if (auto* item = impl_->pop()) {
            impl_->run(item);
            ++n;
        } else if (impl_->fire_one()) {
            ++n;
        } else if (!impl_->poll_watches()) {
            return n;
        }
    }
}

void manual_runtime::advance(nanoseconds d) {
    run_until_idle();
    const auto end = impl_->clock.ns.load() + d.count();
    for (;;) {
        std::int64_t next = end;
        {
            std::lock_guard lock(impl_->mutex);
            impl_->timers.drop_cancelled_front();
            if (!impl_->timers.empty()) next = std::min<std::int64_t>(end, impl_->timers.earliest().time_since_epoch().count());
        }
        impl_->clock.ns.store(std::max(next, impl_->clock.ns.load()));
        run_until_idle();
        if (next == end) return;
    }
}

bool manual_runtime::wait_and_run(nanoseconds real_deadline) {
    const auto until = std::chrono::steady_clock::now() + real_deadline;
    for (;;) {
        if (run_until_idle() > 0) return true;
        std::unique_lock lock(impl_->mutex);
        // Descriptors have no condition variable: look at them every millisecond while any is watched.
        const auto slice = impl_->armed.empty() ? until : std::min(until, std::chrono::steady_clock::now() + milliseconds(1));
        impl_->arrived.wait_until(lock, slice, [&] { return impl_->head != nullptr; });
        if (!impl_->head && std::chrono::steady_clock::now() >= until) return false;
    }
}

const clock_source& manual_runtime::clock() const { return impl_->clock; }

result<fd_watch> manual_runtime::watch_fd(int fd, std::uint32_t interest, unique_function<void(std::uint32_t)> f,
                                          dispatch where) {
    auto w = std::make_shared<detail::watch_state>();
    w->owner = impl_;
    w->fd = fd;
    w->interest = interest;
    w->where = where;
    w->callback = std::move(f);
    std::lock_guard lock(impl_->mutex);
    w->id = impl_->next_watch++;
    impl_->watches[w->id] = w;
    impl_->armed[w->id] = interest;
    return fd_watch(w);
}

bool manual_runtime::enqueue(detail::runnable* item) { return impl_->enqueue(item); }
bool manual_runtime::on_pool_thread() const noexcept { return current_manual == impl_.get(); }

runtime::counters manual_runtime::stats() const {
    std::lock_guard lock(impl_->mutex);
    return {impl_->turns, impl_->queued, impl_->timers.pending(), 1, impl_->escaped};
}

void manual_runtime::add_timer(std::shared_ptr<detail::timer_state> t) {
    std::lock_guard lock(impl_->mutex);
    if (impl_->closed)
        t->cancel();
    else
        impl_->timers.push(std::move(t));
}

}  // namespace holdfast::supervise
