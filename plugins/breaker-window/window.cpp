#include "breaker-window/window.hpp"

#include <algorithm>

#include "holdfast/status.hpp"

namespace breaker_window {

rules rules::from(std::string_view json) {
    policy::settings s(json);
    rules r;
    r.by_time = s.choice("window_type", "count", {"count", "time"}) == "time";
    r.size = s.count("window_size", 20, 1, largest_window);
    r.span_ns = s.seconds("window_s", 60);
    r.min_calls = s.count("min_calls", r.by_time ? 10 : std::min(10u, r.size), 1, largest_window);
    r.failure_rate = s.number("failure_rate", 0.5, 0.0001, 1);
    r.slow_ns = static_cast<std::int64_t>(s.maybe("slow_call_ms", 0.001, 1e9).value_or(0) * 1e6);
    r.slow_rate = s.number("slow_rate", 1, 0.0001, 1);
    r.recovery = policy::recovery_rules::from(s);
    s.accept("failure_threshold");  // read by the host's status machine of servers; here the rates decide
    s.finish();
    if (!r.by_time && r.min_calls > r.size) throw holdfast::sdk::plugin_error(HF_E_INVALID, "min_calls must not be above window_size: it could never open");
    return r;
}

window::window(const rules& r)
    : by_time_(r.by_time), slice_ns_(std::max<std::int64_t>(r.span_ns / static_cast<std::int64_t>(slices), 1)), ring_(r.by_time ? slices : r.size) {}

void window::clear() {
    std::fill(ring_.begin(), ring_.end(), tally{});
    sum_ = {};
    at_ = 0;
}

/// Empties the slices that time has passed by. Time that goes backwards stands still.
void window::roll(std::int64_t now_ns) {
    const std::int64_t slice = now_ns / slice_ns_;
    if (slice <= slice_) return;
    const std::int64_t steps = std::min<std::int64_t>(slice - slice_, static_cast<std::int64_t>(ring_.size()));
    slice_ = slice;
    for (std::int64_t i = 0; i < steps; ++i) {
        at_ = (at_ + 1) % ring_.size();
        tally& old = ring_[at_];
        sum_.calls -= old.calls, sum_.failed -= old.failed, sum_.slow -= old.slow;
        old = {};
    }
}

void window::add(bool failed, bool slow, std::int64_t now_ns) {
    const tally one{1, failed ? 1u : 0u, slow ? 1u : 0u};
    if (by_time_) {
        roll(now_ns);
    } else {
        at_ = (at_ + 1) % ring_.size();
        tally& old = ring_[at_];
        sum_.calls -= old.calls, sum_.failed -= old.failed, sum_.slow -= old.slow;
        old = {};
    }
    tally& t = ring_[at_];
    t.calls += one.calls, t.failed += one.failed, t.slow += one.slow;
    sum_.calls += one.calls, sum_.failed += one.failed, sum_.slow += one.slow;
}

tally window::sum(std::int64_t now_ns) {
    if (by_time_) roll(now_ns);
    return sum_;
}

void rate_breaker::permit(std::int64_t now_ns, hf_permit& out) {
    recovery_.advance(now_ns);
    if (recovery_.state() == HF_BREAKER_CLOSED) {
        out.granted = 1;
        out.generation = recovery_.generation();
    } else {
        recovery_.probe(now_ns, out);
    }
    ++(out.granted ? calls_ : rejected_);
}

void rate_breaker::report(std::uint64_t generation, std::int32_t outcome, std::int64_t latency_ns, std::int64_t now_ns) {
    const bool failed = outcome == HF_OUTCOME_FAILURE;
    if (failed) ++failed_;
    recovery_.advance(now_ns);
    if (generation != recovery_.generation()) return;  // C2: a late result
    if (recovery_.state() == HF_BREAKER_HALF_OPEN) {
        if (failed) ++in_a_row_;
        if (recovery_.probed(outcome, now_ns)) {
            window_.clear();
            in_a_row_ = 0;
        }
        return;
    }
    if (recovery_.state() != HF_BREAKER_CLOSED || (outcome != HF_OUTCOME_SUCCESS && !failed)) return;
    in_a_row_ = failed ? in_a_row_ + 1 : 0;
    window_.add(failed, rules_.slow_ns > 0 && latency_ns >= rules_.slow_ns, now_ns);
    const tally t = window_.sum(now_ns);
    if (t.calls < rules_.min_calls) return;
    const auto part = [&t](std::uint64_t n) { return static_cast<double>(n) / static_cast<double>(t.calls); };
    if (part(t.failed) >= rules_.failure_rate || (rules_.slow_ns > 0 && part(t.slow) >= rules_.slow_rate)) recovery_.trip(now_ns);
}

void rate_breaker::state(std::int64_t now_ns, hf_breaker_state& out) {
    recovery_.advance(now_ns);
    out.state = recovery_.state();
    out.generation = recovery_.generation();
    out.consecutive_failures = in_a_row_;
    out.open_count = recovery_.open_count();
    out.until_ns = recovery_.until_ns();
    out.calls = calls_, out.failures = failed_, out.rejected = rejected_;
}

void rate_breaker::force(std::int32_t to, std::int64_t now_ns) {
    recovery_.advance(now_ns);
    recovery_.force(to, now_ns);
    if (to != HF_BREAKER_CLOSED) return;
    window_.clear();
    in_a_row_ = 0;
}

}  // namespace breaker_window
