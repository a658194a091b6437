// A session as its callers see it: what is answered, published, stored, and restored.
#include "fakes.hpp"

namespace holdfast::sessions::testing {
namespace {

struct session_test : ::testing::Test {
    std::shared_ptr<disk> rows = std::make_shared<disk>();
    std::shared_ptr<deeds> world = std::make_shared<deeds>();
    std::vector<std::string> types(life& l, const std::string& id) {
        std::vector<std::string> out;
        const json page = l.must("events.read", {{"topic", "session:" + id}});
        for (const json& e : page["events"]) out.push_back(string_or(e, "type"));
        return out;
    }
};

TEST_F(session_test, the_model_is_asked_once_the_servers_have_come_up_or_failed) {
    life l(rows, world);
    l.boot();
    const auto tools = l.tools->list;
    l.tools->list = std::make_shared<servers::catalogue>();
    l.tools->connecting = {"demo"};
    l.must("session.create", {{"session_id", "s1"}});
    auto sub = l.bus.subscribe("session:s1");
    ASSERT_TRUE(l.send("s1", "hi"));
    l.rt.advance(seconds(5));
    EXPECT_EQ(l.model->chats, 0) << "its tools are not known yet";
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
    int told = 0;
    for (const auto& i : sub.poll(100)) told += parse_json(i.ev->text())->value("context", json::object()).contains("waiting_for_servers");
    EXPECT_EQ(told, 1) << "whoever watches sees once what it waits for";
    l.tools->connecting.clear();
    l.tools->list = tools;
    l.rt.advance(tool_look);
    ASSERT_EQ(l.model->chats, 1);
    EXPECT_EQ(l.model->last_request["tools"].size(), 2u);
    l.model->end(text_answer("a"));
    l.run();
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
}

TEST_F(session_test, a_turn_that_waits_for_servers_can_be_cancelled) {
    life l(rows, world);
    l.boot();
    l.tools->connecting = {"demo"};
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.must("session.cancel", {{"session_id", "s1"}});
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
    l.tools->connecting.clear();
    l.rt.advance(seconds(1));
    EXPECT_EQ(l.model->chats, 0);
    ASSERT_TRUE(l.send("s1", "again"));
    EXPECT_EQ(l.model->chats, 1);
}

TEST_F(session_test, a_wait_of_zero_asks_the_model_at_once) {
    session_options o;
    o.server_wait = milliseconds(0);
    life l(rows, world, o);
    l.boot();
    l.tools->connecting = {"demo"};
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    EXPECT_EQ(l.model->chats, 1);
}

TEST_F(session_test, words_that_come_faster_than_they_are_published_become_one_event) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    auto sub = l.bus.subscribe("session:s1");
    const auto chunks = [&] {
        std::vector<std::string> out;
        for (const auto& i : sub.poll(100)) {
            const json e = *parse_json(i.ev->text());
            if (e["type"] == "StreamChunkReceived") out.push_back(string_or(e, "chunk"));
        }
        return out;
    };
    for (const char* word : {"one ", "two ", "three "}) {
        l.model->speak(word);
        l.run();
    }
    EXPECT_EQ(chunks(), std::vector<std::string>{"one "}) << "the first word does not wait";
    l.rt.advance(chunk_interval);
    EXPECT_EQ(chunks(), std::vector<std::string>{"two three "});
    l.model->speak("four");
    l.run();
    EXPECT_EQ(l.snapshot("s1")["stream"]["text"], "one two three ");  // what was published, so that nothing is shown twice
    l.model->end(text_answer("one two three four"));
    l.run();
    EXPECT_EQ(chunks(), std::vector<std::string>{"four"}) << "nothing is left behind at the end";
}

TEST_F(session_test, events_of_a_session_at_rest_go_and_the_numbers_stay) {
    session_options o;
    o.keep_events = seconds(60);
    life l(rows, world, o);
    l.boot();
    l.model->automatic = [](const json&) { return text_answer("a"); };
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.rt.advance(seconds(50));
    const json before = l.snapshot("s1");
    EXPECT_FALSE(l.bus.replay("session:s1", 1).events.empty());
    l.rt.advance(seconds(50));
    EXPECT_FALSE(l.bus.replay("session:s1", 1).events.empty()) << "it has been looked at meanwhile";
    l.rt.advance(seconds(20));
    EXPECT_TRUE(l.bus.replay("session:s1", 1).events.empty());
    EXPECT_EQ(l.snapshot("s1"), before);
    const auto at = *l.bus.current("session:s1");
    auto sub = l.bus.subscribe("session:s1", {.from = at.seq + 1, .epoch = at.epoch});
    ASSERT_TRUE(l.send("s1", "again"));
    const auto got = sub.poll(1);
    ASSERT_EQ(got.size(), 1u);
    ASSERT_TRUE(got[0].ev) << "no notice: the numbering went on";
    EXPECT_EQ(got[0].ev->seq(), at.seq + 1);
}

TEST_F(session_test, a_turn_with_a_tool_from_message_to_answer) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}, {"title", "First"}});
    auto sub = l.bus.subscribe("session:s1", {.from = 1});
    const json sent = *l.send("s1", "count please");
    EXPECT_FALSE(string_or(sent, "message_id").empty());
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
    EXPECT_EQ(l.model->last_request["tools"][0]["name"], "demo__count");
    l.model->speak("I ");
    l.run();
    l.model->speak("will.");
    l.rt.advance(chunk_interval);
    json s = l.snapshot("s1");
    EXPECT_EQ(s["stream"]["text"], "I will.");
    json r = tool_answer({{"demo__count", {{"id", "a"}}}});
    r["content"].insert(r["content"].begin(), {{"type", "text"}, {"text", "I will."}});
    l.model->end(r);
    l.run();
    s = l.snapshot("s1");
    EXPECT_EQ(s["state"], "awaiting_permission");
    ASSERT_EQ(s["pending"].size(), 1u);
    EXPECT_TRUE(world->done.empty());
    const json request = s["pending"][0]["request_id"];
    const json won = l.must("session.resolve", {{"session_id", "s1"}, {"request_id", request}, {"decision", "allow_once"}}, {"local", "web"});
    EXPECT_EQ(won["resolved_by"], "web");
    const json lost = l.must("session.resolve", {{"session_id", "s1"}, {"request_id", request}, {"decision", "deny"}}, {"local", "tui"});
    EXPECT_EQ(lost, (json{{"request_id", request}, {"decision", "allow_once"}, {"resolved_by", "web"}, {"first", false}}));
    EXPECT_EQ(world->done.size(), 1u);
    l.tools->finish(json{{"content", json::array({{{"type", "text"}, {"text", "1 line"}}})}});
    l.run();
    const json& m = l.model->last_request["messages"];
    EXPECT_EQ(m.back()["role"], "tool");
    EXPECT_EQ(m.back()["content"][0]["text"], "1 line");
    l.model->end(text_answer("One."));
    l.run();
    s = l.snapshot("s1");
    EXPECT_EQ(s["state"], "idle");
    EXPECT_EQ(s["messages"].back()["text"], "One.");
    EXPECT_EQ(s["stats"]["tool_calls"], 1);
    // Numbers without holes, the snapshot's being the newest.
    std::uint64_t next = 1;
    std::vector<std::string> seen;
    for (auto b = sub.next(64); !b.empty(); b = sub.next(64))
        for (const auto& e : b.events) {
            EXPECT_EQ(e->seq(), next++);
            seen.push_back(e->type());
        }
    EXPECT_EQ(s["seq"], next - 1);
    const std::vector<std::string> expected{
        "SessionStarted", "MessageAdded", "MessageAdded", "SessionStateChanged", "StreamChunkReceived", "StreamChunkReceived", "StreamCompleted",
        "PermissionRequired", "SessionStateChanged", "PermissionResolved", "ToolCallIntent", "SessionStateChanged", "MCPToolExecuted", "MessageAdded",
        "SessionStateChanged", "StreamCompleted", "SessionStateChanged"};
    EXPECT_EQ(seen, expected);
}

TEST_F(session_test, two_subscribers_see_identical_numbered_events) {
    life l(rows, world);
    l.boot();
    l.model->automatic = [](const json&) { return text_answer("hello there"); };
    auto a = l.bus.subscribe("session:s1", {.from = 1});
    auto b = l.bus.subscribe("session:*");
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    const auto texts = [](events::subscription& s) {
        std::vector<std::string> out;
        for (const auto& i : s.poll(1000))
            if (i.ev && i.ev->topic() == "session:s1") out.push_back(i.ev->text());
        return out;
    };
    const auto of_a = texts(a);
    EXPECT_GE(of_a.size(), 5u);
    EXPECT_EQ(of_a, texts(b));
}

TEST_F(session_test, an_answer_means_that_it_is_stored) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    const json sent = *l.send("s1", "hi", "k1");
    const json& row = rows->streams["session:s1"].at(sent["seq"].get<std::uint64_t>());
    EXPECT_EQ(row["data"]["message_id"], sent["message_id"]);
    EXPECT_EQ(*l.send("s1", "hi", "k1"), sent);
    l.cut();
    life m(rows, world, {}, seconds(10));
    m.boot();
    EXPECT_EQ(*m.send("s1", "hi", "k1"), sent);
}

TEST_F(session_test, a_key_older_than_memory_is_found_in_the_store) {
    session_options o;
    o.recent_messages = 4;
    life l(rows, world, o);
    l.boot();
    l.model->automatic = [](const json&) { return text_answer("a"); };
    l.must("session.create", {{"session_id", "s1"}});
    const json first = *l.send("s1", "m", "key-0");
    for (int i = 1; i < 300; ++i) ASSERT_TRUE(l.send("s1", "m", "key-" + std::to_string(i)));
    const std::size_t before = rows->streams["session:s1"].size();
    EXPECT_EQ(*l.send("s1", "m", "key-0"), first);
    EXPECT_EQ(rows->streams["session:s1"].size(), before);
    const json h = l.must("session.history", {{"session_id", "s1"}, {"limit", 10}, {"before", 100}});
    EXPECT_EQ(h["messages"].size(), 10u);
    EXPECT_EQ(h["has_more"], true);
    for (const json& m : h["messages"]) EXPECT_LT(m["seq"].get<int>(), 100);
    EXPECT_EQ(h["messages"].back()["status"], "complete");
}

TEST_F(session_test, a_read_only_store_refuses_and_nothing_is_half_done) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    const auto at = l.bus.current("session:s1");
    l.store->read_only = true;
    EXPECT_EQ(l.send("s1", "hi").error().code, errc::read_only);
    EXPECT_EQ(l.bus.current("session:s1"), at);
    EXPECT_EQ(l.snapshot("s1")["messages"].size(), 0u);
    EXPECT_EQ(l.model->chats, 0);
    EXPECT_EQ(l.call("session.create", {{"session_id", "s2"}}).error().code, errc::read_only);
    l.store->read_only = false;
    EXPECT_TRUE(l.send("s1", "hi"));
    l.must("session.create", {{"session_id", "s2"}});
}

TEST_F(session_test, what_nobody_can_repeat_waits_for_the_store) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.store->read_only = true;
    l.model->end(text_answer("the answer"));
    l.run();
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
    EXPECT_EQ(l.send("s1", "more").error().code, errc::read_only);
    l.rt.advance(seconds(5));
    l.store->read_only = false;
    l.rt.advance(seconds(2));
    EXPECT_EQ(l.snapshot("s1")["messages"].back()["text"], "the answer");
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
}

TEST_F(session_test, an_append_that_failed_without_saying_is_looked_up) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    l.store->failure = errc::timeout;
    l.store->fail_appends = 1;
    l.store->written_anyway = true;
    auto sent = l.send("s1", "hi");
    ASSERT_TRUE(sent);
    EXPECT_EQ(l.snapshot("s1")["messages"].size(), 2u);
    l.model->end(text_answer("a"));
    l.run();
    l.store->fail_appends = 1;
    l.store->written_anyway = false;
    EXPECT_EQ(l.send("s1", "again").error().code, errc::timeout);
    EXPECT_EQ(l.snapshot("s1")["messages"].size(), 2u);
    EXPECT_TRUE(l.send("s1", "again"));
}

TEST_F(session_test, a_failed_stream_is_an_event_and_the_partial_text_is_kept) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.model->speak("half an ans");
    l.run();
    l.model->end(fail(errc::transport_lost, "connection reset"));
    l.run();
    const json s = l.snapshot("s1");
    EXPECT_EQ(s["state"], "idle");
    EXPECT_EQ(s["messages"].back()["text"], "half an ans");
    EXPECT_EQ(s["messages"].back()["status"], "interrupted");
    EXPECT_EQ(types(l, "s1").back(), "ErrorOccurred");
}

TEST_F(session_test, no_stream_stalls_silently) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.rt.advance(seconds(100));
    l.model->speak("still here");
    l.rt.advance(seconds(100));
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
    l.rt.advance(seconds(21));
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
    EXPECT_EQ(l.model->cancelled.size(), 1u);
}

TEST_F(session_test, a_cut_stream_keeps_its_saved_text_marked_interrupted) {
    {
        life l(rows, world);
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        ASSERT_TRUE(l.send("s1", "hi"));
        l.model->speak("saved text");
        l.rt.advance(milliseconds(300));
        l.model->speak(" lost text");
        l.run();
        l.cut();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    const json s = l.snapshot("s1");
    EXPECT_EQ(s["state"], "idle");
    EXPECT_EQ(s["messages"].back()["text"], "saved text");
    EXPECT_EQ(s["messages"].back()["status"], "interrupted");
    EXPECT_EQ(types(l, "s1").back(), "ErrorOccurred");
}

TEST_F(session_test, numbering_goes_on_in_a_new_epoch_after_a_restart) {
    std::uint64_t epoch = 0;
    {
        life l(rows, world);
        l.boot();
        l.model->automatic = [](const json&) { return text_answer("a"); };
        l.must("session.create", {{"session_id", "s1"}});
        ASSERT_TRUE(l.send("s1", "hi"));
        epoch = l.snapshot("s1")["epoch"];
        l.cut();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    const std::uint64_t last = rows->streams["session:s1"].rbegin()->first;
    const json s = l.snapshot("s1");
    EXPECT_GT(s["epoch"].get<std::uint64_t>(), epoch);
    EXPECT_EQ(s["seq"], last);
    EXPECT_EQ((*l.send("s1", "again"))["seq"], last + 1);
}

TEST_F(session_test, cancel_stops_the_model_and_keeps_what_it_said) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    EXPECT_EQ(l.must("session.cancel", {{"session_id", "s1"}})["cancelled"], false);
    ASSERT_TRUE(l.send("s1", "hi"));
    l.model->speak("half");
    l.run();
    EXPECT_EQ(l.must("session.cancel", {{"session_id", "s1"}})["cancelled"], true);
    EXPECT_EQ(l.model->cancelled.size(), 1u);
    EXPECT_EQ(l.snapshot("s1")["messages"].back()["text"], "half");
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
}

TEST_F(session_test, a_permission_times_out_in_simulated_time) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.model->end(tool_answer({{"demo__count", {{"id", "a"}}}}));
    l.run();
    l.rt.advance(milliseconds(29'900));
    EXPECT_EQ(l.snapshot("s1")["state"], "awaiting_permission");
    l.rt.advance(milliseconds(200));
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
    EXPECT_TRUE(world->done.empty());
    EXPECT_NE(dump(l.model->last_request["messages"].back()).find("nobody answered"), std::string::npos);
}

TEST_F(session_test, a_tool_asks_and_any_ui_answers) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    l.must("session.configure", {{"session_id", "s1"}, {"allow", {"demo/*"}}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.model->end(tool_answer({{"demo__echo", json::object()}}));
    l.run();
    l.tools->pending.begin()->second.second.input({"q1", "elicitation/create", {{"message", "Your name?"}, {"requestedSchema", {{"type", "object"}}}}});
    l.tools->pending.begin()->second.second.input({"q2", "no/such", json::object()});
    l.run();
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_EQ(l.tools->answers[0].first, "q2");
    EXPECT_EQ(l.tools->answers[0].second["error"]["code"], -32601);
    const json p = l.snapshot("s1")["pending"][0];
    EXPECT_EQ(p["kind"], "input");
    EXPECT_EQ(p["prompt"], "Your name?");
    l.must("session.input", {{"session_id", "s1"}, {"request_id", p["request_id"]}, {"action", "accept"}, {"content", {{"name", "Ada"}}}});
    ASSERT_EQ(l.tools->answers.size(), 2u);
    EXPECT_EQ(l.tools->answers[1], (std::pair<std::string, json>{"q1", {{"action", "accept"}, {"content", {{"name", "Ada"}}}}}));
    EXPECT_EQ(l.snapshot("s1")["state"], "running_tool");
}

/// A tool that runs and asks for an answer of the model.
struct sampling_test : session_test {
    life l{rows, world};
    std::string request;

    void SetUp() override {
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        l.must("session.configure", {{"session_id", "s1"}, {"allow", {"demo/*"}}});
        ASSERT_TRUE(l.send("s1", "hi"));
        l.model->end(tool_answer({{"demo__echo", json::object()}}));
        l.run();
        l.tools->pending.begin()->second.second.input(
            {"q", "sampling/createMessage",
             {{"messages", json::array({{{"role", "user"}, {"content", {{"type", "text"}, {"text", "say something"}}}}})}, {"maxTokens", 20}, {"systemPrompt", "Be a cow."}}});
        l.run();
        const json p = l.snapshot("s1")["pending"][0];
        EXPECT_EQ(p["kind"], "sampling");
        EXPECT_EQ(p["arguments"]["system_prompt"], "Be a cow.");
        request = p["request_id"];
        EXPECT_EQ(l.model->chats, 1) << "nobody has allowed it yet";
    }
    void resolve(const char* decision) { l.must("session.resolve", {{"session_id", "s1"}, {"request_id", request}, {"decision", decision}}); }
};

TEST_F(sampling_test, the_session_s_model_answers_a_tool_once_a_person_allows_it) {
    resolve("allow_once");
    ASSERT_EQ(l.model->chats, 2);
    EXPECT_EQ(l.model->last_request["system"], "Be a cow.");
    EXPECT_EQ(l.model->last_request["max_tokens"], 20);
    EXPECT_TRUE(l.model->last_request["tools"].empty()) << "the tools of the session are not the server's to use";
    l.model->speak("moo");
    l.model->end(text_answer("moo"));
    l.run();
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_EQ(l.tools->answers[0].first, "q");
    EXPECT_EQ(l.tools->answers[0].second["content"]["text"], "moo");
    EXPECT_EQ(types(l, "s1").back(), "SamplingCompleted");
    EXPECT_EQ(l.snapshot("s1")["state"], "running_tool");
    l.tools->finish(json{{"content", json::array()}});
    l.run();
    EXPECT_EQ(l.model->chats, 3);
}

TEST_F(sampling_test, declined_the_model_is_not_asked) {
    resolve("deny");
    EXPECT_EQ(l.model->chats, 1);
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_EQ(l.tools->answers[0].second["error"], (json{{"code", -1}, {"message", "User rejected sampling request"}}));
}

TEST_F(sampling_test, what_went_wrong_with_the_model_has_a_name) {
    resolve("allow_once");
    l.model->end(fail(errc::rate_limited, "too many requests"));
    l.run();
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_NE(string_or(l.tools->answers[0].second["error"], "message").find("too many requests"), std::string::npos);
}

TEST_F(sampling_test, cancelling_the_turn_cancels_it) {
    resolve("allow_once");
    l.must("session.cancel", {{"session_id", "s1"}});
    EXPECT_EQ(l.model->cancelled, std::vector<std::uint64_t>{2});
    EXPECT_TRUE(l.tools->answers.empty());
    EXPECT_EQ(l.snapshot("s1")["state"], "idle");
}

TEST_F(sampling_test, a_tool_that_ends_meanwhile_cancels_it) {
    resolve("allow_once");
    l.tools->finish(fail(errc::timeout, "no answer within 60 s"));
    l.run();
    EXPECT_EQ(l.model->cancelled, std::vector<std::uint64_t>{2});
    EXPECT_TRUE(l.tools->answers.empty());
    EXPECT_EQ(l.model->chats, 3) << "the session goes on";
}

TEST_F(sampling_test, a_server_that_no_longer_waits_is_not_asked_about) {
    l.tools->pending.begin()->second.second.withdrawn("q");
    l.run();
    EXPECT_TRUE(l.snapshot("s1")["pending"].empty());
    EXPECT_TRUE(l.tools->answers.empty()) << "there is nobody to answer";
    const json late = l.must("session.resolve", {{"session_id", "s1"}, {"request_id", request}, {"decision", "allow_once"}});
    EXPECT_EQ(late["first"], false);
    EXPECT_EQ(late["resolved_by"], "the server");
}

TEST_F(sampling_test, a_server_that_no_longer_waits_stops_the_model) {
    resolve("allow_once");
    l.tools->pending.begin()->second.second.withdrawn("other");
    l.run();
    EXPECT_TRUE(l.model->cancelled.empty());
    l.tools->pending.begin()->second.second.withdrawn("q");
    l.run();
    EXPECT_EQ(l.model->cancelled, std::vector<std::uint64_t>{2});
    EXPECT_EQ(l.snapshot("s1")["state"], "running_tool");
}

TEST_F(sampling_test, a_silent_model_is_given_up) {
    resolve("allow_once");
    l.rt.advance(seconds(100));
    l.model->speak("m");
    l.rt.advance(seconds(100));
    EXPECT_TRUE(l.tools->answers.empty()) << "it has spoken";
    l.rt.advance(seconds(150));
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_NE(string_or(l.tools->answers[0].second["error"], "message").find("said nothing for 120 seconds"), std::string::npos);
    EXPECT_EQ(l.model->cancelled, std::vector<std::uint64_t>{2});
}

TEST_F(sampling_test, nobody_is_there_to_allow_it) {
    l.rt.advance(seconds(31));
    ASSERT_EQ(l.tools->answers.size(), 1u);
    EXPECT_EQ(l.tools->answers[0].second["error"]["code"], -1);
    EXPECT_EQ(l.model->chats, 1);
}

TEST_F(session_test, commands_and_aliases_persist) {
    {
        life l(rows, world);
        l.boot();
        l.model->automatic = [](const json&) { return text_answer("a"); };
        l.must("session.create", {{"session_id", "s1"}});
        const auto run = [&](const std::string& c) { return l.call("session.command", {{"session_id", "s1"}, {"command", c}}); };
        EXPECT_NE(string_or(*run("/help"), "text").find("/model"), std::string::npos);
        EXPECT_NE(string_or(*run("/model"), "text").find("fake"), std::string::npos);
        EXPECT_EQ(run("/model nobody").error().code, errc::invalid_argument);
        EXPECT_TRUE(run("/model fake"));
        EXPECT_TRUE(run("/title The title"));
        EXPECT_TRUE(run("/allow demo/echo"));
        EXPECT_NE(string_or(*run("/tools"), "text").find("demo/count"), std::string::npos);
        EXPECT_TRUE(run("/alias greet say hello to $1"));
        EXPECT_TRUE(run("/alias t /title $*"));
        EXPECT_EQ(run("/alias help nope").error().code, errc::invalid_argument);
        EXPECT_EQ(run("/nothing").error().code, errc::command_not_found);
        EXPECT_TRUE((*run("/greet Ada"))["data"].contains("sent"));
        EXPECT_EQ(l.snapshot("s1")["messages"][0]["text"], "say hello to Ada");
        EXPECT_TRUE(run("/t By alias"));
        l.must("history.add", {{"line", "first"}});
        l.must("history.add", {{"line", "second"}});
        l.cut();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    EXPECT_EQ(l.must("alias.list", json::object())["aliases"]["greet"], "say hello to $1");
    EXPECT_EQ(l.must("history.list", {{"limit", 1}})["lines"], json::array({"second"}));
    const json s = l.snapshot("s1");
    EXPECT_EQ(s["title"], "By alias");
    EXPECT_EQ(s["llm"], "fake");
    EXPECT_EQ(s["allow"], json::array({"demo/echo"}));
}

TEST_F(session_test, a_session_restricted_to_servers_offers_no_other_tools) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}, {"servers", {"other"}}});
    ASSERT_TRUE(l.send("s1", "hi"));
    EXPECT_TRUE(l.model->last_request["tools"].empty());
    l.model->end(tool_answer({{"demo__count", json::object()}}));
    l.run();
    EXPECT_TRUE(world->done.empty());
    EXPECT_EQ(l.snapshot("s1")["state"], "thinking");
}

}  // namespace
}  // namespace holdfast::sessions::testing
