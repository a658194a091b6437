#pragma once
// What the health policies share: when the next probe is due, real calls counted apart from probes (H2), and limits on what
// was measured. Pure: time is passed in. One thread at a time.
#include <cstdint>
#include <optional>
#include <string>

#include "holdfast/ext/health.h"
#include "policy/settings.hpp"

namespace policy {

/// When the next probe is due: spread at the start so that many servers are not probed at once, sooner while in doubt. Silence
/// is known within the interval after the last answer: a probe starts early enough to time out in it, and jitter only shortens.
class probe_schedule {
  public:
    probe_schedule(settings& s, std::uint64_t seed);
    void begin(std::int64_t now_ns);
    void probed(std::int64_t now_ns, bool in_doubt);
    void soon(std::int64_t now_ns);  ///< something looks wrong: ask now
    std::int64_t next_ns() const { return next_ns_; }
    std::int64_t interval_ns() const { return interval_ns_; }
    std::int64_t timeout_ns() const { return timeout_ns_; }
    std::int64_t pause_ns() const { return pause_ns_; }  ///< longest between two probes; half the interval where the timeout leaves less

  private:
    std::int64_t interval_ns_, timeout_ns_, pause_ns_;
    double jitter_;
    chance chance_;
    std::int64_t next_ns_ = 0;
};

/// The results of one kind of sample. Faults of our own side are counted apart and break no streak.
struct streak {
    std::uint32_t failed = 0, succeeded = 0;  ///< in a row
    std::uint64_t local = 0;                  ///< in all
    void take(const hf_health_sample& s);
};

/// What may be measured and how much of it is too much.
class limits {
  public:
    explicit limits(settings& s);
    void begin();
    void take(const hf_health_sample& s);
    /// Why the thing is degraded; empty: nothing is above its limit.
    std::string exceeded() const;

  private:
    std::optional<double> latency_ms_, memory_mb_, cpu_percent_, queue_length_;
    double latency_ = 0, memory_ = 0, cpu_ = 0, queue_ = 0;  ///< latest; the latency smoothed
    bool measured_ = false;
};

}  // namespace policy
