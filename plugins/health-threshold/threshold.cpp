#include "health-threshold/threshold.hpp"

#include <string>

namespace health_threshold {

using holdfast::sdk::copy_text;

threshold::threshold(std::string_view config, std::uint64_t seed, std::int64_t now_ns) : threshold(policy::settings(config), seed, now_ns) {}

threshold::threshold(policy::settings&& s, std::uint64_t seed, std::int64_t now_ns)
    : schedule_(s, seed),
      limits_(s),
      failure_threshold_(s.count("failure_threshold", 1, 1, 10'000)),
      success_threshold_(s.count("success_threshold", 1, 1, 10'000)),
      passive_threshold_(s.count("passive_failure_threshold", 3, 1, 10'000)),
      grace_ns_(s.seconds("startup_grace_s", 0, true)) {
    s.finish();
    reset(now_ns);
}

void threshold::reset(std::int64_t now_ns) {
    probes_ = HF_HEALTH_UNKNOWN;
    was_up_ = false;
    grace_end_ns_ = now_ns + grace_ns_;
    active_ = passive_ = {};
    limits_.begin();
    schedule_.begin(now_ns);
}

void threshold::observe(const hf_health_sample& s) {
    limits_.take(s);
    if (s.kind != HF_SAMPLE_ACTIVE) {
        passive_.take(s);
        last_call_ns_ = s.now_ns;
        if (passive_.failed == passive_threshold_) schedule_.soon(s.now_ns);
        return;
    }
    active_.take(s);
    if (active_.succeeded >= success_threshold_) {
        probes_ = HF_HEALTH_UP;
        was_up_ = true;
    } else if (active_.failed >= failure_threshold_ && !starting(s.now_ns)) {
        probes_ = HF_HEALTH_DOWN;
    }
    const bool settled = probes_ == HF_HEALTH_UP ? active_.failed == 0 : probes_ == HF_HEALTH_DOWN && active_.succeeded == 0;
    schedule_.probed(s.now_ns, !settled);
}

/// Failures of calls long ago say nothing about now.
bool threshold::calls_fail(std::int64_t now_ns) const {
    constexpr std::int64_t remembered = 5;  // intervals
    return passive_.failed >= passive_threshold_ && !starting(now_ns) && (now_ns - last_call_ns_) / remembered < schedule_.interval_ns();
}

void threshold::verdict(std::int64_t now_ns, hf_health_verdict& out) {
    out.next_check_ns = schedule_.next_ns();
    out.probe_timeout_ns = schedule_.timeout_ns();
    out.score = active_.failed;
    std::string why;
    // Real calls that succeed are evidence as long as no probe has spoken.
    out.state = probes_ == HF_HEALTH_UNKNOWN && passive_.succeeded >= success_threshold_ && active_.failed == 0 ? int{HF_HEALTH_UP} : probes_;
    if (out.state == HF_HEALTH_DOWN) {
        why = std::to_string(active_.failed) + " health checks in a row failed";
        if (active_.succeeded > 0) why = "only " + std::to_string(active_.succeeded) + " of " + std::to_string(success_threshold_) + " health checks succeeded since it was down";
    } else if (calls_fail(now_ns)) {
        out.state = HF_HEALTH_DEGRADED;
        why = std::to_string(passive_.failed) + " calls in a row failed, while its health checks did not";
    } else if (out.state == HF_HEALTH_UP) {
        why = limits_.exceeded();
        if (!why.empty()) out.state = HF_HEALTH_DEGRADED;
    } else if (starting(now_ns)) {
        why = "it is starting";
    }
    if (why.empty() && active_.local + passive_.local > 0) why = std::to_string(active_.local + passive_.local) + " checks or calls failed on our side";
    copy_text(out.reason, sizeof out.reason, why);
}

}  // namespace health_threshold
