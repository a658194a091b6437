#include "servers/figures.hpp"

#include <algorithm>
#include <bit>

namespace holdfast::servers {

void latency_figures::add(nanoseconds took) noexcept {
    const auto us = static_cast<std::uint64_t>(std::max<std::int64_t>(took.count() / 1000, 0));
    counts_[std::min<std::size_t>(std::bit_width(us), buckets - 1)].fetch_add(1, std::memory_order_relaxed);
    total_us_.fetch_add(us, std::memory_order_relaxed);
    std::uint64_t before = max_us_.load(std::memory_order_relaxed);
    while (before < us && !max_us_.compare_exchange_weak(before, us, std::memory_order_relaxed)) {
    }
}

json latency_figures::to_json() const {
    std::array<std::uint64_t, buckets> n{};
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < buckets; ++i) count += n[i] = counts_[i].load(std::memory_order_relaxed);
    const double max_us = static_cast<double>(max_us_.load(std::memory_order_relaxed));
    const auto quantile_ms = [&](double q) {
        double before = 0;
        const double rank = q * static_cast<double>(count);
        for (std::size_t i = 0; i < buckets; ++i) {
            const double here = static_cast<double>(n[i]);
            if (here > 0 && before + here >= rank) {
                const double low = i == 0 ? 0 : static_cast<double>(std::uint64_t{1} << (i - 1)), high = static_cast<double>(std::uint64_t{1} << i);
                return std::min(low + (high - low) * (rank - before) / here, max_us) / 1000;
            }
            before += here;
        }
        return 0.0;
    };
    const double mean = count == 0 ? 0 : static_cast<double>(total_us_.load(std::memory_order_relaxed)) / static_cast<double>(count) / 1000;
    return {{"count", count}, {"mean_ms", mean}, {"p50_ms", quantile_ms(0.5)}, {"p95_ms", quantile_ms(0.95)}, {"p99_ms", quantile_ms(0.99)}, {"max_ms", max_us / 1000}};
}

json server_figures::counts() const {
    const auto get = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
    return {{"started", get(started)}, {"stopped", get(stopped)}, {"restarted", get(restarted)}, {"failed", get(failed)},
            {"health_checks", get(health_checks)}, {"failed_checks", get(failed_checks)}, {"calls", get(calls)}, {"failed_calls", get(failed_calls)}};
}

}  // namespace holdfast::servers
