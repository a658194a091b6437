// The consecutive breaker against C1–C5 and B1, B2.
#include "unit/policies/support.hpp"

namespace {

using namespace policies_test;

constexpr const char* steady = R"({"jitter":0})";

TEST(breaker_consecutive, C1_opens_at_the_threshold_and_not_before) {
    auto b = bench::consecutive(R"({"failure_threshold":3})");
    b.fail(2);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    EXPECT_EQ(b.state().consecutive_failures, 2u);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
    EXPECT_EQ(b.state().consecutive_failures, 3u);
}

TEST(breaker_consecutive, C1_a_success_ends_the_row) {
    auto b = bench::consecutive();
    for (int i = 0; i < 10; ++i) {
        b.fail(4);
        b.call(HF_OUTCOME_SUCCESS);
    }
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    EXPECT_EQ(b.state().consecutive_failures, 0u);
    EXPECT_EQ(b.state().failures, 40u);
    EXPECT_EQ(b.state().calls, 50u);
}

TEST(breaker_consecutive, C1_a_threshold_of_one_opens_at_the_first_failure) {
    auto b = bench::consecutive(R"({"failure_threshold":1})");
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_consecutive, C1_ignored_and_dropped_neither_count_nor_end_the_row) {
    auto b = bench::consecutive();
    b.fail(4);
    b.call(HF_OUTCOME_IGNORED);
    b.call(HF_OUTCOME_DROPPED);
    EXPECT_EQ(b.state().consecutive_failures, 4u);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_consecutive, C2_a_late_result_counts_in_the_figures_only) {
    auto b = bench::consecutive();
    const auto early = b.permit(), earlier = b.permit();
    b.half_open_it();
    const auto before = b.state();
    b.report(early, HF_OUTCOME_SUCCESS);
    b.report(earlier, HF_OUTCOME_FAILURE);
    const auto after = b.state();
    EXPECT_EQ(after.state, HF_BREAKER_HALF_OPEN);
    EXPECT_EQ(after.generation, before.generation);
    EXPECT_EQ(after.open_count, before.open_count);
    EXPECT_EQ(after.failures, before.failures + 1);
}

TEST(breaker_consecutive, C2_a_late_failure_does_not_count_against_a_breaker_that_closed_again) {
    auto b = bench::consecutive(R"({"failure_threshold":1,"jitter":0})");
    const auto early = b.permit();
    b.fail(1);
    b.now = b.state().until_ns;
    b.call(HF_OUTCOME_SUCCESS);
    ASSERT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.report(early, HF_OUTCOME_FAILURE);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
}

TEST(breaker_consecutive, C2_dropped_probes_give_the_slot_back) {
    auto b = bench::consecutive();
    b.half_open_it();
    for (const auto outcome : {HF_OUTCOME_DROPPED, HF_OUTCOME_IGNORED}) {
        const auto p = b.permit();
        ASSERT_TRUE(p.granted);
        ASSERT_FALSE(b.permit().granted);
        b.report(p, outcome);
    }
    b.now += 3600 * s;
    EXPECT_EQ(b.state().state, HF_BREAKER_HALF_OPEN) << "nobody is under way who could hang";
    EXPECT_TRUE(b.permit().granted);
}

TEST(breaker_consecutive, C3_lets_n_probes_through_and_says_how_long_to_wait) {
    auto b = bench::consecutive(R"({"half_open_max":2,"half_open_timeout_s":10})");
    b.half_open_it();
    EXPECT_TRUE(b.permit().granted);
    b.now += 1 * s;
    EXPECT_TRUE(b.permit().granted);
    const auto refused = b.permit();
    EXPECT_FALSE(refused.granted);
    EXPECT_EQ(refused.retry_after_ns, 9 * s);
}

TEST(breaker_consecutive, C3_closes_after_n_successes) {
    auto b = bench::consecutive(R"({"success_threshold":3})");
    b.half_open_it();
    b.call(HF_OUTCOME_SUCCESS);
    b.call(HF_OUTCOME_SUCCESS);
    EXPECT_EQ(b.state().state, HF_BREAKER_HALF_OPEN);
    b.call(HF_OUTCOME_SUCCESS);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    EXPECT_EQ(b.state().consecutive_failures, 0u);
    b.fail(4);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
}

TEST(breaker_consecutive, C3_any_failure_reopens) {
    auto b = bench::consecutive(R"({"success_threshold":3})");
    b.half_open_it();
    b.call(HF_OUTCOME_SUCCESS);
    b.call(HF_OUTCOME_SUCCESS);
    b.call(HF_OUTCOME_FAILURE);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
    EXPECT_EQ(b.state().open_count, 2u);
    b.now = b.state().until_ns;
    b.call(HF_OUTCOME_SUCCESS);
    b.call(HF_OUTCOME_SUCCESS);
    EXPECT_EQ(b.state().state, HF_BREAKER_HALF_OPEN) << "successes of before the reopening still count";
}

TEST(breaker_consecutive, C4_a_hung_probe_is_a_failure_at_the_deadline_however_late_it_is_noticed) {
    auto a = bench::consecutive(steady), late = bench::consecutive(steady);
    for (auto* b : {&a, &late}) {
        b->half_open_it();
        ASSERT_TRUE(b->permit().granted);
    }
    a.now += 30 * s;
    EXPECT_EQ(a.state().state, HF_BREAKER_OPEN);
    EXPECT_EQ(a.state().until_ns, a.now + 60 * s);
    late.now += 45 * s;
    EXPECT_EQ(late.state().until_ns, a.state().until_ns);
    EXPECT_EQ(late.state().open_count, 2u);
    late.now += 3600 * s;
    EXPECT_EQ(late.state().state, HF_BREAKER_HALF_OPEN);
}

TEST(breaker_consecutive, C4_without_a_probe_half_open_has_no_deadline) {
    auto b = bench::consecutive();
    b.half_open_it();
    b.now += 24 * 3600 * s;
    EXPECT_EQ(b.state().state, HF_BREAKER_HALF_OPEN);
    EXPECT_EQ(b.state().open_count, 1u);
}

TEST(breaker_consecutive, C4_failures_while_open_leave_the_timer_alone) {
    auto b = bench::consecutive(steady);
    std::vector<hf_permit> running;
    for (int i = 0; i < 8; ++i) running.push_back(b.permit());
    b.open_it();
    const auto until = b.state().until_ns;
    EXPECT_EQ(until, b.now + 30 * s);
    for (const auto& p : running) {
        b.now += s;
        b.report(p, HF_OUTCOME_FAILURE);
        EXPECT_EQ(b.state().until_ns, until);
    }
    EXPECT_EQ(b.state().open_count, 1u);
}

TEST(breaker_consecutive, C5_a_seed_gives_one_history) {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        auto a = bench::consecutive("{}", seed), b = bench::consecutive("{}", seed);
        a.open_it(), b.open_it();
        EXPECT_EQ(a.state().until_ns, b.state().until_ns);
    }
    auto a = bench::consecutive("{}", 1), b = bench::consecutive("{}", 2);
    a.half_open_it(), b.half_open_it();
    a.fail(1), b.fail(1);
    EXPECT_NE(a.state().until_ns - a.now, b.state().until_ns - b.now);
}

TEST(breaker_consecutive, B1_waits_double_up_to_the_limit) {
    auto b = bench::consecutive(steady);
    b.open_it();
    for (const int wait : {30, 60, 120, 240, 480, 600, 600, 600}) {
        EXPECT_EQ(b.state().until_ns, b.now + wait * s);
        b.now = b.state().until_ns;
        b.fail(1);
    }
}

TEST(breaker_consecutive, B1_is_clamped_after_the_jitter) {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        auto b = bench::consecutive("{}", seed);
        b.open_it();
        for (const int wait : {30, 60, 120, 240, 480, 600, 600}) {
            const double got = static_cast<double>(b.state().until_ns - b.now) / s;
            EXPECT_GE(got, std::max(30.0, wait * 0.8 - 1e-6));
            EXPECT_LE(got, std::min(600.0, wait * 1.2 + 1e-6));
            b.now = b.state().until_ns;
            b.fail(1);
        }
    }
}

TEST(breaker_consecutive, B2_the_waits_begin_anew_only_after_long_health) {
    auto b = bench::consecutive(R"({"jitter":0,"reset_after_s":600})");
    b.half_open_it();
    b.call(HF_OUTCOME_SUCCESS);
    b.now += 599 * s;
    b.open_it();
    EXPECT_EQ(b.state().open_count, 2u);
    EXPECT_EQ(b.state().until_ns, b.now + 60 * s);
    b.now = b.state().until_ns;
    b.call(HF_OUTCOME_SUCCESS);
    b.now += 600 * s;
    b.open_it();
    EXPECT_EQ(b.state().open_count, 1u);
    EXPECT_EQ(b.state().until_ns, b.now + 30 * s);
}

TEST(breaker_consecutive, the_exponent_never_overflows) {
    auto b = bench::consecutive(R"({"jitter":0,"backoff_multiplier":100,"max_timeout_s":315360000})");
    b.open_it();
    for (int i = 0; i < 500; ++i) {
        ASSERT_GT(b.state().until_ns, b.now);
        b.now = begin;  // so that the clock does not end
        b.b->force(HF_BREAKER_DISABLED, b.now);
        b.b->force(HF_BREAKER_OPEN, b.now);
    }
    EXPECT_EQ(b.state().until_ns, b.now + 315360000 * s);
}

TEST(breaker_consecutive, disabled_only_a_person_ends) {
    auto b = bench::consecutive();
    const auto running = b.permit();
    b.b->force(HF_BREAKER_DISABLED, b.now);
    EXPECT_EQ(b.permit().retry_after_ns, -1);
    b.report(running, HF_OUTCOME_SUCCESS);
    b.now += 100'000 * s;
    EXPECT_EQ(b.state().state, HF_BREAKER_DISABLED);
    b.b->force(HF_BREAKER_CLOSED, b.now);
    EXPECT_TRUE(b.permit().granted);
}

}  // namespace
