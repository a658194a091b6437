// Error -32042 of 2025-11-25: a person has to visit a URL first. And batches, which only 2025-03-26 has.
#include "scripted_server.hpp"

namespace holdfast::mcp::test {
namespace {

json url(const char* id) { return {{"mode", "url"}, {"elicitationId", id}, {"url", "https://example.com/" + std::string(id)}, {"message", "go"}}; }

struct visiting : script {
    json first;
    visiting() {
        become_legacy();
        call(1, true, milliseconds(1'000));
        first = expect("tools/call");
    }
    void wants(std::vector<json> elicitations) { refuses(first, -32042, {{"elicitations", elicitations}}); }
    std::vector<out::input> asked() const {
        std::vector<out::input> all;
        for (const auto& a : other)
            if (auto* i = std::get_if<out::input>(&a)) all.push_back(*i);
        return all;
    }
    void complete(const char* id) { says({{"method", "notifications/elicitation/complete"}, {"params", {{"elicitationId", id}}}}); }
};

TEST(urls, the_caller_is_asked_and_the_call_goes_on_when_the_server_says_it_is_done) {
    visiting s;
    s.wants({url("e1"), url("e2")});
    const auto asked = s.asked();
    ASSERT_EQ(asked.size(), 2u);
    EXPECT_EQ(asked[0].method, "elicitation/create");
    EXPECT_EQ(asked[0].params, url("e1"));
    EXPECT_TRUE(asked[0].more);
    EXPECT_FALSE(asked[1].more);
    s.wait(seconds(30));  // the call's own clock stands still
    s.on(in::answer{1, asked[0].key, {{"action", "accept"}}});
    s.complete("e1");
    s.on(in::answer{1, asked[1].key, {{"action", "accept"}}});
    EXPECT_TRUE(s.sent.empty());
    s.complete("e9");
    EXPECT_TRUE(s.sent.empty());
    s.complete("e2");
    EXPECT_TRUE(s.find<out::notice>());
    const json second = s.expect("tools/call");
    EXPECT_NE(second["id"], s.first["id"]);
    EXPECT_EQ(second["params"], s.first["params"]);
    s.replies(second, {{"content", json::array()}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_TRUE(s.find<out::done>()->outcome);
}
TEST(urls, a_question_of_the_server_is_about_another_call_than_the_one_that_waits) {
    script s;
    s.become_legacy();
    s.call(1, true);
    s.expect("tools/call");
    s.call(2, true);
    s.refuses(s.expect("tools/call"), -32042, {{"elicitations", {url("e1")}}});
    ASSERT_TRUE(s.find<out::input>());
    const std::string visit = s.find<out::input>()->key;
    s.says({{"id", 7}, {"method", "elicitation/create"}, {"params", {{"message", "which?"}, {"requestedSchema", {{"type", "object"}}}}}});
    ASSERT_TRUE(s.find<out::input>());
    EXPECT_EQ(s.find<out::input>()->id, 1u) << "the newer one has been answered: nothing can be asked about it";
    s.on(in::answer{2, visit, {{"action", "accept"}}});
    s.says({{"method", "notifications/elicitation/complete"}, {"params", {{"elicitationId", "e1"}}}});
    s.expect("tools/call");
}
TEST(urls, a_question_beside_it_that_is_settled_last_does_not_hold_the_call) {
    for (const bool answered : {true, false}) {
        script s;
        s.become_legacy();
        s.call(1, true);
        s.expect("tools/call");
        s.call(2, true);
        const json second = s.expect("tools/call");
        s.says({{"id", 7}, {"method", "elicitation/create"}, {"params", {{"message", "which?"}, {"requestedSchema", {{"type", "object"}}}}}});
        ASSERT_TRUE(s.find<out::input>());
        EXPECT_EQ(s.find<out::input>()->id, 2u) << "it may well be about the first";
        const std::string question = s.find<out::input>()->key;
        s.refuses(second, -32042, {{"elicitations", {url("e1")}}});
        ASSERT_TRUE(s.find<out::input>());
        s.on(in::answer{2, s.find<out::input>()->key, {{"action", "accept"}}});
        EXPECT_TRUE(s.sent.empty());
        if (answered) {
            s.on(in::answer{2, question, {{"action", "accept"}, {"content", json::object()}}});
            ASSERT_EQ(s.sent.size(), 1u);
            EXPECT_EQ(s.sent.front()["id"], 7);
            s.sent.clear();
        } else {
            s.says({{"method", "notifications/cancelled"}, {"params", {{"requestId", 7}}}});
            EXPECT_TRUE(s.find<out::input_withdrawn>());
        }
        s.says({{"method", "notifications/elicitation/complete"}, {"params", {{"elicitationId", "e1"}}}});
        EXPECT_EQ(s.expect("tools/call")["params"], second["params"]);
    }
}
TEST(urls, one_that_is_done_before_the_caller_has_answered_does_not_make_it_wait) {
    visiting s;
    s.wants({url("e1")});
    const auto asked = s.asked();
    s.complete("e1");
    EXPECT_TRUE(s.sent.empty());
    s.on(in::answer{1, asked[0].key, {{"action", "accept"}}});
    s.expect("tools/call");
}
TEST(urls, without_news_it_is_tried_again_and_may_be_asked_again_but_not_for_ever) {
    visiting s;
    json request = s.first;
    for (int round = 0; round < 16; ++round) {
        s.refuses(request, -32042, {{"elicitations", {url("e1")}}});
        ASSERT_EQ(s.asked().size(), 1u) << round;
        s.on(in::answer{1, s.asked()[0].key, {{"action", "accept"}}});
        s.wait(milliseconds(59'999));
        EXPECT_TRUE(s.sent.empty());
        s.wait(milliseconds(1));
        request = s.expect("tools/call");
    }
    s.refuses(request, -32042, {{"elicitations", {url("e1")}}});
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->answered->code, -32042);
}
TEST(urls, a_refused_visit_ends_the_call) {
    for (const json& answer : {json{{"action", "decline"}}, json{{"error", {{"code", -1}}}}}) {
        visiting s;
        s.wants({url("e1")});
        s.on(in::answer{1, s.asked()[0].key, answer});
        ASSERT_TRUE(s.find<out::done>());
        EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::cancelled);
        EXPECT_TRUE(s.sent.empty());
    }
}
TEST(urls, nobody_waits_for_a_person_for_ever) {
    visiting s;
    s.wants({url("e1")});
    s.wait(seconds(600));
    ASSERT_TRUE(s.find<out::done>());
    EXPECT_EQ(s.find<out::done>()->outcome.error().code, errc::timeout);
    EXPECT_TRUE(s.find<out::input_withdrawn>());
}
TEST(urls, what_is_no_such_refusal_is_an_error_like_any_other) {
    const std::vector<json> wrong{nullptr, json::object(), {{"elicitations", json::array()}}, {{"elicitations", {5}}},
                                  {{"elicitations", {{{"mode", "form"}, {"elicitationId", "e"}, {"url", "x"}}}}}};
    for (const json& data : wrong) {
        visiting s;
        s.refuses(s.first, -32042, data);
        EXPECT_TRUE(s.find<out::done>()) << data;
    }
    script alone;
    alone.become_legacy();
    alone.call(1);
    alone.refuses(alone.expect("tools/call"), -32042, {{"elicitations", {url("e1")}}});
    EXPECT_TRUE(alone.find<out::done>()) << "nobody is there to ask";
}

struct old_batches : script {
    explicit old_batches(const char* version) {
        on(in::opened{});
        refuses(expect("server/discover"), -32601);
        replies(expect("initialize"), {{"protocolVersion", version}, {"capabilities", {{"tools", json::object()}}}});
        expect("notifications/initialized");
        replies(expect("tools/list"), {{"tools", json::array({tool("echo")})}});
        call(1);
        call(2);
    }
    void answers_both() {
        json batch = json::array({5});
        for (int i = 0; i < 2; ++i) batch.push_back({{"jsonrpc", "2.0"}, {"id", expect("tools/call")["id"]}, {"result", {{"content", json::array()}}}});
        on(in::message{dump(batch)});
    }
};
TEST(batches, are_taken_from_the_one_revision_that_has_them) {
    old_batches s("2025-03-26");
    s.answers_both();
    EXPECT_EQ(s.count<out::done>(), 2u);
    EXPECT_EQ(s.machine.counters().garbage, 1u) << "what is no message in it";
    s.on(in::message{"[[["});
    s.on(in::message{"[]"});
    EXPECT_EQ(s.machine.counters().garbage, 2u);
    old_batches other("2025-06-18");
    other.answers_both();
    EXPECT_EQ(other.count<out::done>(), 0u);
    EXPECT_EQ(other.machine.counters().garbage, 1u);
}

}  // namespace
}  // namespace holdfast::mcp::test
