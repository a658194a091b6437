#include "policy/probing.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "holdfast/status.hpp"

namespace policy {
namespace {
constexpr std::int64_t soon_ns = second_ns;
constexpr double newest = 0.3;  // weight of the newest latency
constexpr double largest = 1e15;
}  // namespace

probe_schedule::probe_schedule(settings& s, std::uint64_t seed)
    : interval_ns_(s.seconds("interval_s", 30)),
      timeout_ns_(s.seconds("timeout_s", 5)),
      pause_ns_(std::max(interval_ns_ - timeout_ns_, interval_ns_ / 2)),
      jitter_(s.number("jitter", 0.1, 0, 0.9)),
      chance_(seed) {
    s.accept("probe");  // read by the host
}

void probe_schedule::begin(std::int64_t now_ns) { next_ns_ = now_ns + static_cast<std::int64_t>(static_cast<double>(pause_ns_) * chance_.unit()); }

void probe_schedule::probed(std::int64_t now_ns, bool in_doubt) {
    const std::int64_t pause = in_doubt ? std::min(pause_ns_, std::max(timeout_ns_, soon_ns)) : pause_ns_;
    next_ns_ = now_ns + std::max<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(pause) * chance_.between(1 - jitter_, 1)), 1);
}

void probe_schedule::soon(std::int64_t now_ns) { next_ns_ = std::min(next_ns_, now_ns + soon_ns); }

void streak::take(const hf_health_sample& s) {
    if (s.ok) {
        ++succeeded;
        failed = 0;
    } else if (s.fault == HF_FAULT_LOCAL) {
        ++local;
    } else {
        if (failed < UINT32_MAX) ++failed;
        succeeded = 0;
    }
}

limits::limits(settings& s)
    : latency_ms_(s.maybe("latency_ms", 0, largest)), memory_mb_(s.maybe("memory_mb", 0, largest)), cpu_percent_(s.maybe("cpu_percent", 0, largest)),
      queue_length_(s.maybe("queue_length", 0, largest)) {}

void limits::begin() {
    latency_ = memory_ = cpu_ = queue_ = 0;
    measured_ = false;
}

void limits::take(const hf_health_sample& s) {
    if (s.ok) {
        const double ms = static_cast<double>(std::max<std::int64_t>(s.latency_ns, 0)) / 1e6;
        latency_ = measured_ ? latency_ + newest * (ms - latency_) : ms;
        measured_ = true;
    }
    if (std::isfinite(s.memory_bytes)) memory_ = s.memory_bytes / (1 << 20);
    if (std::isfinite(s.cpu_percent)) cpu_ = s.cpu_percent;
    if (std::isfinite(s.queue_length)) queue_ = s.queue_length;
}

std::string limits::exceeded() const {
    const auto over = [](const char* what, const char* unit, double value, const std::optional<double>& limit) -> std::string {
        if (!limit || value <= *limit) return {};
        char text[120];
        std::snprintf(text, sizeof text, "%s is %.6g%s, above the limit of %.6g%s", what, value, unit, *limit, unit);
        return text;
    };
    for (const auto& [what, unit, value, limit] : {std::tuple{"the latency", " ms", latency_, latency_ms_}, std::tuple{"the memory", " MiB", memory_, memory_mb_},
                                                   std::tuple{"the use of the CPU", " %", cpu_, cpu_percent_}, std::tuple{"the queue", "", queue_, queue_length_}})
        if (auto text = over(what, unit, value, limit); !text.empty()) return text;
    return {};
}

}  // namespace policy
