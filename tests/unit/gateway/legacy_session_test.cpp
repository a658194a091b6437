#include "gateway_fixture.hpp"
#include "mcp/gateway/legacy_session.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

struct scene {
    explicit scene(const char* version = "2025-11-25", json capabilities = {{"elicitation", json::object()}, {"sampling", json::object()}}, limits l = {}, bool stdio = false)
        : session(l, stdio, {{"protocolVersion", version}, {"capabilities", std::move(capabilities)}}, now) {
        w.tool("a", "x");
        w.resource("a", "x://1");
        from = w.make();
    }
    world w;
    std::shared_ptr<const offer> from;
    steady_time now{std::chrono::hours(1)};
    legacy_session session;
    actions out;
    stream_id next = 1;

    stream_id post(json message) {
        out.clear();
        session.post(next, std::move(message), *from, now, out);
        return next++;
    }
    stream_id request(int id, const char* method, json params = json::object()) { return post({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}}); }
    stream_id call(int id, json meta = json::object()) { return request(id, "tools/call", {{"name", "a__x"}, {"_meta", std::move(meta)}}); }
    stream_id listen(const std::string& last = {}) {
        out.clear();
        session.listen(next, last, now, out);
        return next++;
    }
    template <class E>
    void on(E e) { out.clear(), session.on(std::move(e), now, out); }
    int status() { return all<act::head>(out).at(0).status; }
};

TEST(legacy_session, the_version_is_the_clients_if_it_is_known_else_the_newest) {
    for (const auto& [asked, given] : std::vector<std::pair<const char*, const char*>>{{"2024-11-05", "2024-11-05"}, {"2025-06-18", "2025-06-18"}, {"1999-01-01", "2025-11-25"}, {"2026-07-28", "2025-11-25"}}) {
        scene s(asked);
        s.session.welcome(1, 1, "id", "do this", s.out);
        const json r = sent(s.out, 1)["result"];
        EXPECT_EQ(r["protocolVersion"], given);
        EXPECT_EQ(r["instructions"], "do this");
        EXPECT_EQ(all<act::head>(s.out).at(0).session, "id");
    }
}
TEST(legacy_session, what_concerns_the_session_is_answered_here) {
    scene s;
    EXPECT_EQ(sent((s.request(1, "ping"), s.out), 1)["result"], json::object());
    EXPECT_EQ(sent((s.request(2, "logging/setLevel", {{"level", "error"}}), s.out), 2)["result"], json::object());
    EXPECT_EQ(sent((s.request(3, "logging/setLevel", {{"level", "loud"}}), s.out), 3)["error"]["code"], rpc_code::invalid_params);
    EXPECT_EQ(sent((s.request(4, "initialize"), s.out), 4)["error"]["code"], rpc_code::invalid_request);
    EXPECT_EQ(sent((s.request(5, "server/discover"), s.out), 5)["error"]["code"], rpc_code::method_not_found);
    const json tools = sent((s.request(6, "tools/list"), s.out), 6)["result"];
    EXPECT_EQ(tools["tools"].size(), 1u);
    EXPECT_FALSE(tools.contains("resultType"));
    s.post({{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}});
    EXPECT_EQ(s.status(), 202);
    s.post("text");
    EXPECT_EQ(s.status(), 400);
}
TEST(legacy_session, a_plain_result_is_one_json_answer_without_modern_words) {
    scene s;
    const auto on = s.call(7);
    EXPECT_EQ(all<act::call>(s.out).at(0).log_level, "info");
    s.on(up::done{1, json{{"content", json::array()}, {"ttlMs", 5}, {"_meta", {{meta::server_info, {{"name", "theirs"}}}}}}, {}});
    EXPECT_FALSE(all<act::head>(s.out).at(0).stream);
    EXPECT_EQ(sent(s.out, on), json::parse(R"({"jsonrpc":"2.0","id":7,"result":{"content":[]}})"));
}
TEST(legacy_session, progress_makes_an_event_stream_with_ids_that_begins_primed) {
    scene s;
    const auto on = s.call(7, {{"progressToken", 3}});
    s.on(up::progress{1, {{"progress", 1}}});
    EXPECT_TRUE(all<act::head>(s.out).at(0).stream);
    const auto emitted = all<act::emit>(s.out);
    ASSERT_EQ(emitted.size(), 2u);
    EXPECT_EQ(emitted[0].event, "1-0");
    EXPECT_TRUE(emitted[0].text.empty());
    EXPECT_EQ(emitted[1].event, "1-1");
    EXPECT_EQ(sent(s.out, on)["params"]["progressToken"], 3);
    scene old("2025-06-18");
    old.call(7, {{"progressToken", 3}});
    old.on(up::progress{1, {{"progress", 1}}});
    EXPECT_EQ(all<act::emit>(old.out).size(), 1u) << "older clients stumble over an event without data";
}
TEST(legacy_session, a_question_of_a_server_becomes_a_request_and_its_answer_finds_back) {
    scene s;
    const auto on = s.call(7);
    s.on(up::input{1, "key", "elicitation/create", {{"message", "?"}}, false});
    const json asked = sent(s.out, on);
    EXPECT_EQ(asked["method"], "elicitation/create");
    s.post({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "accept"}}}});
    EXPECT_EQ(s.status(), 202);
    EXPECT_EQ(all<act::answer>(s.out).at(0).key, "key");
    EXPECT_EQ(all<act::answer>(s.out).at(0).response["action"], "accept");
    s.post({{"jsonrpc", "2.0"}, {"id", asked["id"]}, {"result", {{"action", "accept"}}}});
    EXPECT_TRUE(all<act::answer>(s.out).empty()) << "answered once";
    s.on(up::input{1, "second", "sampling/createMessage", json::object(), false});
    const json second = sent(s.out, on);
    s.post({{"jsonrpc", "2.0"}, {"id", second["id"]}, {"error", {{"code", -1}, {"message", "no"}}}});
    EXPECT_EQ(all<act::answer>(s.out).at(0).response["error"]["message"], "no");
}
TEST(legacy_session, clients_are_asked_only_what_their_version_and_capabilities_have) {
    scene s("2025-06-18", {{"elicitation", {{"url", json::object()}, {"form", json::object()}}}});
    s.call(7);
    s.on(up::input{1, "u", "elicitation/create", {{"mode", "url"}}, false});
    EXPECT_EQ(all<act::answer>(s.out).at(0).response["action"], "decline");
    s.on(up::input{1, "r", "roots/list", json::object(), false});
    EXPECT_TRUE(all<act::answer>(s.out).at(0).response.contains("error"));
    s.on(up::input{1, "f", "elicitation/create", {{"mode", "form"}, {"message", "?"}}, false});
    EXPECT_FALSE(sent(s.out, 1)["params"].contains("mode")) << "unknown before 2025-11-25";
}
TEST(legacy_session, a_cancelled_request_gets_no_answer_and_its_questions_are_withdrawn) {
    scene s;
    const auto on = s.call(7);
    s.on(up::input{1, "key", "elicitation/create", {{"message", "?"}}, false});
    s.post({{"jsonrpc", "2.0"}, {"method", "notifications/cancelled"}, {"params", {{"requestId", 7}}}});
    EXPECT_EQ(all<act::cancel>(s.out).size(), 1u);
    EXPECT_EQ(sent(s.out, on)["method"], "notifications/cancelled");
    EXPECT_EQ(all<act::end>(s.out).size(), 2u) << "the request's stream, and the notification's";
    s.on(up::done{1, fail(errc::cancelled, "x"), {}});
    EXPECT_TRUE(s.out.empty());
}
TEST(legacy_session, nobody_comes_back_for_the_stream_of_a_cancelled_request) {
    scene s;
    const auto standalone = s.listen();
    s.call(7, {{"progressToken", 3}});
    s.on(up::progress{1, {{"progress", 1}}});
    s.post({{"jsonrpc", "2.0"}, {"method", "notifications/cancelled"}, {"params", {{"requestId", 7}}}});
    const auto back = s.listen("1-1");  // as the TypeScript SDKs do
    EXPECT_EQ(s.status(), 400);
    EXPECT_TRUE(sent(s.out, back).contains("error"));
    s.out.clear();
    s.session.changed(list_kind::tools, s.now, s.out);
    EXPECT_EQ(sent(s.out, standalone)["method"], "notifications/tools/list_changed") << "whoever listens still does";
}
TEST(legacy_session, a_cut_stream_is_resumed_where_it_was_left) {
    scene s;
    const auto on = s.call(7, {{"progressToken", 3}});
    s.on(up::progress{1, {{"progress", 1}}});
    s.session.gone(on, s.now);
    s.on(up::progress{1, {{"progress", 2}}});
    s.on(up::done{1, json{{"content", json::array()}}, {}});
    EXPECT_TRUE(s.out.empty()) << "nobody is there";
    const auto back = s.listen("1-1");
    const auto e = all<act::emit>(s.out);
    ASSERT_EQ(e.size(), 2u);
    EXPECT_EQ(e[0].event, "1-2");
    EXPECT_EQ(json::parse(e[1].text)["id"], 7);
    EXPECT_EQ(all<act::end>(s.out).at(0).on, back);
}
TEST(legacy_session, changes_are_told_once_somebody_listens) {
    scene s;
    s.request(1, "resources/subscribe", {{"uri", "x://1"}});
    EXPECT_EQ(all<act::watch>(s.out).at(0).uris.size(), 1u);
    s.out.clear();
    for (int i = 0; i < 1000; ++i) s.session.changed(list_kind::tools, s.now, s.out), s.session.updated("x://1", "x://1", s.now, s.out);
    s.session.updated("x://2", "x://2", s.now, s.out);
    EXPECT_TRUE(s.out.empty());
    s.listen();
    std::vector<std::string> told;
    for (const auto& e : all<act::emit>(s.out))
        if (!e.text.empty()) told.push_back(json::parse(e.text)["method"]);
    EXPECT_EQ(told, (std::vector<std::string>{"notifications/tools/list_changed", "notifications/resources/updated"}));
    s.request(2, "resources/unsubscribe", {{"uri", "x://1"}});
    EXPECT_TRUE(all<act::watch>(s.out).at(0).uris.empty());
}
TEST(legacy_session, every_limit_is_one) {
    limits l;
    l.max_requests = 2;
    l.max_subscriptions = 1;
    l.max_questions = 1;
    l.max_batch = 2;
    scene s("2025-03-26", {{"elicitation", json::object()}}, l);
    s.call(1), s.call(2);
    EXPECT_EQ(sent((s.call(3), s.out), 3)["error"]["code"], rpc_code::internal_error);
    EXPECT_EQ(sent((s.call(2), s.out), 4)["error"]["code"], rpc_code::invalid_request) << "an id is used once at a time";
    s.on(up::input{1, "q1", "elicitation/create", json::object(), false});
    s.on(up::input{1, "q2", "elicitation/create", json::object(), false});
    EXPECT_EQ(all<act::answer>(s.out).at(0).response["action"], "decline");
    s.w.resource("a", "x://2");
    s.from = s.w.make();
    s.request(10, "resources/subscribe", {{"uri", "x://1"}});
    EXPECT_EQ(sent((s.request(11, "resources/subscribe", {{"uri", "x://2"}}), s.out), 6)["error"]["code"], rpc_code::internal_error);
    const json ping{{"jsonrpc", "2.0"}, {"id", 20}, {"method", "ping"}};
    s.post(json::array({ping, ping, ping}));
    EXPECT_EQ(s.status(), 400);
    s.post(json::array());
    EXPECT_EQ(s.status(), 400);
}
TEST(legacy_session, a_batch_is_answered_on_one_stream_where_the_version_has_them) {
    scene s("2025-03-26");
    const auto on = s.post(json::parse(R"([{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/initialized"},
        {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"a__x"}}])"));
    EXPECT_EQ(sent(s.out, on)["id"], 1);
    EXPECT_TRUE(all<act::end>(s.out).empty());
    s.on(up::done{1, json{{"content", json::array()}}, {}});
    EXPECT_EQ(sent(s.out, on)["id"], 2);
    EXPECT_EQ(all<act::end>(s.out).size(), 1u);
    scene none("2025-06-18");
    none.post(json::array({{{"jsonrpc", "2.0"}, {"id", 1}, {"method", "ping"}}}));
    EXPECT_EQ(none.status(), 400);
}
TEST(legacy_session, an_idle_one_ends_and_one_that_is_listened_to_does_not) {
    limits l;
    l.session_idle = seconds(10);
    scene s("2025-11-25", json::object(), l), t("2025-11-25", json::object(), l);
    t.listen();
    s.out.clear(), t.out.clear();
    s.session.tick(s.now + seconds(9), s.out);
    EXPECT_TRUE(s.out.empty());
    s.session.tick(s.now + seconds(10), s.out);
    EXPECT_EQ(all<act::over>(s.out).size(), 1u);
    t.session.tick(t.now + seconds(100), t.out);
    EXPECT_TRUE(all<act::over>(t.out).empty());
}
TEST(legacy_session, closing_cancels_what_is_under_way) {
    scene s;
    s.call(1);
    s.listen();
    s.out.clear();
    s.session.close(s.out);
    EXPECT_EQ(all<act::cancel>(s.out).size(), 1u);
    EXPECT_EQ(all<act::end>(s.out).size(), 2u);
    EXPECT_EQ(all<act::over>(s.out).size(), 1u);
    s.out.clear();
    s.session.close(s.out);
    EXPECT_TRUE(s.out.empty());
}
TEST(legacy_session, an_update_below_what_is_watched_is_told_as_it_is_or_once_as_what_is_watched) {
    scene s;
    s.request(1, "resources/subscribe", {{"uri", "x://1"}});
    s.out.clear();
    for (int i = 0; i < 1000; ++i) s.session.updated("x://1/" + std::to_string(i), "x://1", s.now, s.out);
    const auto uris = [&] {
        std::vector<std::string> told;
        for (const auto& e : all<act::emit>(s.out))
            if (!e.text.empty()) told.push_back(json::parse(e.text)["params"]["uri"]);
        return told;
    };
    s.listen();
    EXPECT_EQ(uris(), std::vector<std::string>{"x://1"});
    s.out.clear();
    s.session.updated("x://1/a", "x://1", s.now, s.out);
    EXPECT_EQ(uris(), std::vector<std::string>{"x://1/a"});
}
TEST(legacy_session, a_request_that_cannot_be_read_is_refused_under_its_id_and_nothing_else_is) {
    scene s;
    const auto id_of = [&](json message) {
        s.out.clear();
        s.session.post(40, std::move(message), *s.from, s.now, s.out);
        return sent(s.out, 40)["id"];
    };
    EXPECT_EQ(id_of({{"jsonrpc", "2.0"}, {"id", 7}, {"method", "ping"}, {"params", {1}}}), 7);
    EXPECT_EQ(id_of({{"jsonrpc", "1.0"}, {"id", "a"}, {"method", "ping"}}), "a");
    EXPECT_EQ(id_of({{"jsonrpc", "2.0"}, {"id", {1}}, {"method", "ping"}}), nullptr);
    EXPECT_EQ(id_of({{"jsonrpc", "2.0"}, {"id", 1}, {"result", 5}}), nullptr) << "an answer is not answered";
}
TEST(legacy_session, a_request_whose_stream_another_one_takes_over_before_it_began_ends_with_a_status) {
    scene s;
    const auto on = s.call(7);
    EXPECT_TRUE(all<act::head>(s.out).empty()) << "it may become plain JSON yet";
    const auto other = s.listen("1-1");
    const auto heads = all<act::head>(s.out);
    ASSERT_EQ(heads.size(), 2u);
    EXPECT_EQ(heads[0].on, on);
    EXPECT_EQ(heads[1].on, other);
    EXPECT_EQ(all<act::end>(s.out).at(0).on, on);
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
