#pragma once
// Delays between attempts (rules B1, B2, B4). Pure: time and randomness come in as arguments.
#include <cstdint>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::supervise {

/// Uniform in [0, 1). Injected; tests print its seed.
class random_source {
  public:
    virtual ~random_source() = default;
    virtual double uniform() = 0;
};
/// splitmix64. [one thread at a time]
class seeded_random final : public random_source {
  public:
    explicit seeded_random(std::uint64_t seed) : state_(seed) {}
    double uniform() override;

  private:
    std::uint64_t state_;
};
std::uint64_t random_seed();  ///< from the kernel

/// A schedule: d_k for attempt k (0 is the first), then jitter, then the clamp (B1: jitter can never leave the range).
struct backoff_policy {
    nanoseconds first{0};             ///< d_0
    nanoseconds initial{seconds(1)};  ///< d_1
    double multiplier = 2.0;          ///< d_k = initial · multiplier^(k-1)
    nanoseconds floor{0};             ///< clamp after jitter, for k ≥ 1 (and for k = 0 when first > 0)
    nanoseconds cap{seconds(60)};
    double jitter = 0.2;              ///< factor U[1-jitter, 1+jitter]
    nanoseconds reset_after{seconds(600)};  ///< continuous health that sets k back to 0 (B2)

    static backoff_policy worker();             ///< 0, 1, 2, 4, 8, 16, 32, 60, 60 … s
    static backoff_policy server_disconnected();///< 0, 1, 2, 4, 8 s: attempts while a server is disconnected
    static backoff_policy server_open();        ///< 30, 60, 120, 240, 480, 600 … s, jitter 20 %: probes while circuit_open
    static backoff_policy none();               ///< no delays: restarts at once, always
    bool applies() const noexcept { return initial.count() > 0; }
};

/// Without jitter, clamped, saturating for any k.
nanoseconds base_delay(const backoff_policy& p, std::uint32_t k) noexcept;
/// clamp(base · U[1-jitter, 1+jitter], floor, cap)
nanoseconds jittered_delay(const backoff_policy& p, std::uint32_t k, random_source& random) noexcept;

/// Counts attempts; k goes back to 0 only after continuous health, never because something was spawned (B2).
class backoff_state {
  public:
    std::uint32_t attempts() const noexcept { return k_; }
    /// The delay before the next attempt; counts it.
    nanoseconds next(const backoff_policy& p, random_source& random) noexcept;
    /// It became healthy (for things without health checks: its start finished).
    void healthy(steady_time now) noexcept;
    /// It failed. Resets k first when it had been healthy long enough.
    void failed(const backoff_policy& p, steady_time now) noexcept;
    void reset() noexcept { *this = {}; }  ///< a person re-enabled it

  private:
    std::uint32_t k_ = 0;
    bool healthy_ = false;
    steady_time healthy_since_{};
};

/// At most `intensity` restarts within `period`.
struct restart_intensity {
    std::uint32_t intensity = 5;
    nanoseconds period{seconds(60)};
    static restart_intensity with_backoff() { return {5, seconds(60)}; }
    static restart_intensity without_backoff() { return {3, seconds(5)}; }
};

/// The restarts inside the window: a ring of intensity + 1 stamps. O(1) per restart, whatever the history (S4).
class restart_window {
  public:
    explicit restart_window(restart_intensity limit = {});
    /// Stamps a restart attempted now. true: the window now holds more than `intensity`.
    bool exceeded_by(steady_time now);
    const restart_intensity& limit() const noexcept { return limit_; }

  private:
    restart_intensity limit_;
    std::vector<steady_time> stamps_;  // allocated at the first restart
    std::uint64_t count_ = 0;
};

inline constexpr std::uint32_t max_intensity = 1'000'000;

/// B4: an intensity n can only ever trip when the window is at least the sum of the first n + 1 delays.
/// Errors: config_invalid with the explanation and the smallest window that works.
result<void> check_budget(const restart_intensity& limit, const backoff_policy& backoff);

}  // namespace holdfast::supervise
