#pragma once
// Memory and processor share of a server's process, for health policies with thresholds on them.
#include <cstdint>

#include "kernel/core/clock.hpp"

namespace holdfast::servers {

struct process_sample {
    double memory_bytes, cpu_percent;  ///< NaN = not measured
};

/// Remembers the last reading, for the share since then. Reads /proc: about 30 µs. [one thread at a time]
class process_sampler {
  public:
    process_sample sample(std::int64_t pid, steady_time now);

  private:
    std::int64_t pid_ = 0;
    std::uint64_t ticks_ = 0;
    steady_time at_{};
};

}  // namespace holdfast::servers
