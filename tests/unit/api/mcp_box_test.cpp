// What becomes of events that meet the end of a gateway machine.
#include <gtest/gtest.h>

#include "api/mcp_box.hpp"

namespace holdfast::api {
namespace {

namespace act = mcp::gateway::act;
using mcp::gateway::actions;
struct silent {};

struct mcp_box_test : testing::Test {
    supervise::manual_runtime rt;
    std::shared_ptr<mcp_box<silent>> box = std::make_shared<mcp_box<silent>>(std::weak_ptr<mcp_gateway>(), nullptr, rt, mcp_owner{1, "ada", role::admin, {}}, mcp::gateway::limits{});
    int answered = 0;
    void ask() {
        box->run([](actions&) { ADD_FAILURE() << "the machine has ended"; }, [this] { ++answered; });
    }
};

TEST_F(mcp_box_test, whoever_comes_after_the_end_is_answered) {
    box->run([this](actions& out) {
        ask();  // waits behind this
        out.push_back(act::over{});
    });
    EXPECT_EQ(answered, 1);
    ask();
    EXPECT_EQ(answered, 2);
}

TEST_F(mcp_box_test, whoever_is_behind_a_request_that_fails_inside_is_answered_and_so_is_that_one) {
    std::optional<result<json>> first;
    box->run([&](actions&) {
        box->add_stream(7, {[](std::string_view) {}, [&](result<json> r) { first = std::move(r); }});
        ask();
        throw std::runtime_error("broken");
    });
    ASSERT_TRUE(first && !*first);
    EXPECT_EQ(first->error().code, errc::internal);
    EXPECT_EQ(answered, 1);
}

}  // namespace
}  // namespace holdfast::api
