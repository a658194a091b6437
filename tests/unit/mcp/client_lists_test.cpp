#include "mcp/definition.hpp"
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

TEST(lists, the_official_page_is_followed_by_its_cursor) {
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    json page = example("list-tools-result-response.json");
    page["id"] = s.expect("tools/list")["id"];
    s.says(page);
    const json second = s.expect("tools/list");
    EXPECT_EQ(second["params"]["cursor"], "next-page-cursor");
    s.replies(second, {{"tools", json::array({tool("b")})}});
    ASSERT_TRUE(s.find<out::ready>());
    const auto& tools = s.find<out::ready>()->lists->tools;
    ASSERT_EQ(tools.size(), 2u);
    EXPECT_EQ(tools[0]["name"], "get_weather");
}
TEST(lists, a_cursor_that_repeats_ends_the_list) {
    script s;
    s.become_modern({{"tools", json::object()}}, json::array());
    script t;
    t.on(in::opened{});
    t.replies(t.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    t.replies(t.expect("tools/list"), {{"tools", json::array({tool("a")})}, {"nextCursor", "x"}});
    t.replies(t.expect("tools/list"), {{"tools", json::array({tool("b")})}, {"nextCursor", "x"}});
    ASSERT_TRUE(t.find<out::ready>());
    EXPECT_EQ(t.find<out::ready>()->lists->tools.size(), 2u);
    EXPECT_EQ(t.machine.counters().misplaced, 1u);
}
TEST(lists, pages_and_entries_are_bounded) {
    client_options o;
    o.limits.max_pages = 3;
    o.limits.max_items = 5;
    script s(o);
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}, {"prompts", json::object()}}}});
    const json tools_request = s.expect("tools/list"), prompts_request = s.expect("prompts/list");
    json many = json::array();
    for (int i = 0; i < 9; ++i) many.push_back(tool("t" + std::to_string(i)));
    s.replies(tools_request, {{"tools", many}, {"nextCursor", "x"}});
    EXPECT_TRUE(s.sent.empty());
    s.replies(prompts_request, {{"prompts", json::array()}, {"nextCursor", "1"}});
    s.replies(s.expect("prompts/list"), {{"prompts", json::array()}, {"nextCursor", "2"}});
    s.replies(s.expect("prompts/list"), {{"prompts", json::array()}, {"nextCursor", "3"}});
    ASSERT_TRUE(s.find<out::ready>());
    EXPECT_EQ(s.find<out::ready>()->lists->tools.size(), 5u);
}
TEST(lists, bad_and_repeated_tools_are_left_out_and_the_rest_stays) {
    script s;
    json bad = tool("bad");
    bad["inputSchema"]["properties"]["a"] = {{"type", "number"}, {"x-mcp-header", "A"}};
    s.become_modern({{"tools", json::object()}}, json::array({tool("a"), bad, tool("a"), 5, tool("b")}));
    ASSERT_TRUE(s.find<out::ready>());
    EXPECT_EQ(s.find<out::ready>()->lists->tools.size(), 2u);
    EXPECT_EQ(s.machine.counters().excluded_tools, 3u);
    EXPECT_EQ(s.count<out::log>(), 3u);
}
TEST(lists, legacy_list_changed_is_followed_but_not_more_than_once_a_second) {
    script s;
    s.become_legacy();
    s.says({{"method", "notifications/tools/list_changed"}});
    EXPECT_TRUE(s.sent.empty());  // the list was read just now
    for (int i = 0; i < 50; ++i) s.says({{"method", "notifications/tools/list_changed"}});
    s.wait(seconds(1));
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("new")})}});
    ASSERT_TRUE(s.find<out::lists_changed>());
    EXPECT_EQ(s.find<out::lists_changed>()->lists->tools[0]["name"], "new");
    EXPECT_TRUE(s.sent.empty());
    s.wait(seconds(5));
    s.says({{"method", "notifications/tools/list_changed"}});
    const json r = s.expect("tools/list");
    s.says({{"method", "notifications/tools/list_changed"}});  // while it is being read
    s.replies(r, {{"tools", json::array({tool("new")})}});
    EXPECT_FALSE(s.find<out::lists_changed>()) << "nothing changed";
    s.wait(seconds(1));
    s.expect("tools/list");
}
TEST(lists, a_failed_refresh_keeps_what_was_there) {
    script s;
    s.become_legacy({{"tools", json::object()}, {"prompts", json::object()}});
    s.replies(s.expect("prompts/list"), {{"prompts", json::array()}});
    s.now += seconds(5);
    s.says({{"method", "notifications/tools/list_changed"}});
    const json r = s.expect("tools/list");
    s.replies(r, {{"tools", json::array({tool("half")})}, {"nextCursor", "2"}});
    s.refuses(s.expect("tools/list"), -32603);
    EXPECT_FALSE(s.find<out::lists_changed>());
    s.says({{"method", "notifications/prompts/list_changed"}});
    s.replies(s.expect("prompts/list"), {{"prompts", json::array({{{"name", "p"}}})}});
    ASSERT_TRUE(s.find<out::lists_changed>());
    EXPECT_EQ(s.find<out::lists_changed>()->lists->tools[0]["name"], "echo");
}
TEST(lists, a_refresh_that_failed_is_tried_again_ever_less_often_until_it_succeeds) {
    script s;
    s.become_legacy();
    const auto changed = [&] {
        s.now += seconds(5);
        s.says({{"method", "notifications/tools/list_changed"}});
    };
    changed();
    s.refuses(s.expect("tools/list"), -32603);
    s.wait(milliseconds(999));
    EXPECT_TRUE(s.sent.empty());
    s.wait(milliseconds(1));
    s.expect("tools/list");
    s.wait(seconds(30));  // no answer
    s.expect("notifications/cancelled");
    s.wait(seconds(2));
    s.on(in::request_failed{dump(s.expect("tools/list")["id"]), {errc::unavailable, "busy"}, 503});
    s.wait(milliseconds(3'999));
    EXPECT_TRUE(s.sent.empty());
    s.wait(milliseconds(1));
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("new")})}});
    ASSERT_TRUE(s.find<out::lists_changed>());
    EXPECT_EQ(s.find<out::lists_changed>()->lists->tools[0]["name"], "new");
    s.wait(seconds(600));
    EXPECT_TRUE(s.sent.empty());
    changed();
    for (const int delay : {1, 2, 4, 8, 16, 32, 60, 60, 60}) {  // from the start
        s.refuses(s.expect("tools/list"), -32603);
        s.wait(seconds(delay) - milliseconds(1));
        EXPECT_TRUE(s.sent.empty()) << delay;
        s.wait(milliseconds(1));
    }
    s.refuses(s.expect("tools/list"), -32601);
    s.wait(seconds(600));
    EXPECT_TRUE(s.sent.empty()) << "a server that does not know the method is not asked for ever";
}
TEST(lists, one_that_failed_at_the_start_is_published_when_it_can_be_read) {
    for (const int code : {-32603, -32601}) {
        script s;
        s.become_legacy({{"tools", json::object()}, {"prompts", json::object()}});
        s.refuses(s.expect("prompts/list"), code);
        ASSERT_TRUE(s.find<out::ready>());
        s.wait(seconds(1));
        if (code == -32601) {
            EXPECT_TRUE(s.sent.empty());
            continue;
        }
        s.replies(s.expect("prompts/list"), {{"prompts", json::array({{{"name", "p"}}})}});
        ASSERT_TRUE(s.find<out::lists_changed>());
        EXPECT_EQ(s.find<out::lists_changed>()->lists->prompts.size(), 1u);
        ASSERT_TRUE(s.find<out::notice>());
        EXPECT_EQ(s.find<out::notice>()->method, "notifications/prompts/list_changed");
    }
}
TEST(subscriptions, modern_changes_come_by_subscription_and_only_by_its_id) {
    script s;
    s.become_modern({{"tools", {{"listChanged", true}}}});
    const json listen = s.expect("subscriptions/listen");
    EXPECT_EQ(listen["params"]["notifications"], (json{{"toolsListChanged", true}}));
    json ack = example("listen-acknowledged.json");
    ack["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = listen["id"];
    s.says(ack);
    s.now += seconds(5);
    s.says(example("tools-list-changed.json"));  // another subscription's id
    EXPECT_TRUE(s.sent.empty());
    EXPECT_EQ(s.machine.counters().misplaced, 1u);
    json changed = example("tools-list-changed.json");
    changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = listen["id"];
    s.says(changed);
    s.replies(s.expect("tools/list"), {{"tools", json::array()}});
    EXPECT_TRUE(s.find<out::lists_changed>());
}
TEST(subscriptions, one_that_ends_is_opened_again_and_the_lists_are_read_again) {
    script s;
    s.become_modern({{"tools", {{"listChanged", true}}}});
    const json listen = s.expect("subscriptions/listen");
    json closed = example("listen-closed-response.json");
    closed["id"] = listen["id"];
    s.says(closed);
    s.wait(milliseconds(999));
    EXPECT_TRUE(s.sent.empty());
    s.wait(milliseconds(1));
    const json again = s.expect("subscriptions/listen");
    EXPECT_NE(again["id"], listen["id"]);
    s.says({{"method", "notifications/subscriptions/acknowledged"},
            {"params", {{"_meta", {{"io.modelcontextprotocol/subscriptionId", again["id"]}}}}}});
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("echo")})}});
    s.on(in::request_failed{dump(again["id"]), {errc::transport_lost, "stream"}, 0});
    s.wait(seconds(1));
    const json third = s.expect("subscriptions/listen");
    s.refuses(third, -32601);
    s.wait(seconds(600));
    EXPECT_TRUE(s.sent.empty()) << "a server that refuses is not asked for ever";
}
TEST(lists, careless_entries_are_mended_where_it_is_clear_how_and_left_out_where_not) {
    const json object{{"type", "object"}};
    const auto mended = [](json d) {
        const auto ok = tidy_definition(d);
        EXPECT_TRUE(ok) << (ok ? "" : ok.error().message);
        return d;
    };
    EXPECT_EQ(mended({{"name", "t"}, {"inputSchema", json::object()}, {"title", nullptr}, {"annotations", nullptr}}), (json{{"name", "t"}, {"inputSchema", object}}));
    EXPECT_EQ(mended({{"name", "p"}, {"arguments", nullptr}, {"description", nullptr}}), (json{{"name", "p"}}));
    EXPECT_EQ(mended({{"name", "r"}, {"uri", "a:1"}, {"size", 5}}), (json{{"name", "r"}, {"uri", "a:1"}, {"size", 5}}));
    for (json bad : {json{{"uri", "a:1"}}, json{{"name", 5}}, json{{"name", "t"}, {"inputSchema", {{"type", "array"}}}}, json{{"name", "t"}, {"inputSchema", 1}},
                     json{{"name", "p"}, {"arguments", json::object()}}, json{{"name", "p"}, {"arguments", {1}}}, json{{"name", "p"}, {"arguments", {{{"name", nullptr}}}}},
                     json{{"name", "r"}, {"uri", "a:1"}, {"mimeType", 1}}, json{{"name", "r"}, {"_meta", "x"}}, json(5), json(nullptr)}) {
        const std::string text = bad.dump();
        EXPECT_FALSE(tidy_definition(bad)) << text;
    }
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}, {"prompts", json::object()}}}});
    const json tools_request = s.expect("tools/list"), prompts_request = s.expect("prompts/list");
    s.replies(tools_request, {{"tools", json::array({{{"name", "a"}, {"inputSchema", json::object()}}, tool("b")})}});
    s.replies(prompts_request, {{"prompts", json::array({{{"name", "p"}, {"arguments", nullptr}}, {{"name", "q"}, {"arguments", "x"}}})}});
    ASSERT_TRUE(s.find<out::ready>());
    EXPECT_EQ(s.find<out::ready>()->lists->tools.size(), 2u);
    EXPECT_EQ(s.find<out::ready>()->lists->prompts, json::array({{{"name", "p"}}}));
}

}  // namespace
}  // namespace holdfast::mcp::test
