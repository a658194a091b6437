#include "kernel/supervise/host_watch.hpp"

#include <utility>

namespace holdfast::supervise {

void host_watch::host_started(steady_time now) {
    phase_ = phase::up;
    waited_.reset();
    due_ = now;
}

void host_watch::host_ended(steady_time now) {
    phase_ = phase::down;
    waited_.reset();
    due_ = now;
}

void host_watch::patience(nanoseconds d, steady_time now) {
    patience_ = d;
    looked_ = now;
    if (phase_ == phase::up && interval() > nanoseconds(0)) due_ = std::min(due_, now + interval());
}

bool host_watch::answered() noexcept {
    if (phase_ != phase::up || !waited_) return false;
    waited_.reset();
    return beat_every_ > nanoseconds(0);
}

host_watch::act host_watch::look(steady_time now, const std::function<bool()>& suspended) {
    const auto passed = std::min<nanoseconds>(now - std::exchange(looked_, now), 2 * look_every());
    switch (phase_) {
        case phase::down:
            if (beat_every_ == nanoseconds(0) || now < due_) return act::nothing;
            due_ = now + beat_every_;
            return act::beat;
        case phase::up:
            if (!waited_) {
                if (interval() == nanoseconds(0) || now < due_) return act::nothing;
                waited_ = nanoseconds(0);
                due_ = now + interval();
                return act::ask;
            }
            if (patience_ == nanoseconds(0) || stopping_) return act::nothing;
            *waited_ += passed;
            if (*waited_ < patience_) return act::nothing;
            if (suspended()) {
                waited_ = nanoseconds(0);
                return act::nothing;
            }
            phase_ = phase::dying;
            due_ = now + abort_patience;
            return act::abort_it;
        case phase::dying:
            if (now < due_) return act::nothing;
            due_ = now + abort_patience;
            return act::kill_it;
    }
    return act::nothing;
}

nanoseconds host_watch::interval() const noexcept {
    if (beat_every_ == nanoseconds(0)) return patience_ / 2;
    return patience_ == nanoseconds(0) ? beat_every_ : std::min(beat_every_, patience_ / 2);
}

steady_time host_watch::next() const noexcept {
    const auto never = steady_time::max();
    switch (phase_) {
        case phase::down: return beat_every_ > nanoseconds(0) ? due_ : never;
        case phase::up:
            if (waited_) return patience_ > nanoseconds(0) && !stopping_ ? looked_ + std::min(look_every(), std::max(patience_ - *waited_, nanoseconds(1))) : never;
            return interval() > nanoseconds(0) ? due_ : never;
        case phase::dying: return due_;
    }
    return never;
}

}  // namespace holdfast::supervise
