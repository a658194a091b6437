#include "gateway_fixture.hpp"
#include "mcp/gateway/modern_call.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

const json form{{"elicitation", json::object()}};
json question() { return {{"message", "name?"}, {"requestedSchema", {{"type", "object"}}}}; }

struct scene {
    explicit scene(json capabilities = form, limits l = {}) : call(l, std::move(capabilities), [](std::uint32_t n, steady_time) { return "state" + std::to_string(n); }) {}
    modern_call call;
    actions out;
    steady_time now{std::chrono::hours(1)};

    modern_call::request request(int id, json responses = json::object()) {
        modern_call::request r;
        r.id = id;
        r.responses = std::move(responses);
        return r;
    }
    void begin(modern_call::request r) { clear(), call.begin(1, std::move(r), {"a", "tools/call", {{"name", "x"}}}, now, out); }
    void begin() { begin(request(10)); }
    void resume(stream_id on, int id, std::uint32_t round, json responses) { clear(), call.resume(on, request(id, std::move(responses)), round, now, out); }
    template <class E>
    void on(E e) { clear(), call.on(std::move(e), now, out); }
    void asks(const std::string& key, bool more = false) { on(up::input{1, key, "elicitation/create", question(), more}); }
    void done(json result = {{"content", json::array()}}) { on(up::done{1, std::move(result), {}}); }
    void clear() { out.clear(); }
};

TEST(modern_call, a_plain_result_is_one_json_answer) {
    scene s;
    s.begin();
    const auto c = all<act::call>(s.out).at(0);
    EXPECT_TRUE(c.input);
    EXPECT_FALSE(c.progress) << "no token, no progress";
    EXPECT_EQ(c.capabilities, form);
    s.done();
    EXPECT_FALSE(all<act::head>(s.out).at(0).stream);
    const json m = sent(s.out, 1);
    EXPECT_EQ(m["id"], 10);
    EXPECT_EQ(m["result"]["resultType"], "complete");
    EXPECT_EQ(m["result"]["_meta"][meta::server_info]["name"], "holdfast");
    EXPECT_TRUE(s.call.is_over());
    s.done();
    EXPECT_TRUE(s.out.empty());
}
TEST(modern_call, progress_and_logs_go_before_the_answer_on_its_own_stream_if_asked_for) {
    scene s;
    auto r = s.request(10);
    r.token = "t";
    r.log_level = "warning";
    s.begin(r);
    s.on(up::progress{1, {{"progress", 1}, {"total", 2}}});
    EXPECT_TRUE(all<act::head>(s.out).at(0).stream);
    EXPECT_EQ(sent(s.out, 1)["params"], json::parse(R"({"progress":1,"total":2,"progressToken":"t"})"));
    s.on(up::log{1, {{"level", "info"}, {"data", "x"}}});
    EXPECT_TRUE(s.out.empty()) << "below what was asked for";
    s.on(up::log{1, {{"level", "error"}, {"data", "x"}}});
    EXPECT_EQ(sent(s.out, 1)["method"], "notifications/message");
    s.done();
    EXPECT_TRUE(all<act::head>(s.out).empty()) << "only one";
}
TEST(modern_call, nothing_is_sent_that_was_not_asked_for) {
    scene s;
    s.begin();
    s.on(up::progress{1, {{"progress", 1}}});
    s.on(up::log{1, {{"level", "emergency"}, {"data", "x"}}});
    EXPECT_TRUE(s.out.empty());
}
TEST(modern_call, questions_of_one_round_go_out_together_and_the_answers_come_back) {
    scene s;
    s.begin();
    s.asks("k1", true);
    EXPECT_TRUE(s.out.empty());
    s.asks("k2");
    const json first = sent(s.out, 1)["result"];
    EXPECT_EQ(first["resultType"], "input_required");
    EXPECT_EQ(first["inputRequests"].size(), 2u);
    EXPECT_EQ(first["requestState"], "state1");
    EXPECT_TRUE(all<act::over>(s.out).empty());
    s.resume(2, 11, 1, {{"k1", {{"action", "accept"}}}, {"unknown", {{"action", "accept"}}}});
    EXPECT_EQ(all<act::answer>(s.out).at(0).key, "k1");
    const json again = sent(s.out, 2)["result"];
    EXPECT_EQ(again["inputRequests"].size(), 1u) << "what is missing is asked again";
    EXPECT_EQ(again["requestState"], "state2");
    s.resume(3, 12, 2, {{"k2", {{"action", "decline"}}}});
    EXPECT_EQ(all<act::answer>(s.out).size(), 1u);
    s.done();
    EXPECT_EQ(sent(s.out, 3)["id"], 12);
}
TEST(modern_call, a_state_is_good_for_one_round) {
    scene s;
    s.begin();
    s.asks("k");
    s.resume(2, 11, 1, {{"k", {{"action", "accept"}}}});
    s.resume(3, 12, 1, {{"k", {{"action", "accept"}}}});
    EXPECT_EQ(sent(s.out, 3)["error"]["code"], rpc_code::invalid_params);
    EXPECT_TRUE(all<act::answer>(s.out).empty()) << "answered once";
    s.done();
    EXPECT_EQ(sent(s.out, 2)["id"], 11);
}
TEST(modern_call, an_answer_sent_along_is_used_if_it_is_one) {
    for (const auto& [responses, used] : std::vector<std::pair<json, bool>>{{{{"k", {{"action", "accept"}}}}, true}, {{{"k", 12345}}, false}, {{{"other", {{"action", "accept"}}}}, false}}) {
        scene s;
        s.begin(s.request(10, responses));
        s.asks("k");
        EXPECT_EQ(all<act::answer>(s.out).size(), used ? 1u : 0u) << responses;
        EXPECT_EQ(s.call.asking(), !used) << responses;
    }
}
TEST(modern_call, nobody_is_asked_what_they_did_not_offer) {
    scene s(json{{"sampling", json::object()}});
    s.begin();
    s.asks("k");
    EXPECT_EQ(all<act::answer>(s.out).at(0).response, (json{{"action", "decline"}}));
    s.on(up::input{1, "r", "roots/list", json::object(), false});
    EXPECT_TRUE(all<act::answer>(s.out).at(0).response.contains("error"));
    EXPECT_FALSE(s.call.asking());
    scene url;
    url.begin();
    url.on(up::input{1, "u", "elicitation/create", {{"mode", "url"}, {"url", "https://x"}}, false});
    EXPECT_EQ(all<act::answer>(url.out).at(0).response["action"], "decline") << "{} is forms only";
}
TEST(modern_call, leaving_cancels_unless_the_round_has_ended) {
    scene s;
    s.begin();
    s.clear();
    s.call.gone(9, s.out);
    EXPECT_TRUE(s.out.empty()) << "another stream";
    s.call.gone(1, s.out);
    EXPECT_EQ(all<act::cancel>(s.out).size(), 1u);
    EXPECT_TRUE(s.call.is_over());
    scene asked;
    asked.begin();
    asked.asks("k");
    asked.clear();
    asked.call.gone(1, asked.out);
    EXPECT_TRUE(asked.out.empty());
    EXPECT_TRUE(asked.call.asking());
}
TEST(modern_call, an_end_while_the_client_is_away_is_told_when_it_is_back) {
    scene s;
    s.begin();
    s.asks("k");
    s.on(up::done{1, fail(errc::transport_lost, "gone"), {}});
    EXPECT_TRUE(s.out.empty());
    s.resume(2, 11, 1, {{"k", {{"action", "accept"}}}});
    EXPECT_TRUE(all<act::answer>(s.out).empty());
    EXPECT_EQ(sent(s.out, 2)["error"]["data"]["code"], "transport_lost");
    EXPECT_TRUE(s.call.is_over());
}
TEST(modern_call, patience_with_a_client_that_stays_away_ends) {
    limits l;
    l.input_wait = milliseconds(100);
    scene s(form, l);
    s.begin();
    s.asks("k");
    s.clear();
    s.now += milliseconds(100);
    s.call.tick(s.now, s.out);
    EXPECT_TRUE(s.out.empty());
    s.now += milliseconds(1);
    s.call.tick(s.now, s.out);
    EXPECT_EQ(all<act::cancel>(s.out).size(), 1u);
    EXPECT_EQ(all<act::over>(s.out).size(), 1u);
}
TEST(modern_call, a_slow_one_gets_its_stream_opened) {
    limits l;
    l.stream_after = milliseconds(50);
    scene s(form, l);
    s.begin();
    s.clear();
    s.call.tick(s.now + milliseconds(49), s.out);
    EXPECT_TRUE(s.out.empty());
    s.call.tick(s.now + milliseconds(50), s.out);
    EXPECT_TRUE(all<act::head>(s.out).at(0).stream);
    s.clear();
    s.call.tick(s.now + milliseconds(90), s.out);
    EXPECT_TRUE(s.out.empty());
}
TEST(modern_call, errors_of_servers_arrive_as_they_are_except_what_was_between_us_and_them) {
    struct { int from, to, status; } const cases[] = {{-32602, -32602, 200}, {-32002, -32602, 200}, {rpc_code::missing_capability, rpc_code::missing_capability, 400},
                                                       {rpc_code::unsupported_version, rpc_code::internal_error, 200}, {rpc_code::header_mismatch, rpc_code::internal_error, 200}, {1234, 1234, 200}};
    for (const auto& c : cases) {
        scene s;
        s.begin();
        s.on(up::done{1, fail(errc::server_error, "x"), rpc_error{c.from, "theirs", {{"uri", "u"}}}});
        EXPECT_EQ(sent(s.out, 1)["error"]["code"], c.to) << c.from;
        EXPECT_EQ(sent(s.out, 1)["error"]["data"]["uri"], "u");
        EXPECT_EQ(all<act::head>(s.out).at(0).status, c.status) << c.from;
    }
}
TEST(modern_call, only_what_may_be_answered_with_a_question_lets_the_server_ask) {
    for (const auto& [method, may] : {std::pair{"tools/call", true}, {"prompts/get", true}, {"resources/read", true}, {"completion/complete", false}}) {
        scene s;
        s.call.begin(1, s.request(10), {"a", method, json::object()}, s.now, s.out);
        EXPECT_EQ(all<act::call>(s.out).at(0).input, may) << method;
    }
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
