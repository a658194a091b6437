#include "servers/failure_burst.hpp"

#include <gtest/gtest.h>

namespace holdfast::servers {
namespace {
const steady_time t0{std::chrono::hours(1)};
using names = std::vector<std::string>;

TEST(failure_burst, one_server_alone_raises_nothing_however_often_it_fails) {
    failure_burst b;
    for (int i = 0; i < 20; ++i) EXPECT_EQ(b.failed("a", t0 + milliseconds(i)), names{});
}
TEST(failure_burst, two_within_ten_seconds_raise_one_alert_with_both) {
    failure_burst b;
    EXPECT_EQ(b.failed("a", t0), names{});
    EXPECT_EQ(b.failed("b", t0 + seconds(10)), (names{"a", "b"}));
    EXPECT_EQ(b.failed("c", t0 + seconds(10)), names{}) << "the same episode";
    EXPECT_EQ(b.failed("d", t0 + seconds(10)).size(), 4u) << "it has doubled";
}
TEST(failure_burst, two_further_apart_are_two_events) {
    failure_burst b;
    EXPECT_EQ(b.failed("a", t0), names{});
    EXPECT_EQ(b.failed("b", t0 + seconds(10) + milliseconds(1)), names{});
}
TEST(failure_burst, the_next_episode_alerts_again) {
    failure_burst b;
    b.failed("a", t0);
    b.failed("b", t0);
    b.failed("a", t0 + seconds(60));
    EXPECT_EQ(b.failed("b", t0 + seconds(61)), (names{"a", "b"}));
}
TEST(failure_burst, a_thousand_at_once_raise_few_alerts) {
    failure_burst b;
    int alerts = 0;
    for (int i = 0; i < 1000; ++i) alerts += !b.failed("s" + std::to_string(i), t0).empty();
    EXPECT_LE(alerts, 10);
}
}  // namespace
}  // namespace holdfast::servers
