#include "breaker-consecutive/consecutive.hpp"

namespace breaker_consecutive {

rules rules::from(std::string_view json) {
    policy::settings s(json);
    rules r;
    r.failure_threshold = s.count("failure_threshold", 5, 1, most_failures);
    r.recovery = policy::recovery_rules::from(s);
    s.finish();
    return r;
}

/// With the mutex held: shows the new state to those who come without it.
void consecutive::publish() {
    const int state = recovery_.state();
    until_ns_.store(recovery_.until_ns(), std::memory_order_relaxed);
    const std::uint64_t what = state == HF_BREAKER_CLOSED ? closed : state == HF_BREAKER_OPEN ? waiting : slow;
    word_.store(pack(recovery_.generation(), 0, what), std::memory_order_release);
}

/// With the mutex held.
void consecutive::advance(std::int64_t now_ns) {
    const auto before = recovery_.generation();
    const auto opened = recovery_.open_count();
    recovery_.advance(now_ns);
    if (recovery_.open_count() != opened) ++in_a_row_;  // a probe that hung
    if (recovery_.generation() != before) publish();
}

void consecutive::permit(std::int64_t now_ns, hf_permit& out) {
    const std::uint64_t w = word_.load(std::memory_order_acquire);
    if (how(w) == closed) {
        calls_.fetch_add(1, std::memory_order_relaxed);
        out.granted = 1;
        out.generation = generation(w);
        return;
    }
    if (how(w) == waiting) {
        const std::int64_t until = until_ns_.load(std::memory_order_acquire);
        if (now_ns < until && word_.load(std::memory_order_relaxed) == w) {
            rejected_.fetch_add(1, std::memory_order_relaxed);
            out.retry_after_ns = until - now_ns;
            return;
        }
    }
    std::lock_guard lock(mutex_);
    advance(now_ns);
    if (recovery_.state() == HF_BREAKER_CLOSED) {
        out.granted = 1;
        out.generation = recovery_.generation();
    } else {
        recovery_.probe(now_ns, out);
    }
    (out.granted ? calls_ : rejected_).fetch_add(1, std::memory_order_relaxed);
}

/// True when the result is dealt with; false: the mutex is needed.
bool consecutive::report_closed(std::uint64_t of, std::int32_t outcome) {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    while (how(w) == closed && generation(w) == of) {
        if (outcome == HF_OUTCOME_SUCCESS) {
            if (failures(w) == 0 || word_.compare_exchange_weak(w, pack(of, 0, closed), std::memory_order_acq_rel)) return true;
        } else if (outcome == HF_OUTCOME_FAILURE) {
            if (failures(w) + 1 >= threshold_) return false;
            if (word_.compare_exchange_weak(w, pack(of, failures(w) + 1, closed), std::memory_order_acq_rel)) return true;
        } else {
            return true;
        }
    }
    return false;
}

void consecutive::report(std::uint64_t of, std::int32_t outcome, std::int64_t, std::int64_t now_ns) {
    if (outcome == HF_OUTCOME_FAILURE) failed_.fetch_add(1, std::memory_order_relaxed);
    if (report_closed(of, outcome)) return;
    report_slow(of, outcome, now_ns);
}

void consecutive::report_slow(std::uint64_t of, std::int32_t outcome, std::int64_t now_ns) {
    std::lock_guard lock(mutex_);
    advance(now_ns);
    if (of != recovery_.generation()) return;  // C2: a late result
    if (recovery_.state() == HF_BREAKER_HALF_OPEN) {
        const bool now_closed = recovery_.probed(outcome, now_ns);
        if (outcome == HF_OUTCOME_FAILURE) ++in_a_row_;
        if (now_closed) in_a_row_ = 0;
        if (recovery_.generation() != of) publish();
        return;
    }
    if (recovery_.state() != HF_BREAKER_CLOSED) return;
    // Those without the mutex may change the word until it says `slow`; then it is ours.
    std::uint64_t w = word_.load(std::memory_order_acquire);
    while (outcome == HF_OUTCOME_FAILURE) {
        const std::uint64_t now_failed = failures(w) + 1;
        const bool trips = now_failed >= threshold_;
        if (!word_.compare_exchange_weak(w, trips ? pack(of, now_failed, slow) : pack(of, now_failed, closed), std::memory_order_acq_rel)) continue;
        if (!trips) return;
        in_a_row_ = static_cast<std::uint32_t>(now_failed);
        recovery_.trip(now_ns);
        publish();
        return;
    }
    report_closed(of, outcome);
}

void consecutive::state(std::int64_t now_ns, hf_breaker_state& out) {
    std::lock_guard lock(mutex_);
    advance(now_ns);
    out.state = recovery_.state();
    out.generation = recovery_.generation();
    out.consecutive_failures = out.state == HF_BREAKER_CLOSED ? static_cast<std::uint32_t>(failures(word_.load(std::memory_order_acquire))) : in_a_row_;
    out.open_count = recovery_.open_count();
    out.until_ns = recovery_.until_ns();
    out.calls = calls_.load(std::memory_order_relaxed);
    out.failures = failed_.load(std::memory_order_relaxed);
    out.rejected = rejected_.load(std::memory_order_relaxed);
}

void consecutive::force(std::int32_t to, std::int64_t now_ns) {
    std::lock_guard lock(mutex_);
    advance(now_ns);
    const auto before = recovery_.generation();
    const bool was_closed = recovery_.state() == HF_BREAKER_CLOSED;
    recovery_.force(to, now_ns);
    if (recovery_.generation() == before) return;
    // From `slow` on nobody changes the word but us.
    if (was_closed) in_a_row_ = static_cast<std::uint32_t>(failures(word_.exchange(pack(before, 0, slow), std::memory_order_acq_rel)));
    if (recovery_.state() == HF_BREAKER_CLOSED) in_a_row_ = 0;
    publish();
}

}  // namespace breaker_consecutive
