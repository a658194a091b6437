// What both runtimes share: handles, posting, the life of a watch.
#include "kernel/supervise/runtime.hpp"

#include "kernel/supervise/detail/timer_heap.hpp"

namespace holdfast::supervise {

timer_handle& timer_handle::operator=(timer_handle&& o) noexcept {
    if (this != &o) {
        cancel();
        state_ = std::move(o.state_);
    }
    return *this;
}

void timer_handle::cancel() noexcept {
    if (auto state = std::move(state_)) state->cancel();
}

bool timer_handle::pending() const noexcept {
    return state_ && state_->phase.load() == detail::timer_state::pending;
}

fd_watch& fd_watch::operator=(fd_watch&& o) noexcept {
    if (this != &o) {
        cancel();
        state_ = std::move(o.state_);
    }
    return *this;
}

bool fd_watch::rearm(std::uint32_t interest) noexcept { return state_ && state_->rearm(interest); }

void fd_watch::cancel() noexcept {
    if (auto state = std::move(state_)) state->cancel();
}

bool runtime::post(task f) {
    auto* item = new detail::posted_task(std::move(f));
    if (enqueue(item)) return true;
    item->drop();
    return false;
}

timer_handle runtime::after(nanoseconds delay, task f) {
    auto state = std::make_shared<detail::timer_state>();
    state->callback = std::move(f);
    // Saturating: a delay of "for ever" must not wrap into the past.
    const auto start = now();
    state->at = delay > steady_time::max() - start ? steady_time::max() : start + std::max(delay, nanoseconds(0));
    add_timer(state);
    return timer_handle(std::move(state));
}

namespace detail {

void watch_state::on_ready(std::uint32_t events) {
    {
        std::lock_guard lock(mutex);
        if (cancelled) return;
        interest = 0;
        ready |= events;
        if (active) return;  // run_turn looks again before it ends
        active = true;
        self = shared_from_this();
    }
    if (where == dispatch::reactor) {
        run_turn();
    } else if (const auto to = owner.lock(); !to || !to->enqueue_watch(this, where)) {
        drop();
    }
}

void watch_state::run_turn() {
    const auto keep = shared_from_this();
    unique_function<void(std::uint32_t)> f;
    std::uint32_t events = 0;
    {
        std::lock_guard lock(mutex);
        self.reset();
        events = std::exchange(ready, 0);
        if (cancelled) {
            active = false;
            return;
        }
        f = std::move(callback);
    }
    struct restore {  // also when the callback throws
        watch_state& w;
        unique_function<void(std::uint32_t)>& f;
        ~restore() {
            bool again = false;
            {
                std::lock_guard lock(w.mutex);
                w.active = false;
                if (!w.cancelled) {
                    w.callback = std::move(f);
                    again = w.ready != 0;
                }
            }
            if (again) w.on_ready(0);
        }
    } restore{*this, f};
    f(events);
}

void watch_state::drop() noexcept {
    const auto keep = shared_from_this();
    std::lock_guard lock(mutex);
    self.reset();
    active = false;
}

void watch_state::cancel() noexcept {
    unique_function<void(std::uint32_t)> doomed;  // destroyed outside the lock: it may own anything
    std::lock_guard lock(mutex);
    if (cancelled) return;
    cancelled = true;
    doomed = std::move(callback);
    if (const auto to = owner.lock()) to->remove(*this);
}

bool watch_state::rearm(std::uint32_t wanted) noexcept {
    std::lock_guard lock(mutex);
    if (cancelled) return false;
    const auto to = owner.lock();
    if (!to) return false;
    interest = wanted;
    return to->arm(*this, wanted);
}

}  // namespace detail
}  // namespace holdfast::supervise
