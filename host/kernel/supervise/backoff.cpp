#include "kernel/supervise/backoff.hpp"

#include <sys/random.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace holdfast::supervise {

double seeded_random::uniform() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return static_cast<double>(z >> 11) * 0x1.0p-53;
}

std::uint64_t random_seed() {
    std::uint64_t seed = 0;
    while (getrandom(&seed, sizeof seed, 0) != sizeof seed) {  // only EINTR is possible
    }
    return seed;
}

backoff_policy backoff_policy::worker() { return {}; }

backoff_policy backoff_policy::server_disconnected() {
    backoff_policy p;
    p.cap = seconds(8);
    return p;
}

backoff_policy backoff_policy::server_open() {
    backoff_policy p;
    p.first = p.floor = seconds(30);
    p.initial = seconds(60);
    p.cap = seconds(600);
    return p;
}

backoff_policy backoff_policy::none() {
    backoff_policy p;
    p.initial = p.cap = p.floor = nanoseconds(0);
    p.jitter = 0;
    return p;
}

namespace {

/// d_k before clamp and jitter, saturating in double, which cannot overflow into something small.
double raw_delay(const backoff_policy& p, std::uint32_t k) noexcept {
    if (k == 0) return static_cast<double>(p.first.count());
    const double d = static_cast<double>(p.initial.count()) * std::pow(std::max(1.0, p.multiplier), k - 1);
    return std::isfinite(d) ? d : 1e19;
}

nanoseconds clamp_delay(const backoff_policy& p, std::uint32_t k, double d) noexcept {
    if (k == 0 && p.first.count() <= 0) return nanoseconds(0);
    const auto cap = static_cast<double>(p.cap.count());
    const auto floor = std::min(static_cast<double>(p.floor.count()), cap);
    const double clamped = std::clamp(d, floor, cap);
    return clamped >= 9.2e18 ? nanoseconds::max() : nanoseconds(static_cast<std::int64_t>(clamped));
}

}  // namespace

nanoseconds base_delay(const backoff_policy& p, std::uint32_t k) noexcept { return clamp_delay(p, k, raw_delay(p, k)); }

nanoseconds jittered_delay(const backoff_policy& p, std::uint32_t k, random_source& random) noexcept {
    const double base = std::min(raw_delay(p, k), static_cast<double>(p.cap.count()));
    const double factor = 1.0 - p.jitter + 2.0 * p.jitter * random.uniform();
    return clamp_delay(p, k, base * factor);
}

nanoseconds backoff_state::next(const backoff_policy& p, random_source& random) noexcept {
    const auto d = jittered_delay(p, k_, random);
    if (k_ != ~0u) ++k_;
    return d;
}

void backoff_state::healthy(steady_time now) noexcept {
    if (healthy_) return;  // continuous: the first moment counts
    healthy_ = true;
    healthy_since_ = now;
}

void backoff_state::failed(const backoff_policy& p, steady_time now) noexcept {
    if (healthy_ && now - healthy_since_ >= p.reset_after) k_ = 0;
    healthy_ = false;
}

restart_window::restart_window(restart_intensity limit) : limit_(limit) {
    limit_.intensity = std::min(limit_.intensity, max_intensity);
}

bool restart_window::exceeded_by(steady_time now) {
    const std::uint64_t size = limit_.intensity + 1ull;
    const auto slot = static_cast<std::size_t>(count_ % size);
    ++count_;
    if (stamps_.size() < size && slot == stamps_.size())
        stamps_.push_back(now);  // grows only as far as it is used
    else
        stamps_[slot] = now;
    if (count_ < size) return false;
    // The ring holds the newest intensity + 1 restarts: more than `intensity` lie in the window iff the oldest of them does.
    const auto oldest = static_cast<std::size_t>(count_ % size);
    return now - stamps_[oldest] <= limit_.period;
}

result<void> check_budget(const restart_intensity& limit, const backoff_policy& backoff) {
    if (limit.intensity > max_intensity)
        return fail(errc::config_invalid, "max_restarts is at most " + std::to_string(max_intensity));
    if (limit.period.count() <= 0) return fail(errc::config_invalid, "the restart window must be longer than 0 s");
    double sum = 0;
    for (std::uint32_t k = 0; k <= limit.intensity; ++k) {
        const auto d = static_cast<double>(base_delay(backoff, k).count());
        if (d == 0 && k > 0 && !backoff.applies()) break;  // no delays at all
        sum += d;
        if (k > 64) {  // at its cap by now: the rest is a multiplication
            sum += d * static_cast<double>(limit.intensity - k);
            break;
        }
    }
    if (sum <= static_cast<double>(limit.period.count())) return {};
    char text[400];
    std::snprintf(text, sizeof text,
                  "max_restarts %u within %.0f s can never be exceeded: with this backoff %u restarts take at least %.0f s "
                  "(the sum of the first %u delays). Use a window of at least %.0f s, fewer restarts, or shorter delays.",
                  limit.intensity, static_cast<double>(limit.period.count()) / 1e9, limit.intensity + 1, std::ceil(sum / 1e9),
                  limit.intensity + 1, std::ceil(sum / 1e9));
    return fail(errc::config_invalid, text);
}

}  // namespace holdfast::supervise
