#include "gateway_fixture.hpp"
#include "mcp/gateway/subscription.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

bool known(const std::string& uri) { return uri.rfind("x://", 0) == 0; }

TEST(subscription, acknowledges_first_and_tells_only_what_was_asked_for) {
    actions out;
    auto s = subscription::open(5, "sub", json::parse(R"({"notifications":{"toolsListChanged":true,"resourceSubscriptions":["x://1","hidden://1"]}})"), {}, known, out);
    ASSERT_TRUE(std::holds_alternative<subscription>(s));
    const auto& sub = std::get<subscription>(s);
    ASSERT_TRUE(std::get_if<act::head>(&out[0]));
    EXPECT_TRUE(std::get<act::head>(out[0]).stream);
    const json ack = json::parse(std::get<act::emit>(out[1]).text);
    EXPECT_EQ(ack["method"], "notifications/subscriptions/acknowledged");
    EXPECT_EQ(ack["params"]["_meta"][meta::subscription_id], "sub");
    EXPECT_EQ(ack["params"]["notifications"], json::parse(R"({"toolsListChanged":true,"resourceSubscriptions":["x://1"]})"));
    EXPECT_EQ(all<act::watch>(out)[0].uris, std::set<std::string>{"x://1"});
    out.clear();
    sub.changed(list_kind::prompts, out);
    sub.changed(list_kind::resources, out);
    sub.updated("x://2", "x://2", out);
    EXPECT_TRUE(out.empty());
    sub.changed(list_kind::tools, out);
    EXPECT_EQ(sent(out, 5)["params"]["_meta"][meta::subscription_id], "sub");
    out.clear();
    sub.updated("x://1", "x://1", out);
    EXPECT_EQ(sent(out, 5)["params"]["uri"], "x://1");
    out.clear();
    sub.close(out);
    EXPECT_EQ(sent(out, 5)["result"]["_meta"][meta::subscription_id], "sub");
    EXPECT_EQ(all<act::end>(out).size(), 1u);
}
TEST(subscription, refuses_what_is_no_filter_or_too_much) {
    actions out;
    limits l;
    l.max_subscriptions = 2;
    for (const char* bad : {R"({})", R"({"notifications":[]})", R"({"notifications":{"resourceSubscriptions":["x://1","x://2","x://3"]}})"}) {
        auto s = subscription::open(5, 1, json::parse(bad), l, known, out);
        ASSERT_TRUE(std::holds_alternative<rpc_error>(s)) << bad;
        EXPECT_EQ(std::get<rpc_error>(s).code, rpc_code::invalid_params);
    }
    EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
