#include "health-phi/phi.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "holdfast/status.hpp"

namespace health_phi {

using holdfast::sdk::copy_text;

namespace {
double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }
}  // namespace

void arrivals::add(double gap_s) {
    gaps_.push_back(std::max(gap_s, 0.0));
    if (gaps_.size() > size_) gaps_.pop_front();
}

void arrivals::clear() { gaps_.clear(); }

/// Never below the pause between the probes: some come early, when something looked wrong, and the next one is then not late.
double arrivals::mean_s() const {
    if (gaps_.empty()) return least_mean_s_;
    return std::max(std::accumulate(gaps_.begin(), gaps_.end(), 0.0) / static_cast<double>(gaps_.size()), least_mean_s_);
}

double arrivals::deviation_s() const {
    if (gaps_.size() < 2) return least_deviation_s_;
    const double mean = std::accumulate(gaps_.begin(), gaps_.end(), 0.0) / static_cast<double>(gaps_.size());
    const double squares = std::accumulate(gaps_.begin(), gaps_.end(), 0.0, [mean](double sum, double g) { return sum + (g - mean) * (g - mean); });
    return std::max(std::sqrt(squares / static_cast<double>(gaps_.size())), least_deviation_s_);
}

double arrivals::phi(double silent_s) const {
    const double later = 0.5 * std::erfc((silent_s - mean_s()) / (deviation_s() * std::sqrt(2.0)));
    if (!(later > 1e-300)) return largest_phi;
    return std::clamp(-std::log10(later), 0.0, largest_phi);
}

phi::phi(std::string_view config, std::uint64_t seed, std::int64_t now_ns) : phi(policy::settings(config), seed, now_ns) {}

phi::phi(policy::settings&& s, std::uint64_t seed, std::int64_t now_ns)
    : schedule_(s, seed),
      limits_(s),
      down_phi_(s.number("phi_down", 8, 0.1, 100)),
      degraded_phi_(s.number("phi_degraded", std::min(5.0, down_phi_), 0.1, 100)),
      success_threshold_(s.count("success_threshold", 1, 1, 10'000)),
      passive_threshold_(s.count("passive_failure_threshold", 3, 1, 10'000)),
      grace_ns_(s.seconds("startup_grace_s", 0, true)),
      arrivals_(s.count("window", 100, 2, 10'000), seconds(schedule_.pause_ns()),
                s.number("min_std_s", seconds(schedule_.pause_ns()) / 10, 0.001, policy::longest_s)) {
    s.accept("failure_threshold");  // of the other policy: here phi decides
    s.finish();
    if (degraded_phi_ > down_phi_) throw holdfast::sdk::plugin_error(HF_E_INVALID, "phi_degraded must not be above phi_down");
    reset(now_ns);
}

void phi::reset(std::int64_t now_ns) {
    active_ = passive_ = {};
    arrivals_.clear();
    limits_.begin();
    schedule_.begin(now_ns);
    up_ = down_ = gap_is_clean_ = false;
    last_ok_ns_ = now_ns;
    grace_end_ns_ = now_ns + grace_ns_;
    probes_failed_ = 0;
}

void phi::observe(const hf_health_sample& s) {
    limits_.take(s);
    if (s.kind != HF_SAMPLE_ACTIVE) {
        passive_.take(s);
        last_call_ns_ = s.now_ns;
        if (passive_.failed == passive_threshold_) schedule_.soon(s.now_ns);
        return;
    }
    active_.take(s);
    if (s.ok) {
        // A gap with a failure inside is no sample of how regularly it answers.
        if (gap_is_clean_ && s.now_ns > last_ok_ns_) arrivals_.add(seconds(s.now_ns - last_ok_ns_));
        gap_is_clean_ = true;
        last_ok_ns_ = std::max(last_ok_ns_, s.now_ns);
        probes_failed_ = 0;
        if (active_.succeeded >= success_threshold_) up_ = true, down_ = false;
    } else {
        gap_is_clean_ = false;
        if (s.fault != HF_FAULT_LOCAL) ++probes_failed_;
    }
    schedule_.probed(s.now_ns, !s.ok || !up_);
}

void phi::verdict(std::int64_t now_ns, hf_health_verdict& out) {
    out.next_check_ns = schedule_.next_ns();
    out.probe_timeout_ns = schedule_.timeout_ns();
    const double silent = seconds(std::max<std::int64_t>(now_ns - last_ok_ns_, 0));
    out.score = arrivals_.phi(silent);
    const bool starting = !up_ && !down_ && now_ns < grace_end_ns_;
    if (probes_failed_ > 0 && out.score >= down_phi_ && !starting) {
        down_ = true;
        up_ = false;
    }
    constexpr std::int64_t remembered = 5;  // intervals
    const bool calls_fail = passive_.failed >= passive_threshold_ && (now_ns - last_call_ns_) / remembered < schedule_.interval_ns();
    char why[160] = "";
    std::string limit;
    if (down_) {
        out.state = HF_HEALTH_DOWN;
        std::snprintf(why, sizeof why, "no success for %.1f s, expected every %.1f s (phi %.1f), and %u checks failed", silent, arrivals_.mean_s(), out.score, probes_failed_);
    } else if (!up_) {
        out.state = passive_.succeeded >= success_threshold_ && active_.failed == 0 ? HF_HEALTH_UP : HF_HEALTH_UNKNOWN;
        if (starting) std::snprintf(why, sizeof why, "it is starting");
    } else if (out.score >= degraded_phi_ || calls_fail) {
        out.state = HF_HEALTH_DEGRADED;
        if (calls_fail) std::snprintf(why, sizeof why, "%u calls in a row failed, while its health checks did not", passive_.failed);
        else std::snprintf(why, sizeof why, "no success for %.1f s, expected every %.1f s (phi %.1f)", silent, arrivals_.mean_s(), out.score);
    } else if (limit = limits_.exceeded(); !limit.empty()) {
        out.state = HF_HEALTH_DEGRADED;
        std::snprintf(why, sizeof why, "%s", limit.c_str());
    } else {
        out.state = HF_HEALTH_UP;
    }
    copy_text(out.reason, sizeof out.reason, why);
}

}  // namespace health_phi
