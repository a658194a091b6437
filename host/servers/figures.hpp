#pragma once
// What is counted about one server, and about all of them together. Written by the servers' actors, read by anyone.
#include <array>
#include <atomic>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"

namespace holdfast::servers {

/// Times in buckets that double from 1 µs: memory and cost do not depend on how many there were. [any thread]
class latency_figures {
  public:
    void add(nanoseconds took) noexcept;
    /// {"count","mean_ms","p50_ms","p95_ms","p99_ms","max_ms"}; a quantile is exact to its bucket, read between its ends.
    json to_json() const;

  private:
    static constexpr std::size_t buckets = 36;  // the last one begins at 9.5 hours
    std::array<std::atomic<std::uint64_t>, buckets> counts_{};
    std::atomic<std::uint64_t> total_us_{0}, max_us_{0};
};

struct server_figures {
    std::atomic<std::uint64_t> started{0};        ///< became healthy
    std::atomic<std::uint64_t> stopped{0};        ///< by a person or with the host, while it was wanted
    std::atomic<std::uint64_t> restarted{0};      ///< attempts after the first
    std::atomic<std::uint64_t> failed{0};         ///< losses and failed attempts
    std::atomic<std::uint64_t> health_checks{0};
    std::atomic<std::uint64_t> failed_checks{0};
    std::atomic<std::uint64_t> calls{0};          ///< answered or failed
    std::atomic<std::uint64_t> failed_calls{0};
    latency_figures latency;                      ///< of calls

    json counts() const;
};

}  // namespace holdfast::servers
