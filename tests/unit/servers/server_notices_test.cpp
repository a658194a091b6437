// What servers say of their own accord, as whoever serves clients of its own hears it.
#include "fake_world.hpp"

namespace holdfast::servers::test {
namespace {

struct heard {
    std::vector<std::string> lines;  ///< "server method params"
    explicit heard(world& w) {
        w.set->on_server_notice([this](const std::string& server, const std::string& method, const json& params) {
            lines.push_back(server + " " + method + " " + dump(params));
        });
    }
};
json logged(const char* level, const char* what) {
    return {{"method", "notifications/message"}, {"params", {{"level", level}, {"data", what}}}};
}
const json subscribable{{"tools", json::object()}, {"resources", {{"subscribe", true}}}, {"logging", json::object()}};

TEST(server_notices, what_is_logged_for_a_call_goes_to_its_caller_and_the_rest_to_the_listener) {
    world w;
    heard h(w);
    w.apply(w.config({"a"}));
    auto& a = w.transport.servers["a"];
    a.answers_calls = false;
    std::vector<std::string> log;
    tool_call_events e;
    e.log = [&](json m) { log.push_back(dump(m)); };
    e.done = [](result<json>, bool) {};
    w.transport.say(a, logged("info", "before"));
    w.rt.run_until_idle();
    server_request r;
    r.server = "a", r.method = "tools/call", r.params = {{"name", "t0"}}, r.session = "s", r.log_level = "debug";
    w.set->request(std::move(r), std::move(e));
    w.rt.run_until_idle();
    ASSERT_EQ(a.calls.size(), 1u);
    EXPECT_EQ(a.calls[0]["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "debug");
    w.transport.say(a, logged("warning", "during"));
    w.rt.run_until_idle();
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(log, std::vector<std::string>{R"({"data":"during","level":"warning"})"});
    EXPECT_EQ(h.lines, std::vector<std::string>{R"(a notifications/message {"data":"before","level":"info"})"});
}
TEST(server_notices, wishes_reach_a_legacy_server_and_are_said_again_after_it_came_back) {
    world w;
    heard h(w);
    auto& a = w.transport.servers["a"];
    a.legacy = true;
    a.capabilities = subscribable;
    EXPECT_FALSE(w.set->watch_resources("nobody", {}));
    w.apply(w.config({"a"}));
    ASSERT_TRUE(w.set->watch_resources("a", {"x:1", "x:2"}));
    w.set->want_log_level("error");
    w.rt.run_until_idle();
    ASSERT_EQ(a.wishes.size(), 3u);
    EXPECT_EQ(a.wishes[0]["method"], "resources/subscribe");
    EXPECT_EQ(a.wishes[2]["params"], (json{{"level", "error"}}));
    EXPECT_EQ(h.lines.size(), 2u) << "they may have changed before it was asked";
    h.lines.clear();
    w.transport.say(a, {{"method", "notifications/resources/updated"}, {"params", {{"uri", "x:2"}}}});
    w.rt.run_until_idle();
    EXPECT_EQ(h.lines, std::vector<std::string>{R"(a notifications/resources/updated {"uri":"x:2"})"});
    ASSERT_TRUE(w.set->watch_resources("a", {"x:2"}));
    w.rt.run_until_idle();
    EXPECT_EQ(a.wishes.back()["method"], "resources/unsubscribe");
    h.lines.clear();
    a.wishes.clear();
    w.transport.kill("a");
    w.advance(seconds(2));
    ASSERT_EQ(w.status_of("a"), "healthy");
    ASSERT_EQ(a.wishes.size(), 2u);
    EXPECT_EQ(a.wishes[0]["params"], (json{{"uri", "x:2"}}));
    EXPECT_EQ(a.wishes[1]["method"], "logging/setLevel");
    EXPECT_EQ(h.lines, std::vector<std::string>{R"(a notifications/resources/updated {"uri":"x:2"})"}) << "it may have changed meanwhile";
}
TEST(server_notices, wishes_become_the_filter_of_a_modern_subscription) {
    world w;
    auto& a = w.transport.servers["a"];
    a.capabilities = subscribable;
    w.apply(w.config({"a"}));
    EXPECT_TRUE(a.wishes.empty()) << "nothing to be told";
    ASSERT_TRUE(w.set->watch_resources("a", {"x:1"}));
    w.rt.run_until_idle();
    ASSERT_EQ(a.wishes.size(), 1u);
    EXPECT_EQ(a.wishes[0]["params"]["notifications"], (json{{"resourceSubscriptions", {"x:1"}}}));
}

}  // namespace
}  // namespace holdfast::servers::test
