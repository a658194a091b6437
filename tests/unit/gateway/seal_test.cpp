#include <gtest/gtest.h>

#include "mcp/gateway/request_state.hpp"

namespace holdfast::mcp::gateway {
namespace {

const steady_time now{std::chrono::hours(1)};
carried example() { return {7, 2, std::chrono::duration_cast<milliseconds>((now + seconds(60)).time_since_epoch()).count()}; }

TEST(state_seal, opens_for_the_same_person_request_and_time_only) {
    const state_seal s;
    const std::string state = s.seal(example(), "anna", "digest");
    auto c = s.open(state, "anna", "digest", now);
    ASSERT_TRUE(c);
    EXPECT_EQ(c->call, 7u);
    EXPECT_EQ(c->round, 2u);
    EXPECT_FALSE(s.open(state, "bert", "digest", now));
    EXPECT_FALSE(s.open(state, "anna", "other", now));
    EXPECT_FALSE(s.open(state, "annad", "igest", now)) << "the border between the two is sealed as well";
    EXPECT_FALSE(s.open(state, "anna", "digest", now + seconds(61)));
    EXPECT_FALSE(state_seal().open(state, "anna", "digest", now)) << "another process, another key";
}
TEST(state_seal, no_byte_of_it_can_be_changed) {
    const state_seal s;
    const std::string state = s.seal(example(), "anna", "digest");
    for (std::size_t i = 0; i < state.size(); ++i)
        for (char c : {'0', '9', 'f', '.', '\0'}) {
            std::string altered = state;
            if (altered[i] == c) continue;
            altered[i] = c;
            EXPECT_FALSE(s.open(altered, "anna", "digest", now)) << i;
        }
    EXPECT_FALSE(s.open(state + "-TAMPERED", "anna", "digest", now));
    EXPECT_FALSE(s.open("", "anna", "digest", now));
    EXPECT_FALSE(s.open(std::string(100'000, '1'), "anna", "digest", now));
    for (std::size_t n = 0; n < state.size(); ++n) EXPECT_FALSE(s.open(state.substr(0, n), "anna", "digest", now));
}

}  // namespace
}  // namespace holdfast::mcp::gateway
