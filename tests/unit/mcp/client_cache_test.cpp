// What stays fresh: reads for their ttlMs, lists until somebody uses them after it; and definitions that headers follow.
#include "mcp/sub_resource.hpp"
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

struct reading : script {
    explicit reading(client_options o = {}, json resources = {{"subscribe", true}}) : script(std::move(o)) {
        become_modern({{"tools", json::object()}, {"resources", std::move(resources)}});
        replies(expect("resources/list"), {{"resources", json::array()}});
        replies(expect("resources/templates/list"), {{"resourceTemplates", json::array()}});
    }
    void read(call_id id, const std::string& uri = "a:1", const std::string& owner = "s1") {
        on(in::call{id, "resources/read", {{"uri", uri}, {"_meta", {{"traceparent", std::to_string(id)}}}}, milliseconds(1000), false, false, owner});
    }
    /// Reads once, answered with this freshness.
    void fill(call_id id, const json& ttl, const char* scope, const std::string& uri = "a:1", const std::string& owner = "s1", const std::string& text = "t") {
        sent.clear();
        read(id, uri, owner);
        json result{{"resultType", "complete"}, {"contents", json::array({{{"uri", uri}, {"text", text}}})}, {"cacheScope", scope}};
        if (!ttl.is_null()) result["ttlMs"] = ttl;
        replies(expect("resources/read"), std::move(result));
    }
    bool asks(call_id id, const std::string& uri = "a:1", const std::string& owner = "s1") {
        sent.clear();
        read(id, uri, owner);
        return !sent.empty();
    }
};

TEST(reads, a_fresh_one_is_answered_without_the_server_and_says_how_long_it_stays_fresh) {
    reading s;
    s.fill(1, 1000, "public");
    EXPECT_FALSE(s.find<out::done>()->cached);
    s.now += milliseconds(400);
    s.read(2);
    EXPECT_TRUE(s.sent.empty());
    const auto* done = s.find<out::done>();
    ASSERT_TRUE(done && done->outcome);
    EXPECT_TRUE(done->cached);
    EXPECT_FALSE(done->sent);
    EXPECT_EQ((*done->outcome)["ttlMs"], 600);
    EXPECT_EQ((*done->outcome)["contents"][0]["text"], "t");
    s.now += milliseconds(600);
    EXPECT_TRUE(s.asks(3));
}
TEST(reads, a_private_one_stays_with_its_session_a_public_one_does_not) {
    reading s;
    s.fill(1, 1000, "private");
    EXPECT_FALSE(s.asks(2, "a:1", "s1"));
    EXPECT_TRUE(s.asks(3, "a:1", "s2"));
    EXPECT_TRUE(s.asks(4, "a:1", ""));
    s.fill(5, 1000, "public", "a:2");
    EXPECT_FALSE(s.asks(6, "a:2", "s2"));
    EXPECT_FALSE(s.asks(7, "a:2", ""));
    s.fill(8, 1000, "unheard of", "a:3");
    EXPECT_TRUE(s.asks(9, "a:3", "s2"));
    s.fill(10, 1000, "private", "a:4", "");
    EXPECT_TRUE(s.asks(11, "a:4", "")) << "it has no session to stay with";
}
TEST(reads, without_a_positive_ttl_nothing_is_kept) {
    for (const json& ttl : {json(), json(0), json(-5), json("1000"), json(10.5)}) {
        reading s;
        s.fill(1, ttl, "public");
        EXPECT_TRUE(s.asks(2)) << ttl;
    }
}
TEST(reads, other_parameters_are_another_read) {
    reading s;
    s.fill(1, 1000, "public", "a:1");
    EXPECT_TRUE(s.asks(2, "a:2"));
    s.sent.clear();
    s.on(in::call{3, "resources/read", {{"uri", "a:1"}, {"range", 5}}, milliseconds(1000), false, false, "s1"});
    EXPECT_FALSE(s.sent.empty());
    s.sent.clear();
    s.on(in::call{4, "prompts/get", {{"uri", "a:1"}}, milliseconds(1000), false, false, "s1"});
    EXPECT_FALSE(s.sent.empty());
}
TEST(reads, an_update_ends_the_freshness_of_that_resource) {
    reading s;
    s.on(in::watch{{"a:1"}});
    const json listen = s.expect("subscriptions/listen");
    s.fill(1, 1000, "public", "a:1");
    s.fill(2, 1000, "public", "a:2");
    s.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", "a:1"}, {"_meta", {{"io.modelcontextprotocol/subscriptionId", listen["id"]}}}}}});
    EXPECT_TRUE(s.asks(3, "a:1"));
    EXPECT_FALSE(s.asks(4, "a:2"));
}
TEST(reads, an_update_of_a_sub_resource_ends_the_freshness_of_what_it_lies_below) {
    reading s;
    s.on(in::watch{{"a:/dir"}});
    const json listen = s.expect("subscriptions/listen");
    const json of_it{{"io.modelcontextprotocol/subscriptionId", listen["id"]}};
    s.says({{"method", "notifications/subscriptions/acknowledged"}, {"params", {{"_meta", of_it}}}});
    for (call_id id = 1; const char* uri : {"a:/dir", "a:/", "a:/dir/x/y", "a:/dir2", "a:/dir/z"}) s.fill(id++, 1000, "public", uri);
    s.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", "a:/dir/x"}, {"_meta", of_it}}}});
    EXPECT_TRUE(s.asks(11, "a:/dir"));
    EXPECT_TRUE(s.asks(12, "a:/"));
    EXPECT_FALSE(s.asks(13, "a:/dir/x/y"));
    EXPECT_FALSE(s.asks(14, "a:/dir2"));
    EXPECT_FALSE(s.asks(15, "a:/dir/z"));
}
TEST(reads, a_sub_resource_begins_after_a_slash) {
    EXPECT_TRUE(is_at_or_below("a:/b", "a:/b"));
    EXPECT_TRUE(is_at_or_below("a:/b/c", "a:/b"));
    EXPECT_TRUE(is_at_or_below("a:/b/c", "a:/b/"));
    EXPECT_FALSE(is_at_or_below("a:/bc", "a:/b"));
    EXPECT_FALSE(is_at_or_below("a:/b", "a:/b/c"));
    EXPECT_FALSE(is_at_or_below("a:/b", ""));
}
TEST(reads, an_answer_from_before_an_update_is_not_kept) {
    reading s;
    s.on(in::watch{{"a:1"}});
    const json listen = s.expect("subscriptions/listen");
    s.read(1);
    const json asked = s.expect("resources/read");
    s.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", "a:1"}, {"_meta", {{"io.modelcontextprotocol/subscriptionId", listen["id"]}}}}}});
    s.fill(2, 1000, "public", "a:1", "s1", "new");
    s.replies(asked, {{"resultType", "complete"}, {"contents", json::array({{{"uri", "a:1"}, {"text", "old"}}})}, {"cacheScope", "public"}, {"ttlMs", 1000}});
    EXPECT_FALSE(s.asks(3));
    EXPECT_EQ((*s.find<out::done>()->outcome)["contents"][0]["text"], "new");
}
TEST(reads, an_answer_that_took_input_is_not_kept) {
    reading s;
    s.on(in::call{1, "resources/read", {{"uri", "a:1"}}, milliseconds(1000), true, false, "s1"});
    s.replies(s.expect("resources/read"), {{"resultType", "input_required"}, {"requestState", "x"}});
    s.replies(s.expect("resources/read"), {{"resultType", "complete"}, {"contents", json::array()}, {"ttlMs", 1000}, {"cacheScope", "public"}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_TRUE(s.asks(2));
}
TEST(reads, what_is_kept_is_bounded_in_number_and_bytes_and_the_oldest_go) {
    client_options o;
    o.limits.max_cached_reads = 2;
    o.limits.max_cached_bytes = 1'000;
    reading s(o);
    for (int i = 1; i <= 3; ++i) s.fill(static_cast<call_id>(i), 1000, "public", "a:" + std::to_string(i));
    EXPECT_TRUE(s.asks(10, "a:1"));
    EXPECT_FALSE(s.asks(11, "a:2"));
    EXPECT_FALSE(s.asks(12, "a:3"));
    s.fill(20, 1000, "public", "a:4", "s1", std::string(300, 'x'));
    EXPECT_TRUE(s.asks(21, "a:4")) << "one may not push out all others";
    EXPECT_FALSE(s.asks(22, "a:2"));
}
TEST(reads, a_legacy_server_knows_no_freshness) {
    script s;
    s.become_legacy({{"tools", json::object()}, {"prompts", json::object()}});
    s.replies(s.expect("prompts/list"), {{"prompts", json::array()}});
    const auto read = [&](call_id id) { s.on(in::call{id, "resources/read", {{"uri", "a:1"}}, milliseconds(1000), false, false, "s1"}); };
    read(1);
    s.replies(s.expect("resources/read"), {{"contents", json::array()}, {"ttlMs", 1000}, {"cacheScope", "public"}});
    read(2);
    s.expect("resources/read");
}

TEST(lists, a_stale_one_is_read_again_when_it_is_used_and_not_before) {
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    const json answer{{"tools", json::array({tool("echo")})}, {"ttlMs", 60'000}, {"cacheScope", "public"}};
    s.replies(s.expect("tools/list"), answer);
    ASSERT_TRUE(s.machine.is_ready());
    s.wait(milliseconds(59'999));
    s.call(1);
    s.replies(s.expect("tools/call"), {{"content", json::array()}});
    s.wait(seconds(600));
    EXPECT_TRUE(s.sent.empty()) << "a ttl is no interval to poll in";
    s.call(2);
    const json again = s.expect("tools/list");
    s.replies(s.expect("tools/call"), {{"content", json::array()}});
    s.call(3);
    s.expect("tools/call");
    s.replies(again, answer);
    s.call(4);
    s.expect("tools/call");
    EXPECT_TRUE(s.sent.empty()) << "fresh again";
}
TEST(lists, one_that_is_stale_at_once_is_read_again_only_now_and_then) {
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("echo")})}, {"ttlMs", 0}});
    s.now += milliseconds(9'999);
    s.call(1);
    s.expect("tools/call");
    s.now += milliseconds(1);
    s.call(2);
    s.refuses(s.expect("tools/list"), -32603);
    s.expect("tools/call");
    s.call(3);
    s.expect("tools/call");
    EXPECT_TRUE(s.sent.empty()) << "what could not be read is not asked for with every call";
    s.now += seconds(10);
    s.call(4);
    s.expect("tools/list");
}
TEST(lists, an_empty_cursor_is_a_cursor_of_a_modern_server_and_the_end_of_a_legacy_one) {
    script s;
    s.on(in::opened{});
    s.replies(s.expect("server/discover"), {{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("a")})}, {"nextCursor", ""}});
    const json second = s.expect("tools/list");
    EXPECT_EQ(second["params"]["cursor"], "");
    s.replies(second, {{"tools", json::array({tool("b")})}});
    ASSERT_TRUE(s.find<out::ready>());
    EXPECT_EQ(s.find<out::ready>()->lists->tools.size(), 2u);
    script old;
    old.on(in::opened{});
    old.refuses(old.expect("server/discover"), -32601);
    old.replies(old.expect("initialize"), {{"protocolVersion", "2025-11-25"}, {"capabilities", {{"tools", json::object()}}}});
    old.expect("notifications/initialized");
    old.replies(old.expect("tools/list"), {{"tools", json::array({tool("a")})}, {"nextCursor", ""}});
    EXPECT_TRUE(old.find<out::ready>());
}

struct mismatch : script {
    static client_options http() {
        client_options o;
        o.http = true;
        return o;
    }
    mismatch() : script(http()) { become_modern(); }
};

TEST(header_mismatch, the_definition_is_read_again_and_the_call_sent_once_more) {
    mismatch s;
    s.call(1);
    const json first = s.expect("tools/call");
    s.refuses(first, -32020);
    EXPECT_FALSE(s.find<out::done>());
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("echo")})}});
    const json second = s.expect("tools/call");
    EXPECT_NE(second["id"], first["id"]);
    EXPECT_EQ(second["params"]["arguments"], first["params"]["arguments"]);
    s.refuses(second, -32020);
    ASSERT_TRUE(s.find<out::done>()) << "once is enough";
    EXPECT_EQ(s.find<out::done>()->answered->code, -32020);
    EXPECT_TRUE(s.sent.empty());
}
TEST(header_mismatch, a_call_that_waits_for_the_definition_can_be_cancelled_and_expires) {
    for (const bool cancel : {true, false}) {
        mismatch s;
        s.call(1, false, milliseconds(500));
        s.refuses(s.expect("tools/call"), -32020);
        const json list = s.expect("tools/list");
        if (cancel) s.on(in::cancel{1, {}});
        else s.wait(milliseconds(500));
        ASSERT_TRUE(s.find<out::done>());
        s.replies(list, {{"tools", json::array({tool("echo")})}});
        EXPECT_TRUE(s.sent.empty());
    }
}
TEST(header_mismatch, a_definition_that_cannot_be_read_does_not_hold_the_call) {
    mismatch s;
    s.call(1);
    s.refuses(s.expect("tools/call"), -32020);
    s.refuses(s.expect("tools/list"), -32603);
    s.replies(s.expect("tools/call"), {{"content", json::array()}});
    EXPECT_TRUE(s.find<out::done>());
}
TEST(calls, a_server_that_no_longer_speaks_the_version_is_connected_anew) {
    script s;
    s.become_modern();
    s.call(1);
    s.call(2);
    s.refuses(s.expect("tools/call"), -32022, {{"supported", {"2027-01-01"}}});
    EXPECT_EQ(s.count<out::done>(), 2u);
    EXPECT_TRUE(s.find<out::failed>());
    EXPECT_TRUE(s.machine.is_over());
}

}  // namespace
}  // namespace holdfast::mcp::test
