#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

TEST(calls, the_official_result_arrives_without_its_envelope) {
    script s;
    s.become_modern();
    s.call(100);
    const json request = s.expect("tools/call");
    EXPECT_EQ(request["params"]["name"], "echo");
    EXPECT_EQ(request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"], json::object()) << "nobody could answer";
    EXPECT_FALSE(request["params"]["_meta"].contains("progressToken"));
    json answer = example("call-tool-result-response.json");
    answer["id"] = request["id"];
    s.now += milliseconds(30);
    s.says(answer);
    const auto* done = s.find<out::done>();
    ASSERT_TRUE(done);
    ASSERT_TRUE(done->outcome);
    EXPECT_EQ(done->id, 100u);
    EXPECT_TRUE(done->sent);
    EXPECT_EQ(done->took, milliseconds(30));
    EXPECT_FALSE(done->outcome->contains("resultType"));
    EXPECT_EQ((*done->outcome)["isError"], false);
}
TEST(calls, legacy_requests_carry_no_modern_metadata) {
    script s;
    s.become_legacy();
    s.call(1);
    EXPECT_FALSE(s.expect("tools/call")["params"].contains("_meta"));
}
TEST(calls, a_callers_own_protocol_metadata_is_not_passed_on) {
    script s;
    s.become_modern();
    s.on(in::call{1, "tools/call", json::parse(R"({"name":"echo","requestState":"x","inputResponses":{},"_meta":{"progressToken":"theirs",
        "traceparent":"00-a","io.modelcontextprotocol/protocolVersion":"1900-01-01"}})"), milliseconds(1000), false, false, ""});
    const json p = s.expect("tools/call")["params"];
    EXPECT_EQ(p["_meta"]["traceparent"], "00-a");
    EXPECT_FALSE(p["_meta"].contains("progressToken"));
    EXPECT_EQ(p["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    EXPECT_FALSE(p.contains("requestState") || p.contains("inputResponses"));
}
TEST(calls, before_the_server_is_ready_nothing_is_sent) {
    script s;
    s.on(in::opened{});
    s.sent.clear();
    s.call(1);
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_FALSE(s.find<out::done>()->sent);
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::unavailable);
    EXPECT_TRUE(s.sent.empty());
}
TEST(calls, progress_is_remapped_and_checked) {
    script s;
    s.become_legacy();
    s.call(7, false, milliseconds(60'000), "s1", true);
    const json token = s.expect("tools/call")["params"]["_meta"]["progressToken"];
    const auto tell = [&](const json& t, double p) {
        s.says({{"method", "notifications/progress"}, {"params", {{"progressToken", t}, {"progress", p}, {"total", 3}, {"message", "m"}}}});
        return s.find<out::progress>();
    };
    ASSERT_TRUE(tell(token, 1));
    EXPECT_EQ(s.find<out::progress>()->id, 7u);
    EXPECT_EQ(s.find<out::progress>()->value, (json{{"progress", 1.0}, {"total", 3}, {"message", "m"}}));
    EXPECT_FALSE(tell(token, 1)) << "it must grow";
    EXPECT_FALSE(tell("foreign", 2));
    EXPECT_FALSE(tell(token.get<int>() + 1, 2));
    EXPECT_TRUE(tell(token, 2));
    EXPECT_EQ(s.machine.counters().misplaced, 3u);
}
TEST(calls, the_maximum_holds_despite_progress) {
    script s;
    s.become_legacy();
    s.call(7, false, milliseconds(10'000), "s1", true);
    const json request = s.expect("tools/call");
    for (int i = 1; i < 10; ++i) {
        s.wait(seconds(1));
        s.says({{"method", "notifications/progress"}, {"params", {{"progressToken", request["id"]}, {"progress", i}}}});
    }
    EXPECT_EQ(s.machine.pending_calls(), 1u);
    s.wait(seconds(1));
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::timeout);
    EXPECT_TRUE(s.find<out::done>()->sent);
    EXPECT_EQ(s.expect("notifications/cancelled")["params"]["requestId"], request["id"]);
    s.replies(request, {{"content", json::array()}});  // crossed
    EXPECT_EQ(s.machine.counters().late, 1u);
    EXPECT_EQ(s.machine.counters().repeated, 0u);
}
TEST(calls, without_progress_the_idle_limit_ends_it_sooner) {
    client_options o;
    o.limits.idle_timeout = milliseconds(2'000);
    script s(o);
    s.become_legacy();
    s.call(7);
    const json request = s.expect("tools/call");
    s.wait(milliseconds(1'500));
    s.says({{"method", "notifications/progress"}, {"params", {{"progressToken", request["params"]["_meta"]["progressToken"]}, {"progress", 1}}}});
    s.wait(milliseconds(1'500));
    EXPECT_EQ(s.machine.pending_calls(), 1u);
    s.wait(milliseconds(500));
    EXPECT_EQ(s.machine.pending_calls(), 0u);
}
TEST(calls, cancelling_tells_the_server_the_way_its_transport_has) {
    {
        script s;
        s.become_modern();
        s.call(1);
        const json r = s.expect("tools/call");
        s.on(in::cancel{1, "user"});
        EXPECT_EQ(s.expect("notifications/cancelled")["params"]["requestId"], r["id"]);
        EXPECT_FALSE(s.find<out::abandon>());
        EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::cancelled);
    }
    client_options o;
    o.http = true;
    {
        script s(o);
        s.become_modern();
        s.call(1);
        const json r = s.expect("tools/call");
        s.on(in::cancel{1, "user"});
        EXPECT_TRUE(s.sent.empty());
        ASSERT_TRUE(s.find<out::abandon>());
        EXPECT_EQ(s.find<out::abandon>()->request_id, dump(r["id"]));
    }
    {
        script s(o);
        s.become_legacy();
        s.call(1);
        s.expect("tools/call");
        s.on(in::cancel{1, "user"});
        s.expect("notifications/cancelled");
        EXPECT_TRUE(s.find<out::abandon>());
    }
}
TEST(calls, O7_a_lost_connection_fails_every_pending_call_at_once) {
    script s;
    s.become_legacy();
    s.call(1);
    s.call(2);
    s.on(in::probe{9, milliseconds(5'000), {}});
    s.on(in::closed{{errc::transport_lost, "killed by SIGKILL"}});
    EXPECT_EQ(s.count<out::done>(), 2u);
    EXPECT_EQ(s.count<out::probed>(), 1u);
    for (const auto& a : s.other)
        if (auto* d = std::get_if<out::done>(&a)) {
            EXPECT_TRUE(d->sent);
            EXPECT_EQ(d->outcome.error().code, errc::transport_lost);
            EXPECT_NE(d->outcome.error().message.find("SIGKILL"), std::string::npos);
        }
    EXPECT_FALSE(s.machine.next_deadline());
}
TEST(calls, what_the_transport_refused_was_not_sent) {
    script s;
    s.become_legacy();
    s.call(1);
    s.on(in::send_failed{dump(s.expect("tools/call")["id"]), {errc::overloaded, "full"}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_FALSE(s.find<out::done>()->sent);
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::overloaded);
}
TEST(calls, an_answer_lost_to_its_length_fails_the_only_call_and_nobody_elses) {
    script s;
    s.become_legacy();
    s.call(1);
    s.on(in::request_failed{"null", {errc::protocol_error, "a line of 10485760 bytes was dropped"}, 0});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::protocol_error);
    s.call(2);
    s.call(3);
    s.on(in::request_failed{"null", {errc::protocol_error, "dropped"}, 0});
    EXPECT_EQ(s.machine.pending_calls(), 2u) << "nobody can tell whose it was";
    EXPECT_FALSE(s.machine.is_over());
}
TEST(calls, results_of_the_wrong_shape_are_protocol_errors) {
    for (const char* text : {R"({"resultType":"surprise","content":[]})", R"({"resultType":"complete","content":"x"})",
                             R"({"resultType":"input_required"})", R"({"resultType":"input_required","requestState":5})",
                             R"({"resultType":"input_required","inputRequests":[1]})",
                             R"({"resultType":"input_required","inputRequests":{"a":{"method":"tools/call"}}})"}) {
        script s;
        s.become_modern();
        s.call(1, true);
        s.replies(s.expect("tools/call"), json::parse(text));
        ASSERT_TRUE(s.find<out::done>()) << text;
        EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::protocol_error) << text;
    }
}

TEST(input, modern_the_official_round_trip) {
    script s;
    s.become_modern();
    s.call(5, true);
    const json first = s.expect("tools/call");
    EXPECT_TRUE(first["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].contains("elicitation"));
    const json asks = example("input-required-result-with-elicitation-and-sampling-and-request-state.json");
    s.replies(first, asks);
    EXPECT_EQ(s.count<out::input>(), 2u);
    const json answers = example("elicitation-and-sampling-input-responses.json");
    s.on(in::answer{5, "github_login", answers["github_login"]});
    EXPECT_TRUE(s.sent.empty()) << "the other answer is still missing";
    s.on(in::answer{5, "github_login", {{"action", "decline"}}});  // the first answer counted
    s.on(in::answer{5, "capital_of_france", answers["capital_of_france"]});
    const json second = s.expect("tools/call");
    EXPECT_NE(second["id"], first["id"]);
    EXPECT_EQ(second["params"]["inputResponses"], answers);
    EXPECT_EQ(second["params"]["requestState"], asks["requestState"]);
    EXPECT_EQ(second["params"]["arguments"], first["params"]["arguments"]);
    s.replies(second, {{"resultType", "complete"}, {"content", json::array()}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_TRUE(s.find<out::done>()->outcome);
}
TEST(input, modern_state_alone_is_retried_at_once_and_not_carried_further) {
    script s;
    s.become_modern();
    s.call(5);
    s.replies(s.expect("tools/call"), {{"resultType", "input_required"}, {"requestState", "abc"}});
    const json second = s.expect("tools/call");
    EXPECT_EQ(second["params"]["requestState"], "abc");
    EXPECT_FALSE(second["params"].contains("inputResponses"));
    s.replies(second, {{"resultType", "input_required"}, {"inputRequests", {{"q", {{"method", "elicitation/create"}, {"params", json::object()}}}}}});
    const json third = s.expect("tools/call");  // nobody is there: declined
    EXPECT_FALSE(third["params"].contains("requestState"));
    EXPECT_EQ(third["params"]["inputResponses"]["q"]["action"], "decline");
}
TEST(input, modern_rounds_are_bounded) {
    script s;
    s.become_modern();
    s.call(5);
    for (int i = 0; i < 100 && !s.find<out::done>(); ++i)
        s.replies(s.expect("tools/call"), {{"resultType", "input_required"}, {"requestState", "abc"}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::protocol_error);
}
TEST(input, the_clock_of_a_call_stands_still_while_a_person_thinks_but_not_for_ever) {
    script s;
    s.become_modern();
    s.call(5, true, milliseconds(1'000));
    s.wait(milliseconds(900));
    const json asks{{"resultType", "input_required"}, {"inputRequests", {{"q", {{"method", "elicitation/create"}}}}}};
    s.replies(s.expect("tools/call"), asks);
    s.wait(seconds(300));
    EXPECT_EQ(s.machine.pending_calls(), 1u);
    s.on(in::answer{5, "q", {{"action", "accept"}, {"content", json::object()}}});
    s.expect("tools/call");
    s.wait(milliseconds(100));
    EXPECT_EQ(s.machine.pending_calls(), 0u);
    s.sent.clear();
    s.call(6, true, milliseconds(1'000));
    s.replies(s.expect("tools/call"), asks);
    s.wait(seconds(600));
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::timeout);
    EXPECT_TRUE(s.find<out::input_withdrawn>());
}
TEST(input, legacy_questions_become_the_same_thing) {
    script s;
    s.become_legacy();
    s.call(5, true);
    const json request = s.expect("tools/call");
    s.says({{"id", "q-1"}, {"method", "elicitation/create"}, {"params", {{"message", "who?"}}}});
    const auto* asked = s.find<out::input>();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->id, 5u);
    EXPECT_EQ(asked->method, "elicitation/create");
    EXPECT_EQ(asked->params["message"], "who?");
    const std::string key = asked->key;
    s.on(in::answer{5, key, {{"action", "accept"}, {"content", {{"name", "x"}}}}});
    const json reply = s.sent.front();
    s.sent.pop_front();
    EXPECT_EQ(reply["id"], "q-1");
    EXPECT_EQ(reply["result"]["content"]["name"], "x");
    s.replies(request, {{"content", json::array()}});
    EXPECT_TRUE(s.find<out::done>()->outcome);
}
TEST(input, legacy_questions_nobody_can_answer_are_declined_for_them) {
    script s;
    s.become_legacy();
    const auto ask = [&](const char* method) {
        s.says({{"id", 77}, {"method", method}, {"params", json::object()}});
        json reply = s.sent.empty() ? json() : s.sent.front();
        s.sent.clear();
        return reply;
    };
    EXPECT_EQ(ask("ping")["result"], json::object());
    EXPECT_EQ(ask("roots/list")["result"]["roots"], json::array());
    EXPECT_EQ(ask("elicitation/create")["result"]["action"], "decline");
    EXPECT_TRUE(ask("sampling/createMessage").contains("error"));
    EXPECT_EQ(ask("something/else")["error"]["code"], -32601);
    s.call(1, true, milliseconds(60'000), "alice");
    s.call(2, true, milliseconds(60'000), "bob");
    s.sent.clear();
    EXPECT_EQ(ask("elicitation/create")["result"]["action"], "decline") << "nobody can tell whose question it is";
}
TEST(input, legacy_question_withdrawn_by_the_server_or_by_the_end_of_the_call) {
    script s;
    s.become_legacy();
    s.call(5, true);
    const json request = s.expect("tools/call");
    s.says({{"id", 1}, {"method", "elicitation/create"}, {"params", json::object()}});
    s.says({{"method", "notifications/cancelled"}, {"params", {{"requestId", 1}}}});
    EXPECT_TRUE(s.find<out::input_withdrawn>());
    s.says({{"id", 2}, {"method", "elicitation/create"}, {"params", json::object()}});
    s.replies(request, {{"content", json::array()}});
    EXPECT_TRUE(s.find<out::input_withdrawn>());
    EXPECT_TRUE(s.sent.front().contains("error"));
}
TEST(input, legacy_question_outlives_the_call_it_was_taken_to_be_about) {
    script s;
    s.become_legacy();
    s.call(1, true);
    s.now += milliseconds(1);
    s.call(2, true);
    const json first = s.expect("tools/call"), second = s.expect("tools/call");
    s.now += milliseconds(1);
    s.says({{"id", 9}, {"method", "elicitation/create"}, {"params", {{"message", "who?"}}}});
    EXPECT_EQ(s.find<out::input>()->id, 2u);
    s.now += milliseconds(1);
    s.call(3, true);  // after the question, so it cannot be about this one
    s.expect("tools/call");
    s.replies(second, {{"content", json::array()}});
    EXPECT_TRUE(s.find<out::input_withdrawn>());
    ASSERT_TRUE(s.find<out::input>());
    EXPECT_EQ(s.find<out::input>()->id, 1u);
    EXPECT_EQ(s.find<out::input>()->params["message"], "who?");
    EXPECT_TRUE(s.sent.empty()) << "the server still waits";
    s.on(in::answer{1, s.find<out::input>()->key, {{"action", "accept"}, {"content", {{"name", "x"}}}}});
    ASSERT_EQ(s.sent.size(), 1u);
    EXPECT_EQ(s.sent[0]["id"], 9);
    EXPECT_EQ(s.sent[0]["result"]["content"]["name"], "x");
    s.replies(first, {{"content", json::array()}});
    EXPECT_EQ(s.sent.size(), 1u);
}
TEST(input, legacy_question_ends_with_the_last_call_that_it_can_be_about) {
    script s;
    s.become_legacy();
    s.call(1, true);
    const json first = s.expect("tools/call");
    s.says({{"id", 9}, {"method", "elicitation/create"}, {"params", {{"message", "who?"}}}});
    s.now += milliseconds(1);
    s.call(2, true, milliseconds(60'000), "s2");
    s.call(3, true);
    s.sent.clear();
    s.replies(first, {{"content", json::array()}});
    EXPECT_FALSE(s.find<out::input>());
    ASSERT_EQ(s.sent.size(), 1u);
    EXPECT_TRUE(s.sent[0].contains("error"));
}
TEST(input, a_modern_server_must_not_send_requests_and_gets_no_answer) {
    script s;
    s.become_modern();
    s.says({{"id", 1}, {"method", "ping"}});
    EXPECT_TRUE(s.sent.empty());
    EXPECT_EQ(s.machine.counters().misplaced, 1u);
}

TEST(faults, garbage_foreign_ids_and_second_answers_are_counted_and_harmless) {
    script s;
    s.become_legacy();
    s.call(1);
    const json request = s.expect("tools/call");
    s.on(in::message{"Listening on port 8080"});
    s.on(in::message{std::string("\xff\xfe\0", 3)});
    s.says({{"id", "nobody-asked"}, {"result", json::object()}});
    s.says({{"id", 4711}, {"result", json::object()}});
    s.says({{"id", -1}, {"result", json::object()}});
    s.replies(request, {{"content", json::array()}});
    EXPECT_EQ(s.count<out::done>(), 1u);
    s.replies(request, {{"content", json::array({1})}});
    EXPECT_EQ(s.count<out::done>(), 0u);
    const auto& c = s.machine.counters();
    EXPECT_EQ(c.garbage, 2u);
    EXPECT_EQ(c.foreign, 3u);
    EXPECT_EQ(c.repeated, 1u);
    EXPECT_TRUE(s.machine.is_ready());
}
TEST(faults, endless_garbage_is_fatal_in_the_end) {
    client_options o;
    o.limits.max_violations = 10;
    script s(o);
    s.become_legacy();
    s.call(1);
    for (int i = 0; i < 10; ++i) s.on(in::message{"x"});
    EXPECT_FALSE(s.machine.is_over());
    s.on(in::message{"x"});
    EXPECT_TRUE(s.machine.is_over());
    ASSERT_TRUE(s.find<out::failed>());
    EXPECT_EQ(s.find<out::failed>()->why.code, errc::protocol_error);
    EXPECT_EQ(s.count<out::done>(), 1u);
}
TEST(faults, random_bytes_and_random_messages_never_break_it) {
    const std::uint64_t seed = 42;
    std::uint64_t x = seed;
    const auto dice = [&] { return (x = x * 6364136223846793005ULL + 1442695040888963407ULL) >> 33; };
    const char* methods[] = {"ping", "elicitation/create", "notifications/progress", "notifications/cancelled", "notifications/tools/list_changed",
                             "notifications/subscriptions/acknowledged", "roots/list", "x"};
    for (int run = 0; run < 200; ++run) {
        script s;
        if (run % 2) s.become_modern(); else s.become_legacy();
        std::size_t finished = 0;
        for (int i = 0; i < 200; ++i) {
            switch (dice() % 7) {
                case 0: s.says({{"id", dice() % 30}, {"result", {{"content", json::array()}}}}); break;
                case 1: s.says({{"id", dice() % 30}, {"error", {{"code", -32000 - static_cast<int>(dice() % 30)}, {"message", "m"}}}}); break;
                case 2: s.says({{"id", dice() % 5}, {"method", methods[dice() % 8]}, {"params", {{"progressToken", dice() % 30}, {"progress", dice() % 9}}}}); break;
                case 3: s.says({{"method", methods[dice() % 8]}, {"params", {{"progressToken", dice() % 30}, {"progress", dice() % 9}, {"requestId", dice() % 5}}}}); break;
                case 4: s.call(1000 + static_cast<call_id>(i), dice() % 2); break;
                case 5: s.wait(seconds(dice() % 20)); break;
                default: s.says({{"id", dice() % 30}, {"result", {{"resultType", "input_required"}, {"requestState", "s"}}}});
            }
            finished += s.count<out::done>();
        }
        s.on(in::closed{{errc::transport_lost, "end"}});
        finished += s.count<out::done>();
        EXPECT_EQ(s.machine.pending_calls(), 0u);
        EXPECT_GT(finished, 0u);
    }
}

TEST(probes, legacy_is_pinged_and_modern_is_discovered) {
    script l;
    l.become_legacy();
    l.on(in::probe{1, milliseconds(5'000), {}});
    l.now += milliseconds(3);
    l.replies(l.expect("ping"), json::object());
    ASSERT_TRUE(l.find<out::probed>());
    EXPECT_TRUE(l.find<out::probed>()->outcome);
    EXPECT_EQ(l.find<out::probed>()->took, milliseconds(3));
    script m;
    m.become_modern();
    m.on(in::probe{1, milliseconds(5'000), {}});
    m.expect("server/discover");
    m.wait(seconds(5));
    ASSERT_TRUE(m.find<out::probed>());
    EXPECT_EQ(m.find<out::probed>()->outcome.error().code, errc::timeout);
}
TEST(probes, a_tool_probe_fails_with_its_tool) {
    script s;
    s.become_legacy();
    s.on(in::probe{1, milliseconds(5'000), {{"method", "tools/call"}, {"params", {{"name", "echo"}}}}});
    s.replies(s.expect("tools/call"), {{"isError", true}, {"content", json::array()}});
    ASSERT_TRUE(s.find<out::probed>());
    EXPECT_FALSE(s.find<out::probed>()->outcome);
}

}  // namespace
}  // namespace holdfast::mcp::test
