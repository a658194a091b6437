#pragma once
// Phi accrual: how unlikely it is that a success stays away for so long, given how regularly successes came before.
// phi = -log10(P(later than now)): 1 is wrong one time in ten, 8 one time in a hundred million.
// Silence alone is no proof, because it may be we who did not ask: only a failed probe makes it down.
#include <cstdint>
#include <deque>
#include <string_view>

#include "holdfast/health.hpp"
#include "policy/probing.hpp"

namespace health_phi {

constexpr double largest_phi = 300;

/// The gaps between successes, the latest `size` of them. Pure.
class arrivals {
  public:
    arrivals(std::size_t size, double least_mean_s, double least_deviation_s) : size_(size), least_mean_s_(least_mean_s), least_deviation_s_(least_deviation_s) {}
    void add(double gap_s);
    void clear();
    double mean_s() const;
    double deviation_s() const;
    /// From 0 to largest_phi.
    double phi(double silent_s) const;

  private:
    std::size_t size_;
    double least_mean_s_, least_deviation_s_;
    std::deque<double> gaps_;
};

class phi final : public holdfast::sdk::health_monitor {
  public:
    /// Throws plugin_error(HF_E_INVALID, …).
    phi(std::string_view config, std::uint64_t seed, std::int64_t now_ns);

    void observe(const hf_health_sample& s) override;
    void verdict(std::int64_t now_ns, hf_health_verdict& out) override;
    void reset(std::int64_t now_ns) override;

  private:
    phi(policy::settings&& s, std::uint64_t seed, std::int64_t now_ns);

    policy::probe_schedule schedule_;
    policy::limits limits_;
    double down_phi_, degraded_phi_;
    std::uint32_t success_threshold_, passive_threshold_;
    std::int64_t grace_ns_;
    arrivals arrivals_;

    policy::streak active_, passive_;
    bool up_ = false;              ///< enough successes since the start or since it was down
    std::int64_t last_ok_ns_ = 0;  ///< or the start
    std::int64_t grace_end_ns_ = 0, last_call_ns_ = 0;
    std::uint32_t probes_failed_ = 0;  ///< since the last success, ours excluded
    bool gap_is_clean_ = false;    ///< no failure since the last success
    bool down_ = false;
};

}  // namespace health_phi
