#pragma once
// Up after some probes that succeed in a row, down after some that fail. Real calls are counted apart: failing ones make it
// degraded and bring the next probe forward, but only probes say down.
#include <cstdint>
#include <string_view>

#include "holdfast/health.hpp"
#include "policy/probing.hpp"

namespace health_threshold {

class threshold final : public holdfast::sdk::health_monitor {
  public:
    /// Throws plugin_error(HF_E_INVALID, …).
    threshold(std::string_view config, std::uint64_t seed, std::int64_t now_ns);

    void observe(const hf_health_sample& s) override;
    void verdict(std::int64_t now_ns, hf_health_verdict& out) override;
    void reset(std::int64_t now_ns) override;

  private:
    threshold(policy::settings&& s, std::uint64_t seed, std::int64_t now_ns);
    bool starting(std::int64_t now_ns) const { return !was_up_ && now_ns < grace_end_ns_; }

    bool calls_fail(std::int64_t now_ns) const;

    policy::probe_schedule schedule_;
    policy::limits limits_;
    std::uint32_t failure_threshold_, success_threshold_, passive_threshold_;
    std::int64_t grace_ns_;

    int probes_ = HF_HEALTH_UNKNOWN;  ///< what the probes alone say
    bool was_up_ = false;
    std::int64_t grace_end_ns_ = 0, last_call_ns_ = 0;
    policy::streak active_, passive_;
};

}  // namespace health_threshold
