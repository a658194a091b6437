// What the server is asked to tell, and what it tells.
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

const json subscribable{{"tools", json::object()}, {"resources", {{"subscribe", true}}}, {"logging", json::object()}};

struct watching : script {
    explicit watching(bool modern, client_options o = {}, const json& capabilities = subscribable) : script(std::move(o)) {
        if (modern) become_modern(capabilities);
        else become_legacy(capabilities);
        if (!capabilities.contains("resources")) return;
        replies(expect("resources/list"), {{"resources", json::array()}});
        replies(expect("resources/templates/list"), {{"resourceTemplates", json::array()}});
    }
    void on_listen(const json& listen, const std::string& method, json params = json::object()) {
        params["_meta"]["io.modelcontextprotocol/subscriptionId"] = listen["id"];
        says({{"method", method}, {"params", params}});
    }
    void acknowledges(const json& listen) { on_listen(listen, "notifications/subscriptions/acknowledged", {{"notifications", listen["params"]["notifications"]}}); }
    std::vector<std::string> notices() const {
        std::vector<std::string> out;
        for (const auto& a : other)
            if (auto* n = std::get_if<out::notice>(&a)) out.push_back(n->method + " " + dump(n->params));
        return out;
    }
    using lines = std::vector<std::string>;
};

TEST(watching, a_legacy_server_is_asked_resource_by_resource) {
    watching s(false);
    EXPECT_TRUE(s.sent.empty());
    s.on(in::watch{{"a:1", "a:2"}});
    EXPECT_EQ(s.expect("resources/subscribe")["params"], (json{{"uri", "a:1"}}));
    s.replies(s.expect("resources/subscribe"), json::object());
    s.on(in::watch{{"a:1", "a:2"}});
    EXPECT_TRUE(s.sent.empty()) << "it has been asked";
    s.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", "a:2"}, {"title", "two"}}}});
    EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/resources/updated {"title":"two","uri":"a:2"})"}));
    s.on(in::watch{{"a:2", "a:3"}});
    EXPECT_EQ(s.expect("resources/unsubscribe")["params"], (json{{"uri", "a:1"}}));
    const json third = s.expect("resources/subscribe");
    EXPECT_EQ(third["params"], (json{{"uri", "a:3"}}));
    s.refuses(third, -32602);
    EXPECT_EQ(s.count<out::log>(), 1u);
    EXPECT_FALSE(s.machine.is_over());
}
TEST(watching, is_not_asked_of_a_server_that_does_not_offer_it) {
    for (const bool modern : {false, true}) {
        watching s(modern, {}, {{"tools", json::object()}, {"resources", json::object()}});
        s.on(in::watch{{"a:1"}});
        s.on(in::log_level{"debug"});
        EXPECT_TRUE(s.sent.empty());
    }
}
TEST(watching, is_bounded) {
    client_options o;
    o.limits.max_watched = 2;
    watching s(false, o);
    s.on(in::watch{{"a:1", "a:2", "a:3"}});
    EXPECT_EQ(s.sent.size(), 2u);
}
TEST(watching, what_is_wanted_from_the_start_is_asked_for_at_once_and_may_have_changed) {
    for (const bool modern : {false, true}) {
        client_options o;
        o.watched = {"a:1"};
        o.log_level = "error";
        watching s(modern, o);
        if (modern) {
            const json listen = s.expect("subscriptions/listen");
            EXPECT_EQ(listen["params"]["notifications"], (json{{"resourceSubscriptions", {"a:1"}}}));
            s.acknowledges(listen);
        } else {
            const json subscribe = s.expect("resources/subscribe");
            EXPECT_EQ(s.expect("logging/setLevel")["params"], (json{{"level", "error"}}));
            s.refuses(subscribe, -32002);
        }
        EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/resources/updated {"uri":"a:1"})"}));
        EXPECT_TRUE(s.sent.empty());
    }
}
TEST(watching, what_may_have_changed_before_the_server_agreed_is_told_when_it_has) {
    const watching::lines second{R"(notifications/resources/updated {"uri":"a:2"})"};
    watching modern(true);
    modern.on(in::watch{{"a:1"}});
    modern.acknowledges(modern.expect("subscriptions/listen"));
    EXPECT_EQ(modern.notices(), (watching::lines{R"(notifications/resources/updated {"uri":"a:1"})"}));
    modern.on(in::watch{{"a:1", "a:2"}});
    EXPECT_TRUE(modern.notices().empty());
    modern.acknowledges(modern.expect("subscriptions/listen"));
    EXPECT_EQ(modern.notices(), second) << "of the first it was told all along";

    watching legacy(false);
    legacy.on(in::watch{{"a:1", "a:2"}});
    EXPECT_TRUE(legacy.notices().empty());
    const json first = legacy.expect("resources/subscribe");
    legacy.replies(legacy.expect("resources/subscribe"), json::object());
    EXPECT_EQ(legacy.notices(), second);
    legacy.on(in::watch{{"a:2"}});
    legacy.expect("resources/unsubscribe");
    legacy.replies(first, json::object());
    EXPECT_TRUE(legacy.notices().empty()) << "nobody wants it any more";
}
TEST(watching, a_server_that_cannot_be_asked_may_have_changed_everything_while_it_was_away) {
    client_options o;
    o.watched = {"a:1"};
    watching s(true, o, {{"resources", json::object()}});
    EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/resources/updated {"uri":"a:1"})"}));
}
TEST(watching, a_wish_before_the_server_is_ready_is_kept) {
    script s;
    s.on(in::opened{});
    s.on(in::watch{{"a:1"}});
    s.on(in::log_level{"info"});
    s.refuses(s.expect("server/discover"), -32601);
    s.replies(s.expect("initialize"), {{"protocolVersion", "2025-06-18"}, {"capabilities", {{"logging", json::object()}}}});
    s.expect("notifications/initialized");
    s.expect("logging/setLevel");
    EXPECT_TRUE(s.sent.empty());
}
TEST(watching, another_filter_opens_another_subscription_and_the_first_ends_when_that_stands) {
    json capabilities = subscribable;
    capabilities["tools"] = {{"listChanged", true}};
    watching s(true, {}, capabilities);
    const json first = s.expect("subscriptions/listen");
    s.acknowledges(first);
    s.on(in::watch{{"a:1"}});
    const json second = s.expect("subscriptions/listen");
    EXPECT_EQ(second["params"]["notifications"], (json{{"toolsListChanged", true}, {"resourceSubscriptions", {"a:1"}}}));
    s.on(in::watch{{"a:1", "a:2"}});
    EXPECT_TRUE(s.sent.empty()) << "one is being opened already";
    s.now += seconds(5);
    s.on_listen(first, "notifications/tools/list_changed");
    s.replies(s.expect("tools/list"), {{"tools", json::array({tool("echo")})}});
    s.acknowledges(second);
    EXPECT_EQ(s.expect("notifications/cancelled")["params"]["requestId"], first["id"]);
    const json third = s.expect("subscriptions/listen");
    s.on_listen(first, "notifications/tools/list_changed");  // crossed the cancellation
    EXPECT_EQ(s.machine.counters().misplaced, 0u);
    s.on_listen(third, "notifications/resources/updated", {{"uri", "a:1"}});  // without an acknowledgement
    EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/resources/updated {"uri":"a:2"})", R"(notifications/resources/updated {"uri":"a:1"})"}));
    EXPECT_EQ(s.expect("notifications/cancelled")["params"]["requestId"], second["id"]);
    s.on_listen(second, "notifications/resources/updated", {{"uri", "a:9"}});
    EXPECT_TRUE(s.notices().empty());
}
TEST(watching, no_wish_left_ends_the_subscription) {
    client_options o;
    o.http = true;
    watching s(true, o);
    s.on(in::watch{{"a:1"}});
    const json listen = s.expect("subscriptions/listen");
    s.acknowledges(listen);
    s.on(in::watch{{}});
    EXPECT_TRUE(s.sent.empty()) << "over HTTP the stream is closed, nothing is said";
    ASSERT_TRUE(s.find<out::abandon>());
    EXPECT_EQ(s.find<out::abandon>()->request_id, dump(listen["id"]));
    s.on(in::watch{{"a:2"}});
    s.expect("subscriptions/listen");
}
TEST(watching, nothing_is_due_while_a_subscription_is_being_opened) {
    watching s(true);
    s.on(in::watch{{"a:1"}});
    const json first = s.expect("subscriptions/listen");
    s.acknowledges(first);
    s.on(in::watch{{"a:1", "a:2"}});
    const json second = s.expect("subscriptions/listen");
    s.replies(first, {{"resultType", "complete"}});  // one at a time is all this server has
    EXPECT_FALSE(s.machine.next_deadline()) << "a timer that does nothing would be armed again at once, for ever";
    s.wait(seconds(5));
    EXPECT_TRUE(s.sent.empty());
    s.refuses(second, -32603);
    ASSERT_TRUE(s.machine.next_deadline());
    s.now = *s.machine.next_deadline();
    s.on(in::tick{});
    s.expect("subscriptions/listen");
}
TEST(watching, a_legacy_server_that_did_not_take_the_wish_is_asked_again) {
    watching s(false);
    s.on(in::watch{{"a:1"}});
    s.on(in::request_failed{dump(s.expect("resources/subscribe")["id"]), {errc::overloaded, "busy"}, 429});
    EXPECT_TRUE(s.sent.empty());
    s.wait(seconds(1));
    s.refuses(s.expect("resources/subscribe"), -32603);
    EXPECT_TRUE(s.notices().empty());
    s.wait(seconds(2));
    s.expect("resources/subscribe");
    s.wait(seconds(120));  // no answer
    s.expect("notifications/cancelled");
    s.wait(seconds(4));
    s.replies(s.expect("resources/subscribe"), json::object());
    s.wait(seconds(120));
    EXPECT_TRUE(s.sent.empty());
    s.on(in::watch{{}});
    s.expect("resources/unsubscribe");
}
TEST(watching, a_refused_change_leaves_the_subscription_that_stands) {
    watching s(true);
    s.on(in::watch{{"a:1"}});
    const json first = s.expect("subscriptions/listen");
    s.acknowledges(first);
    s.on(in::watch{{"a:1", "a:2"}});
    s.refuses(s.expect("subscriptions/listen"), -32602);
    s.wait(seconds(100));
    EXPECT_TRUE(s.sent.empty());
    s.on_listen(first, "notifications/resources/updated", {{"uri", "a:1"}});
    EXPECT_EQ(s.notices().size(), 1u);
}
TEST(watching, a_server_that_cannot_take_the_subscription_just_now_is_asked_again) {
    json capabilities = subscribable;
    capabilities["tools"] = {{"listChanged", true}};
    watching s(true, {}, capabilities);
    for (const int delay : {1, 2, 4, 8, 16, 32, 60, 60}) {
        s.refuses(s.expect("subscriptions/listen"), -32603);
        s.wait(seconds(delay) - milliseconds(1));
        EXPECT_TRUE(s.sent.empty()) << delay;
        s.wait(milliseconds(1));
    }
    s.acknowledges(s.expect("subscriptions/listen"));
    s.expect("tools/list");  // what changed meanwhile was told to nobody
    for (const int code : {-32601, -32602}) {
        watching other(true, {}, capabilities);
        other.refuses(other.expect("subscriptions/listen"), code);
        other.wait(seconds(600));
        EXPECT_TRUE(other.sent.empty()) << "a server that does not take it is not asked for ever";
    }
}
TEST(watching, after_a_lost_subscription_everything_may_have_changed) {
    watching s(true);
    s.on(in::watch{{"a:1"}});
    s.on(in::request_failed{dump(s.expect("subscriptions/listen")["id"]), {errc::transport_lost, "gone"}, 0});
    s.wait(seconds(1));
    s.acknowledges(s.expect("subscriptions/listen"));
    EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/resources/updated {"uri":"a:1"})"}));
}
TEST(watching, a_server_that_ends_the_subscription_itself_is_asked_again) {
    watching s(true);
    s.on(in::watch{{"a:1"}});
    const json listen = s.expect("subscriptions/listen");
    s.acknowledges(listen);
    s.says({{"method", "notifications/cancelled"}, {"params", {{"requestId", listen["id"]}}}});
    s.wait(seconds(1));
    s.expect("subscriptions/listen");
    EXPECT_EQ(s.machine.counters().misplaced, 0u);
}
TEST(watching, updates_without_a_uri_or_a_subscription_are_violations) {
    watching legacy(false);
    legacy.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", 5}}}});
    EXPECT_EQ(legacy.machine.counters().misplaced, 1u);
    watching modern(true);
    modern.says({{"method", "notifications/resources/updated"}, {"params", {{"uri", "a:1"}}}});
    EXPECT_EQ(modern.machine.counters().misplaced, 1u);
    EXPECT_TRUE(modern.notices().empty());
}
TEST(notices, a_changed_list_is_told_after_it_was_read_and_only_if_it_changed) {
    watching s(false);
    s.now += seconds(5);
    s.says({{"method", "notifications/resources/list_changed"}});
    EXPECT_TRUE(s.notices().empty());
    s.replies(s.expect("resources/list"), {{"resources", json::array({{{"uri", "a:1"}, {"name", "one"}}})}});
    EXPECT_EQ(s.notices(), (watching::lines{"notifications/resources/list_changed null"}));
    s.replies(s.expect("resources/templates/list"), {{"resourceTemplates", json::array()}});
    EXPECT_TRUE(s.notices().empty());
}
TEST(notices, the_end_of_an_elicitation_by_url_is_told) {
    watching s(false);
    s.says({{"method", "notifications/elicitation/complete"}, {"params", {{"elicitationId", "e1"}}}});
    EXPECT_EQ(s.notices(), (watching::lines{R"(notifications/elicitation/complete {"elicitationId":"e1"})"}));
}

struct logging : watching {
    explicit logging(bool modern) : watching(modern) {}
    void calls(call_id id, std::string owner, std::string level) {
        in::call c;
        c.id = id, c.method = "tools/call", c.params = {{"name", "echo"}}, c.owner = std::move(owner), c.log_level = std::move(level);
        on(std::move(c));
    }
    const out::message* logs(const char* level = "info") {
        says({{"method", "notifications/message"}, {"params", {{"level", level}, {"logger", "db"}, {"data", {{"x", 1}}}, {"_meta", {{"y", 1}}}}}});
        return find<out::message>();
    }
};

TEST(logging, a_modern_server_is_asked_call_by_call) {
    logging s(true);
    s.calls(1, "s1", "warning");
    EXPECT_EQ(s.expect("tools/call")["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning");
    s.calls(2, "s1", "");
    EXPECT_FALSE(s.expect("tools/call")["params"]["_meta"].contains("io.modelcontextprotocol/logLevel"));
}
TEST(logging, a_legacy_server_is_asked_for_the_least_severe_level_any_call_has_wanted) {
    logging s(false);
    s.calls(1, "s1", "warning");
    EXPECT_EQ(s.expect("logging/setLevel")["params"], (json{{"level", "warning"}}));
    EXPECT_FALSE(s.expect("tools/call")["params"].contains("_meta"));
    s.calls(2, "s2", "error");
    s.expect("tools/call");
    s.on(in::log_level{""});  // no wish of the host changes that
    s.calls(3, "s3", "");
    s.expect("tools/call");
    s.calls(4, "s4", "info");
    EXPECT_EQ(s.expect("logging/setLevel")["params"], (json{{"level", "info"}}));
    watching silent(false, {}, {{"tools", json::object()}, {"resources", json::object()}});
    silent.on(in::call{1, "tools/call", {{"name", "echo"}}, milliseconds(1000), false, false, "s1", nullptr, "debug"});
    silent.expect("tools/call");
    EXPECT_TRUE(silent.sent.empty()) << "it has no log";
}
TEST(logging, what_is_below_a_calls_level_is_not_for_it) {
    logging s(false);
    s.calls(1, "s1", "warning");
    EXPECT_FALSE(s.logs("notice"));
    ASSERT_TRUE(s.logs("warning"));
    ASSERT_TRUE(s.logs("alert"));
    EXPECT_EQ(s.count<out::log>(), 1u);
}
TEST(logging, a_message_belongs_to_the_newest_call_of_the_only_session_that_wants_one) {
    for (const bool modern : {false, true}) {
        logging s(modern);
        ASSERT_TRUE(s.logs());
        EXPECT_EQ(s.find<out::message>()->call, 0u);
        s.calls(1, "s1", "debug");
        s.calls(2, "s1", "debug");
        s.calls(3, "s2", "");
        ASSERT_TRUE(s.logs());
        EXPECT_EQ(s.find<out::message>()->call, 2u);
        EXPECT_EQ(s.find<out::message>()->params, (json{{"level", "info"}, {"logger", "db"}, {"data", {{"x", 1}}}}));
        EXPECT_EQ(s.count<out::log>(), 1u) << "for the server's own log as well";
        s.calls(4, "s2", "debug");
        EXPECT_EQ(s.logs()->call, 0u) << "nobody can tell whose it is";
    }
}
TEST(streams, a_message_on_a_requests_stream_belongs_to_that_call_whoever_else_calls) {
    for (const bool modern : {false, true}) {
        logging s(modern);
        s.calls(1, "s1", "debug");
        s.calls(2, "s2", "debug");
        s.calls(3, "s3", "");
        if (!modern) s.expect("logging/setLevel");
        const std::string first = dump(s.expect("tools/call")["id"]), second = dump(s.expect("tools/call")["id"]), third = dump(s.expect("tools/call")["id"]);
        const auto logs = [&](const std::string& stream) {
            s.on(in::message{stream + R"({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}})"});
            return s.find<out::message>() ? std::optional(s.find<out::message>()->call) : std::nullopt;
        };
        EXPECT_EQ(logs(first + "\n"), 1u);
        EXPECT_EQ(logs(second + "\n"), 2u);
        EXPECT_EQ(logs(""), 0u);
        EXPECT_EQ(logs(third + "\n"), 0u) << "it asked for none";
        EXPECT_EQ(logs("999\n"), 0u) << "no request of ours";
        EXPECT_EQ(logs("1 "), std::nullopt) << "no message";
        EXPECT_EQ(logs("99999999999999999999999\n"), std::nullopt);
        EXPECT_EQ(s.machine.counters().garbage, 2u);
    }
}
TEST(streams, a_legacy_servers_question_on_a_requests_stream_goes_to_that_caller) {
    script s;
    s.become_legacy();
    s.call(1, true, milliseconds(60'000), "s1");
    s.call(2, true, milliseconds(60'000), "s2");
    s.call(3, false, milliseconds(60'000), "s3");
    const std::string first = dump(s.expect("tools/call")["id"]);
    s.expect("tools/call");
    const std::string third = dump(s.expect("tools/call")["id"]);
    const auto ask = [&](const std::string& stream, int id) {
        s.on(in::message{stream + R"({"jsonrpc":"2.0","method":"elicitation/create","params":{"message":"?"},"id":)" + std::to_string(id) + "}"});
    };
    ask(first + "\n", 70);
    ASSERT_TRUE(s.find<out::input>());
    EXPECT_EQ(s.find<out::input>()->id, 1u);
    EXPECT_TRUE(s.sent.empty());
    ask(third + "\n", 71);
    EXPECT_FALSE(s.find<out::input>());
    ASSERT_EQ(s.sent.size(), 1u);
    EXPECT_EQ(s.sent[0]["result"]["action"], "decline");
    s.sent.clear();
    ask("", 72);
    EXPECT_EQ(s.sent[0]["result"]["action"], "decline") << "without a stream nobody can tell";
}
TEST(logging, only_levels_there_are_are_taken_and_asked_for) {
    logging s(false);
    EXPECT_FALSE(s.logs("loud"));
    EXPECT_EQ(s.machine.counters().misplaced, 1u);
    s.on(in::log_level{"loud"});
    EXPECT_TRUE(s.sent.empty());
    s.on(in::log_level{"emergency"});
    s.expect("logging/setLevel");
    s.on(in::log_level{"emergency"});
    s.on(in::log_level{""});
    EXPECT_TRUE(s.sent.empty());
}

}  // namespace
}  // namespace holdfast::mcp::test
