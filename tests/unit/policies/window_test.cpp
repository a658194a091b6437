#include "unit/policies/support.hpp"

namespace {

using namespace policies_test;

TEST(breaker_window, C1_opens_at_the_rate_once_there_are_enough_calls) {
    auto b = bench::window(R"({"window_size":20,"min_calls":10,"failure_rate":0.5})");
    for (int i = 0; i < 4; ++i) b.call(HF_OUTCOME_SUCCESS), b.call(HF_OUTCOME_FAILURE);
    b.call(HF_OUTCOME_FAILURE);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED) << "9 calls are too few to judge";
    b.call(HF_OUTCOME_SUCCESS);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_window, C1_below_the_rate_it_stays_closed) {
    auto b = bench::window(R"({"failure_rate":0.5})");
    for (int i = 0; i < 300; ++i) b.call(i % 5 >= 3 ? HF_OUTCOME_FAILURE : HF_OUTCOME_SUCCESS);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
}

TEST(breaker_window, C1_old_calls_leave_a_count_window) {
    auto b = bench::window(R"({"window_size":10,"min_calls":10,"failure_rate":0.5})");
    for (int i = 0; i < 5; ++i) b.call(HF_OUTCOME_SUCCESS);
    for (int i = 0; i < 4; ++i) b.call(HF_OUTCOME_FAILURE);
    for (int i = 0; i < 10; ++i) b.call(HF_OUTCOME_SUCCESS);
    b.fail(4);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_window, C1_old_calls_leave_a_time_window) {
    auto b = bench::window(R"({"window_type":"time","window_s":60,"min_calls":10,"failure_rate":0.5})");
    b.fail(9);
    b.now += 61 * s;
    b.fail(9);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.now += 10 * s;
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_window, C1_slow_calls_open_it_although_they_succeed) {
    auto b = bench::window(R"({"slow_call_ms":100,"slow_rate":0.8,"min_calls":10})");
    for (int i = 0; i < 2; ++i) b.call(HF_OUTCOME_SUCCESS, 10'000'000);
    for (int i = 0; i < 7; ++i) b.call(HF_OUTCOME_SUCCESS, 100'000'000);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.call(HF_OUTCOME_SUCCESS, 200'000'000);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
    EXPECT_EQ(b.state().failures, 0u);
}

TEST(breaker_window, C2_late_results_and_ignored_ones_are_not_in_the_window) {
    auto b = bench::window(R"({"min_calls":2,"window_size":2,"failure_rate":1})");
    const auto early = b.permit();
    for (int i = 0; i < 50; ++i) b.call(HF_OUTCOME_IGNORED);
    b.fail(2);
    ASSERT_EQ(b.state().state, HF_BREAKER_OPEN);
    b.now = b.state().until_ns;
    b.call(HF_OUTCOME_SUCCESS);
    ASSERT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.report(early, HF_OUTCOME_FAILURE);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
}

TEST(breaker_window, C3_closing_empties_the_window) {
    auto b = bench::window(R"({"min_calls":10,"window_size":20})");
    b.fail(10);
    ASSERT_EQ(b.state().state, HF_BREAKER_OPEN);
    b.now = b.state().until_ns;
    b.call(HF_OUTCOME_SUCCESS);
    b.fail(9);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

TEST(breaker_window, C4_a_hung_probe_counts_as_a_failure) {
    auto b = bench::window(R"({"jitter":0})");
    b.fail(10);
    b.now = b.state().until_ns;
    ASSERT_TRUE(b.permit().granted);
    b.now += 30 * s;
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
    EXPECT_EQ(b.state().until_ns, b.now + 60 * s);
}

}  // namespace
