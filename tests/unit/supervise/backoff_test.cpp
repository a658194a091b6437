#include <gtest/gtest.h>

#include <limits>

#include "kernel/supervise/backoff.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {
struct constant_random final : random_source {
    explicit constant_random(double v) : v(v) {}
    double uniform() override { return v; }
    double v;
};
std::vector<std::int64_t> delays(const backoff_policy& p, int n) {
    std::vector<std::int64_t> out;
    for (int k = 0; k < n; ++k) out.push_back(base_delay(p, static_cast<std::uint32_t>(k)) / seconds(1));
    return out;
}
}  // namespace

TEST(B1, the_three_schedules) {
    EXPECT_EQ(delays(backoff_policy::worker(), 10), (std::vector<std::int64_t>{0, 1, 2, 4, 8, 16, 32, 60, 60, 60}));
    EXPECT_EQ(delays(backoff_policy::server_disconnected(), 5), (std::vector<std::int64_t>{0, 1, 2, 4, 8}));
    EXPECT_EQ(delays(backoff_policy::server_open(), 7), (std::vector<std::int64_t>{30, 60, 120, 240, 480, 600, 600}));
}

TEST(B1, the_clamp_comes_after_the_jitter) {
    const auto p = backoff_policy::server_open();
    constant_random low(0), high(0.999999);
    EXPECT_EQ(jittered_delay(p, 0, low), seconds(30));    // 24 s would be below the floor
    EXPECT_EQ(jittered_delay(p, 9, high), seconds(600));  // 720 s would be over the cap
    EXPECT_EQ(jittered_delay(p, 2, low), seconds(96));
    seeded_random random(20261121);
    for (std::uint32_t i = 0; i < 20000; ++i) {
        const auto d = jittered_delay(p, i % 40, random);
        ASSERT_GE(d, seconds(30));
        ASSERT_LE(d, seconds(600));
    }
}

TEST(B1, saturates_for_any_attempt_and_any_configuration) {
    backoff_policy p;
    p.cap = nanoseconds::max();
    constant_random high(0.999999);
    for (std::uint32_t k : {0u, 1u, 63u, 64u, 1000u, std::numeric_limits<std::uint32_t>::max()}) {
        EXPECT_GE(base_delay(p, k).count(), 0) << k;
        EXPECT_GE(jittered_delay(p, k, high).count(), 0) << k;
    }
    EXPECT_EQ(base_delay(p, 5000), nanoseconds::max());
}

TEST(B2, attempts_reset_only_after_continuous_health) {
    const auto p = backoff_policy::worker();
    constant_random mid(0.5);
    backoff_state s;
    steady_time t{};
    for (int i = 0; i < 4; ++i) {
        s.failed(p, t);
        s.next(p, mid);
        s.healthy(t);  // it was spawned: no reset
    }
    EXPECT_EQ(s.attempts(), 4u);
    t += seconds(599);
    s.failed(p, t);
    EXPECT_EQ(s.attempts(), 4u);
    s.healthy(t);
    t += seconds(300);
    s.healthy(t);  // still the same stretch of health
    t += seconds(300);
    s.failed(p, t);
    EXPECT_EQ(s.attempts(), 0u);
    EXPECT_EQ(s.next(p, mid), seconds(0));
}

TEST(B3, the_schedule_from_the_first_failure_to_the_last_probe) {
    // Attempts that fail at once, no jitter: five while disconnected, then probes until 1800 s have passed since it was healthy.
    std::vector<std::int64_t> attempts, probes;
    nanoseconds t{0};
    for (std::uint32_t k = 0; k < 5; ++k) attempts.push_back((t += base_delay(backoff_policy::server_disconnected(), k)) / seconds(1));
    for (std::uint32_t k = 0; t + base_delay(backoff_policy::server_open(), k) < seconds(1800); ++k)
        probes.push_back((t += base_delay(backoff_policy::server_open(), k)) / seconds(1));
    EXPECT_EQ(attempts, (std::vector<std::int64_t>{0, 1, 3, 7, 15}));
    EXPECT_EQ(probes, (std::vector<std::int64_t>{45, 105, 225, 465, 945, 1545}));
}

TEST(B4, the_defaults_pass_and_the_sum_is_31_seconds) {
    EXPECT_TRUE(check_budget(restart_intensity::with_backoff(), backoff_policy::worker()));
    EXPECT_TRUE(check_budget({5, seconds(31)}, backoff_policy::worker()));
    EXPECT_FALSE(check_budget({5, seconds(30)}, backoff_policy::worker()));
    EXPECT_TRUE(check_budget(restart_intensity::without_backoff(), backoff_policy::none()));
}

TEST(B4, an_intensity_that_cannot_trip_is_rejected_with_the_window_that_would_work) {
    const auto r = check_budget({6, seconds(60)}, backoff_policy::worker());
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::config_invalid);
    EXPECT_NE(r.error().message.find("at least 63 s"), std::string::npos) << r.error().message;
    EXPECT_NE(r.error().message.find("max_restarts 6 within 60 s"), std::string::npos) << r.error().message;
    EXPECT_FALSE(check_budget({max_intensity, seconds(60)}, backoff_policy::worker()));
    EXPECT_FALSE(check_budget({5, seconds(0)}, backoff_policy::none()));
}
