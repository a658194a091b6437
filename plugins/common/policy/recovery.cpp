#include "policy/recovery.hpp"

#include <algorithm>
#include <cmath>

#include "holdfast/status.hpp"

namespace policy {

recovery_rules recovery_rules::from(settings& s) {
    recovery_rules r;
    r.first_ns = s.seconds("recovery_timeout_s", 30);
    r.longest_ns = s.seconds("max_timeout_s", 600);
    r.multiplier = s.number("backoff_multiplier", 2, 1, 100);
    r.jitter = s.number("jitter", 0.2, 0, 0.99);
    r.probes_at_once = s.count("half_open_max", 1, 1, 1000);
    r.half_open_ns = s.seconds("half_open_timeout_s", 30);
    r.successes_needed = s.count("success_threshold", 1, 1, 1000);
    r.reset_after_ns = s.seconds("reset_after_s", 600, true);
    // Read by the host's status machine of servers.
    s.accept("disable_after_minutes");
    s.accept("first_delay_s");
    if (r.longest_ns < r.first_ns) throw holdfast::sdk::plugin_error(HF_E_INVALID, "max_timeout_s must not be below recovery_timeout_s");
    return r;
}

/// B1: clamped after the jitter, so that neither bound is ever broken.
std::int64_t recovery::wait() {
    const double grown = static_cast<double>(rules_.first_ns) * std::pow(rules_.multiplier, std::min<double>(open_count_ - 1, 1000));
    const double capped = std::min(grown, static_cast<double>(rules_.longest_ns));
    const double jittered = capped * chance_.between(1 - rules_.jitter, 1 + rules_.jitter);
    return std::clamp(static_cast<std::int64_t>(std::min(jittered, 9e18)), rules_.first_ns, rules_.longest_ns);
}

void recovery::open(std::int64_t now_ns) {
    if (open_count_ < UINT32_MAX) ++open_count_;
    state_ = HF_BREAKER_OPEN;
    ++generation_;
    until_ns_ = now_ns + wait();
}

void recovery::close(std::int64_t now_ns) {
    state_ = HF_BREAKER_CLOSED;
    ++generation_;
    until_ns_ = 0;
    closed_at_ns_ = now_ns;
}

void recovery::trip(std::int64_t now_ns) {
    if (now_ns - closed_at_ns_ >= rules_.reset_after_ns) open_count_ = 0;
    open(now_ns);
}

/// Each step happens at its own time, however late it is noticed: what is asked in between changes nothing.
void recovery::advance(std::int64_t now_ns) {
    if (state_ == HF_BREAKER_HALF_OPEN && until_ns_ != 0 && now_ns >= until_ns_) open(until_ns_);
    if (state_ == HF_BREAKER_OPEN && now_ns >= until_ns_) {
        state_ = HF_BREAKER_HALF_OPEN;
        ++generation_;
        probes_ = successes_ = 0;
        until_ns_ = 0;  // the deadline begins with the first probe
    }
}

void recovery::probe(std::int64_t now_ns, hf_permit& out) {
    if (state_ == HF_BREAKER_DISABLED) {
        out.retry_after_ns = -1;
        return;
    }
    if (state_ == HF_BREAKER_OPEN) {
        out.retry_after_ns = std::max<std::int64_t>(until_ns_ - now_ns, 1);
        return;
    }
    if (probes_ >= rules_.probes_at_once) {
        out.retry_after_ns = std::max<std::int64_t>(until_ns_ - now_ns, 1);
        return;
    }
    if (probes_++ == 0) until_ns_ = now_ns + rules_.half_open_ns;
    out.granted = 1;
    out.generation = generation_;
}

bool recovery::probed(std::int32_t outcome, std::int64_t now_ns) {
    if (probes_ > 0) --probes_;
    if (outcome == HF_OUTCOME_FAILURE) {
        open(now_ns);
        return false;
    }
    if (outcome == HF_OUTCOME_SUCCESS && ++successes_ >= rules_.successes_needed) {
        close(now_ns);
        return true;
    }
    if (probes_ == 0) until_ns_ = 0;  // nobody is under way who could hang
    return false;
}

void recovery::force(std::int32_t to, std::int64_t now_ns) {
    switch (to) {
        case HF_BREAKER_OPEN:
            if (state_ != HF_BREAKER_OPEN) open(now_ns);
            return;
        case HF_BREAKER_DISABLED:
            if (state_ != HF_BREAKER_DISABLED) ++generation_;
            state_ = HF_BREAKER_DISABLED;
            return;
        case HF_BREAKER_CLOSED:
            close(now_ns);
            open_count_ = 0;
            return;
        default: return;  // half open cannot be forced
    }
}

}  // namespace policy
