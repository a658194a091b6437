// The turn machine: every state against every input, and the rules of the ledger.
#include "sessions/turn_decision.hpp"

#include <gtest/gtest.h>

#include <set>

namespace holdfast::sessions {
namespace {

json text_answer(const std::string& text) {
    return {{"model", "m"}, {"stop_reason", "end_turn"}, {"content", json::array({{{"type", "text"}, {"text", text}}})},
            {"usage", {{"input_tokens", 3}, {"output_tokens", 2}, {"cached_tokens", 1}}}};
}
json tool_part(const std::string& id, const std::string& name, json input = {{"text", "x"}}) {
    return {{"type", "tool_use"}, {"id", id}, {"name", name}, {"input", std::move(input)}};
}
// A vector: gcc and clang disagree on what json{one json} is.
json tool_answer(std::vector<json> parts, const std::string& stop = "tool_use") { return {{"model", "m"}, {"stop_reason", stop}, {"content", parts}, {"usage", json::object()}}; }
json tool_result_of(const std::string& text) { return {{"content", json::array({{{"type", "text"}, {"text", text}}})}}; }

/// A machine with its context, advanced input by input.
struct machine {
    session_options options;
    session_state state;
    std::vector<session_event> log;
    std::vector<session_effect> effects;
    std::vector<std::pair<std::uint64_t, session_event>> durable;
    std::int64_t now = 1'800'000'000'000;
    int ids = 0;
    std::shared_ptr<servers::catalogue> tools = std::make_shared<servers::catalogue>();
    result<json> reply = json::object();

    machine() {
        state.id = "s1";
        for (const char* name : {"echo", "count"}) tools->tools.push_back({"demo", name, "", "", {{"type", "object"}}, {}, std::string("hash-") + name});
        step(input::create{"local", {}});
    }
    turn_outcome peek(const session_input& in) {
        turn_context c;
        c.wall_ms = now;
        c.next_seq = state.last_durable + 1;
        c.options = &options;
        c.new_id = [this](std::string_view p) { return std::string(p) + std::to_string(++ids); };
        c.tools = tools;
        return decide(state, in, c);
    }
    machine& step(const session_input& in) {
        turn_outcome out = peek(in);
        std::uint64_t n = state.last_durable;
        for (const auto& e : out.events) durable.emplace_back(++n, e);
        log = out.events;
        effects = out.effects;
        reply = out.reply;
        state = out.next;
        return *this;
    }
    std::string streaming() const { return state.streaming; }
    std::string types() const {
        std::string out;
        for (const auto& e : log) out += (out.empty() ? "" : " ") + e.type;
        return out;
    }
    template <class E>
    std::vector<E> effects_of() const {
        std::vector<E> out;
        for (const auto& e : effects)
            if (auto* x = std::get_if<E>(&e)) out.push_back(*x);
        return out;
    }
    const tool_use& call(const std::string& id) const { return *state.find_call(id); }

    machine& say(const std::string& text, const std::string& key = {}) { return step(input::user_message{text, key, "cli"}); }
    machine& model(json r) { return step(input::model_done{streaming(), std::move(r), 5}); }
    machine& answer(const std::string& decision, const std::string& by = "web", std::string pattern = {}) {
        return step(input::answer{state.pending.at(0).request_id, decision, std::move(pattern), by, {}});
    }
};

machine idle() { return {}; }
machine thinking() { machine m; m.say("hi"); return m; }
machine asked() { machine m = thinking(); m.model(tool_answer({tool_part("c1", "demo__echo")})); return m; }
machine running() { machine m = asked(); m.answer("allow_once"); return m; }
machine questioned() { machine m = running(); m.step(input::tool_asks{"c1", {"k", "elicitation/create", {{"message", "name?"}, {"requestedSchema", {{"type", "object"}}}}}}); return m; }

json sampling_params() {
    return {{"messages", json::array({{{"role", "user"}, {"content", {{"type", "text"}, {"text", "say something"}}}}})}, {"maxTokens", 20}};
}
machine sampling(json params = sampling_params()) {
    machine m = running();
    m.step(input::tool_asks{"c1", {"k", "sampling/createMessage", std::move(params)}});
    return m;
}

struct named_input {
    const char* name;
    std::function<session_input(machine&)> make;
};
std::vector<named_input> inputs() {
    const auto first_request = [](machine& m) { return m.state.pending.empty() ? std::string("none") : m.state.pending[0].request_id; };
    return {
        {"user_message", [](machine&) { return input::user_message{"more", "", "cli"}; }},
        {"model_text", [](machine& m) { return input::model_done{m.streaming().empty() ? "gone" : m.streaming(), text_answer("ok"), 1}; }},
        {"model_tool", [](machine& m) { return input::model_done{m.streaming().empty() ? "gone" : m.streaming(), tool_answer({tool_part("c9", "demo__count")}), 1}; }},
        {"model_failed", [](machine& m) { return input::model_failed{m.streaming().empty() ? "gone" : m.streaming(), {errc::timeout, "silent"}, "half"}; }},
        {"allow", [=](machine& m) { return input::answer{first_request(m), "allow_once", "", "web", {}}; }},
        {"deny", [=](machine& m) { return input::answer{first_request(m), "deny", "", "web", {}}; }},
        {"accept", [=](machine& m) { return input::answer{first_request(m), "accept", "", "web", json::object()}; }},
        {"expire", [](machine& m) { m.now += 60'000; return input::expire{}; }},
        {"tool_result", [](machine&) { return input::tool_done{"c1", tool_result_of("done"), true, 3}; }},
        {"tool_lost", [](machine&) { return input::tool_done{"c1", fail(errc::transport_lost, "gone"), true, 3}; }},
        {"tool_asks", [](machine&) { return input::tool_asks{"c1", {"k2", "elicitation/create", {{"message", "?"}}}}; }},
        {"tool_samples", [](machine&) { return input::tool_asks{"c1", {"k3", "sampling/createMessage", sampling_params()}}; }},
        {"withdraws", [](machine&) { return input::tool_withdraws{"c1", "k"}; }},
        {"sampled", [](machine&) { return input::sampled{"c1", "k", std::make_shared<sampling_request>(), text_answer("moo"), 2}; }},
        {"cancel", [](machine&) { return input::cancel{"web", "half"}; }},
        {"restored", [](machine&) { return input::restored{"half"}; }},
        {"configure", [](machine&) { input::configure c; c.title = "t"; return c; }},
        {"end", [](machine&) { return input::end{"bye"}; }},
    };
}

TEST(turn_machine, every_state_against_every_input) {
    const std::map<std::string, std::function<machine()>> states{
        {"idle", idle}, {"thinking", thinking}, {"asked", asked}, {"running", running}, {"questioned", questioned},
        {"sampling", [] { return sampling(); }}};
    // "state input" → "phase after: events". What is not listed changes nothing.
    const std::map<std::string, std::string> table{
        {"idle user_message", "thinking: MessageAdded MessageAdded"},
        {"idle configure", "idle: SessionConfigured"},
        {"idle end", "idle: SessionEnded"},
        {"thinking user_message", "thinking: MessageAdded"},
        {"thinking model_text", "idle: StreamCompleted"},
        {"thinking model_tool", "awaiting_permission: StreamCompleted PermissionRequired"},
        {"thinking model_failed", "idle: MessageUpdated ErrorOccurred"},
        {"thinking cancel", "idle: MessageUpdated"},
        {"thinking restored", "idle: MessageUpdated ErrorOccurred"},
        {"thinking configure", "thinking: SessionConfigured"},
        {"thinking end", "idle: MessageUpdated SessionEnded"},
        {"asked user_message", "awaiting_permission: MessageAdded"},
        {"asked allow", "running_tool: PermissionResolved ToolCallIntent"},
        {"asked deny", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"asked expire", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"asked cancel", "idle: PermissionResolved MCPToolExecuted"},
        {"asked restored", "awaiting_permission: PermissionRequired"},
        {"asked configure", "awaiting_permission: SessionConfigured"},
        {"asked end", "idle: PermissionResolved MCPToolExecuted SessionEnded"},
        {"running user_message", "running_tool: MessageAdded"},
        {"running tool_result", "thinking: MCPToolExecuted MessageAdded"},
        {"running tool_lost", "thinking: MCPToolExecuted MessageAdded"},
        {"running tool_asks", "awaiting_permission: PermissionRequired"},
        {"running tool_samples", "awaiting_permission: PermissionRequired"},
        {"running sampled", "running_tool: SamplingCompleted"},
        {"running cancel", "idle: MCPToolExecuted"},
        {"running restored", "idle: MCPToolExecuted ErrorOccurred"},
        {"running configure", "running_tool: SessionConfigured"},
        {"running end", "idle: MCPToolExecuted SessionEnded"},
        {"questioned user_message", "awaiting_permission: MessageAdded"},
        {"questioned accept", "running_tool: PermissionResolved"},
        {"questioned expire", "running_tool: PermissionResolved"},
        {"questioned tool_result", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"questioned tool_lost", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"questioned tool_asks", "awaiting_permission: PermissionRequired"},
        {"questioned tool_samples", "awaiting_permission: PermissionRequired"},
        {"questioned sampled", "awaiting_permission: SamplingCompleted"},
        {"questioned withdraws", "running_tool: PermissionResolved"},
        {"questioned cancel", "idle: PermissionResolved MCPToolExecuted"},
        {"questioned restored", "idle: PermissionResolved MCPToolExecuted ErrorOccurred"},
        {"questioned configure", "awaiting_permission: SessionConfigured"},
        {"questioned end", "idle: PermissionResolved MCPToolExecuted SessionEnded"},
        {"sampling user_message", "awaiting_permission: MessageAdded"},
        {"sampling allow", "running_tool: PermissionResolved"},
        {"sampling deny", "running_tool: PermissionResolved"},
        {"sampling expire", "running_tool: PermissionResolved"},
        {"sampling tool_result", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"sampling tool_lost", "thinking: PermissionResolved MCPToolExecuted MessageAdded"},
        {"sampling tool_asks", "awaiting_permission: PermissionRequired"},
        {"sampling tool_samples", "awaiting_permission: PermissionRequired"},
        {"sampling sampled", "awaiting_permission: SamplingCompleted"},
        {"sampling withdraws", "running_tool: PermissionResolved"},
        {"sampling cancel", "idle: PermissionResolved MCPToolExecuted"},
        {"sampling restored", "idle: PermissionResolved MCPToolExecuted ErrorOccurred"},
        {"sampling configure", "awaiting_permission: SessionConfigured"},
        {"sampling end", "idle: PermissionResolved MCPToolExecuted SessionEnded"},
    };
    for (const auto& [state, make] : states)
        for (const auto& in : inputs()) {
            machine m = make();
            const std::string before(to_string(m.state.now()));
            m.step(in.make(m));
            const std::string cell = state + " " + in.name;
            const auto expected = table.find(cell);
            const std::string got = std::string(to_string(m.state.now())) + ": " + m.types();
            EXPECT_EQ(got, expected == table.end() ? before + ": " : expected->second) << cell;
            // Whatever happened, a fold over the log gives the same state (A2).
            session_state folded;
            folded.id = "s1";
            for (const auto& [seq, e] : m.durable) apply(folded, e.type, e.data, seq, m.state.updated_at, e.idem_key);
            folded.created_at = m.state.created_at;
            EXPECT_EQ(folded.to_json(), m.state.to_json()) << cell;
            auto copy = session_state::from_json(m.state.to_json());
            ASSERT_TRUE(copy) << cell;
            EXPECT_EQ(copy->to_json(), m.state.to_json()) << cell;
        }
}

TEST(turn_machine, a_tool_leaves_only_with_its_intent) {
    for (const auto& make : {asked, running, thinking, idle, questioned, +[] { return sampling(); }})
        for (const auto& in : inputs()) {
            machine m = make();
            m.step(in.make(m));
            std::size_t intents = 0;
            for (const auto& e : m.log) intents += e.type == "ToolCallIntent";
            EXPECT_EQ(intents, m.effects_of<effect::run_tool>().size()) << in.name;
        }
}

TEST(turn_machine, parallel_calls_are_asked_apart_and_the_model_gets_all_results) {
    machine m = thinking();
    m.model(tool_answer({tool_part("c1", "demo__echo"), tool_part("c2", "demo__count"), tool_part("c3", "nobody__knows")}));
    ASSERT_EQ(m.state.pending.size(), 2u);
    EXPECT_EQ(m.call("c3").status, call_status::error);
    m.answer("allow_once");
    EXPECT_EQ(m.state.now(), phase::awaiting_permission);
    m.step(input::tool_done{"c1", tool_result_of("one"), true, 1});
    EXPECT_EQ(m.state.now(), phase::awaiting_permission);
    m.answer("deny");
    EXPECT_EQ(m.state.now(), phase::thinking);
    EXPECT_EQ(m.effects_of<effect::call_model>().size(), 1u);
    EXPECT_EQ(m.call("c1").status, call_status::result);
    EXPECT_EQ(m.call("c2").status, call_status::denied);
}

TEST(turn_machine, rounds_are_bounded) {
    machine m;
    m.options.max_rounds = 3;
    m.state.config.allow = {"demo/*"};
    m.say("loop");
    for (int i = 1; i <= 3; ++i) {
        const std::string id = "c" + std::to_string(i);
        m.model(tool_answer({tool_part(id, "demo__count")}));
        m.step(input::tool_done{id, tool_result_of("n"), true, 1});
    }
    EXPECT_EQ(m.types(), "MCPToolExecuted ErrorOccurred");
    EXPECT_EQ(m.log.back().data["error_type"], "max_rounds");
    EXPECT_EQ(m.state.now(), phase::idle);
}

TEST(turn_machine, a_truncated_call_never_runs) {
    machine m = thinking();
    m.state.config.allow = {"demo/*"};
    m.model(tool_answer({tool_part("c1", "demo__count")}, "max_tokens"));
    EXPECT_EQ(m.call("c1").status, call_status::error);
    EXPECT_TRUE(m.effects_of<effect::run_tool>().empty());
    EXPECT_EQ(m.state.now(), phase::idle);
    machine n = thinking();
    n.state.config.allow = {"demo/*"};
    n.model(tool_answer({tool_part("c1", "demo__count", "not an object")}));
    EXPECT_EQ(n.call("c1").status, call_status::error);
    EXPECT_TRUE(n.effects_of<effect::run_tool>().empty());
}

TEST(turn_machine, the_first_answer_wins_and_later_ones_learn_who) {
    machine m = asked();
    const std::string id = m.state.pending[0].request_id;
    m.answer("allow_once", "tui");
    EXPECT_EQ((*m.reply)["first"], true);
    m.step(input::answer{id, "deny", "", "web", {}});
    ASSERT_TRUE(m.reply);
    EXPECT_EQ(*m.reply, (json{{"request_id", id}, {"decision", "allow_once"}, {"resolved_by", "tui"}, {"first", false}}));
    EXPECT_TRUE(m.log.empty());
    m.step(input::answer{"req_unknown", "deny", "", "web", {}});
    EXPECT_EQ(m.reply.error().code, errc::not_found);
}

TEST(turn_machine, allow_always_remembers_its_pattern_until_the_definition_changes) {
    machine m = asked();
    m.answer("allow_always", "web", "other/*");
    EXPECT_EQ(m.reply.error().code, errc::invalid_argument);
    m.answer("allow_always", "web", "demo/*");
    EXPECT_EQ(m.state.config.allow, std::vector<std::string>{"demo/*"});
    m.step(input::tool_done{"c1", tool_result_of("1"), true, 1});
    m.model(tool_answer({tool_part("c2", "demo__echo")}));
    EXPECT_EQ(m.state.now(), phase::running_tool);
    m.step(input::tool_done{"c2", tool_result_of("2"), true, 1});
    m.tools->tools[0].hash = "changed";
    m.model(tool_answer({tool_part("c3", "demo__echo")}));
    EXPECT_EQ(m.state.now(), phase::awaiting_permission);
    EXPECT_NE(m.state.pending[0].prompt.find("changed"), std::string::npos);
}

TEST(turn_machine, a_call_in_doubt_is_never_repeated_without_asking) {
    machine m = running();
    m.state.config.allow = {"demo/*"};
    m.step(input::restored{});
    EXPECT_EQ(m.call("c1").status, call_status::outcome_unknown);
    EXPECT_TRUE(m.effects.empty());
    m.say("go on");
    m.model(tool_answer({tool_part("c2", "demo__echo")}));
    EXPECT_EQ(m.state.now(), phase::awaiting_permission);
    EXPECT_NE(m.state.pending[0].prompt.find("outcome is unknown"), std::string::npos);
}

TEST(turn_machine, an_unanswered_permission_denies_and_says_so) {
    machine m = asked();
    m.now += m.options.permission_timeout.count() - 1;
    m.step(input::expire{});
    EXPECT_TRUE(m.log.empty());
    ++m.now;
    m.step(input::expire{});
    EXPECT_EQ(m.log[0].data["resolved_by"], "timeout");
    EXPECT_EQ(m.log[0].data["decision"], "deny");
    EXPECT_NE(dump(m.log[1].data["result"]).find("30 seconds"), std::string::npos);
}

TEST(turn_machine, a_restored_approval_gets_a_full_deadline_under_the_same_id) {
    machine m = asked();
    const pending_request before = m.state.pending[0];
    m.now += 29'000;
    m.step(input::restored{});
    ASSERT_EQ(m.state.pending.size(), 1u);
    EXPECT_EQ(m.state.pending[0].request_id, before.request_id);
    EXPECT_EQ(m.state.pending[0].expires_ms, m.now + 30'000);
    m.answer("allow_once");
    EXPECT_EQ(m.effects_of<effect::run_tool>().size(), 1u);
}

TEST(turn_machine, a_durable_approval_without_intent_goes_on_after_a_restart) {
    machine m = asked();
    const std::string id = m.state.pending[0].request_id;
    apply(m.state, "PermissionResolved", {{"request_id", id}, {"decision", "allow_once"}, {"resolved_by", "web"}}, m.state.last_durable + 1, "now");
    ASSERT_EQ(m.call("c1").status, call_status::approved);
    m.step(input::restored{});
    EXPECT_EQ(m.types(), "ToolCallIntent");
    EXPECT_EQ(m.effects_of<effect::run_tool>().size(), 1u);
}

TEST(turn_machine, an_approved_call_waits_for_its_server) {
    machine m = asked();
    const auto full = m.tools;
    m.tools = std::make_shared<servers::catalogue>();  // a restart: nothing is connected yet
    m.step(input::restored{});
    m.answer("allow_once");
    EXPECT_EQ(m.call("c1").status, call_status::approved);
    ASSERT_EQ(m.effects_of<effect::await_tool>().size(), 1u);
    EXPECT_EQ(m.effects_of<effect::await_tool>()[0].server, "demo");
    // Once more in between: still waiting, and the approval with its definition is remembered by a snapshot.
    auto again = session_state::from_json(m.state.to_json());
    ASSERT_TRUE(again);
    m.state = *again;
    m.step(input::restored{});
    ASSERT_EQ(m.effects_of<effect::await_tool>().size(), 1u);
    m.step(input::tool_ready{"c1", false});
    EXPECT_EQ(m.call("c1").status, call_status::approved);
    m.tools = full;
    m.step(input::tool_ready{"c1", false});
    EXPECT_EQ(m.types(), "ToolCallIntent");
    ASSERT_EQ(m.effects_of<effect::run_tool>().size(), 1u);
    m.step(input::tool_ready{"c1", true});  // late: it runs already
    EXPECT_TRUE(m.log.empty());
}

TEST(turn_machine, an_approved_call_does_not_wait_for_ever) {
    machine m = asked();
    m.tools = std::make_shared<servers::catalogue>();
    m.answer("allow_once").step(input::tool_ready{"c1", true});
    EXPECT_EQ(m.call("c1").status, call_status::error);
    EXPECT_EQ(m.state.now(), phase::thinking);
}

TEST(turn_machine, an_approved_call_whose_server_lost_the_tool_ends_at_once) {
    machine m = asked();
    m.tools = std::make_shared<servers::catalogue>();
    m.tools->tools.push_back({"demo", "other", "", "", {{"type", "object"}}, {}, "hash-other"});
    m.answer("allow_once");
    EXPECT_EQ(m.call("c1").status, call_status::error);
}

TEST(turn_machine, a_definition_changed_while_the_call_waited_is_asked_again) {
    machine m = asked();
    const auto full = m.tools;
    m.tools = std::make_shared<servers::catalogue>();
    m.answer("allow_once");
    m.tools = std::make_shared<servers::catalogue>(*full);
    for (auto& t : m.tools->tools) t.hash += "-changed";
    m.step(input::tool_ready{"c1", false});
    EXPECT_EQ(m.types(), "PermissionRequired");
    EXPECT_EQ(m.state.now(), phase::awaiting_permission);
}

TEST(turn_machine, a_message_sent_meanwhile_is_answered_after_the_turn) {
    machine m = thinking();
    m.say("and this");
    m.model(text_answer("first"));
    EXPECT_EQ(m.state.now(), phase::thinking);
    EXPECT_EQ(m.types(), "StreamCompleted MessageAdded");
    m.model(text_answer("second"));
    EXPECT_EQ(m.state.now(), phase::idle);
}

TEST(turn_machine, a_repeated_key_gives_the_same_answer_once) {
    machine m = idle();
    m.say("hi", "k1");
    const json first = *m.reply;
    m.say("hi", "k1");
    EXPECT_EQ(*m.reply, first);
    EXPECT_TRUE(m.log.empty());
    EXPECT_TRUE(m.effects.empty());
}

TEST(turn_machine, input_for_a_tool_is_answered_but_not_written_down) {
    machine m = questioned();
    m.step(input::answer{m.state.pending[0].request_id, "accept", "", "web", {{"name", "secret"}}});
    ASSERT_EQ(m.effects_of<effect::answer_tool>().size(), 1u);
    EXPECT_EQ(m.effects_of<effect::answer_tool>()[0].response, (json{{"action", "accept"}, {"content", {{"name", "secret"}}}}));
    for (const auto& e : m.log) EXPECT_EQ(dump(e.data).find("secret"), std::string::npos);
}

TEST(turn_machine, memory_holds_the_recent_messages_only) {
    machine m;
    m.state.keep = 6;
    for (int i = 0; i < 20; ++i) m.say("q").model(text_answer("a"));
    EXPECT_EQ(m.state.recent.size(), 6u);
    EXPECT_EQ(m.state.stats.messages, 40u);
    EXPECT_EQ(m.state.stats.turns, 20u);
    EXPECT_EQ(m.state.stats.input_tokens, 60u);
}

TEST(turn_machine, colliding_call_ids_are_replaced) {
    machine m = thinking();
    m.model(tool_answer({tool_part("c1", "demo__echo"), tool_part("c1", "demo__count"), tool_part("", "demo__count")}));
    const auto& calls = m.state.recent.back()->calls;
    ASSERT_EQ(calls.size(), 3u);
    EXPECT_NE(calls[0].id, calls[1].id);
    EXPECT_NE(calls[1].id, calls[2].id);
    EXPECT_FALSE(calls[2].id.empty());
}

TEST(turn_machine, a_call_id_is_not_used_again_when_memory_has_forgotten_it) {
    machine m;
    m.state.keep = 4;
    std::set<std::string> ids;
    for (int turn = 0; turn < 6; ++turn) {
        m.say("again").model(tool_answer({tool_part("c1", "demo__echo")}));
        EXPECT_TRUE(ids.insert(m.state.recent.back()->calls.at(0).id).second) << turn;
        m.answer("deny").model(text_answer("so be it"));
    }
    // One that can only be random is the model's own for as long as it lasts.
    m.say("again").model(tool_answer({tool_part("toolu_01A09q90qw90lq917835lq9", "demo__echo")}));
    EXPECT_EQ(m.state.recent.back()->calls.at(0).id, "toolu_01A09q90qw90lq917835lq9");
}

TEST(patterns, cover_one_tool_or_one_server) {
    EXPECT_TRUE(allows({"a/b"}, "a", "b"));
    EXPECT_FALSE(allows({"a/b"}, "a", "c"));
    EXPECT_TRUE(allows({"a/*"}, "a", "c"));
    EXPECT_FALSE(allows({"a/*"}, "ab", "c"));
    for (const char* bad : {"", "a", "/b", "a/", "*/b", "*/*", "a/b*"}) EXPECT_FALSE(check_pattern(bad)) << bad;
    for (const char* good : {"a/b", "a/*"}) EXPECT_TRUE(check_pattern(good)) << good;
}

json error_of(const machine& m) {
    const auto answers = m.effects_of<effect::answer_tool>();
    return answers.size() == 1 ? member(answers[0].response, "error") : json();
}

TEST(turn_machine, a_person_sees_what_the_model_is_to_be_asked) {
    json params = sampling_params();
    params["messages"].push_back({{"role", "assistant"}, {"content", json::array({{{"type", "image"}, {"mimeType", "image/png"}, {"data", "AAAA"}}, {{"type", "text"}, {"text", std::string(5'000, 'x')}}})}});
    params.update({{"systemPrompt", "Be brief."}, {"maxTokens", 700}, {"temperature", 0.5}, {"modelPreferences", {{"hints", json::array({{{"name", "claude"}}})}}}});
    machine m = sampling(params);
    ASSERT_EQ(m.state.pending.size(), 1u);
    const pending_request& p = m.state.pending[0];
    EXPECT_EQ(p.kind, "sampling");
    EXPECT_EQ(p.options, (json{"allow_once", "deny"}));
    EXPECT_NE(p.prompt.find("demo/echo"), std::string::npos);
    EXPECT_NE(p.prompt.find("700"), std::string::npos);
    EXPECT_EQ(p.arguments["system_prompt"], "Be brief.");
    EXPECT_EQ(p.arguments["model_hints"], json::array({"claude"}));
    EXPECT_EQ(p.arguments["messages"][0], (json{{"role", "user"}, {"text", "say something"}}));
    EXPECT_LT(dump(p.arguments).size(), 2'000u);
    EXPECT_EQ(dump(m.log.at(0).data).find("AAAA"), std::string::npos) << "images stay out of the journal";
    EXPECT_TRUE(m.effects.empty()) << "nothing is asked before";
    m.answer("allow_once");
    const auto asks = m.effects_of<effect::sample>();
    ASSERT_EQ(asks.size(), 1u);
    const json& body = asks[0].request->body;
    EXPECT_EQ(body["max_tokens"], 700);
    EXPECT_EQ(body["system"], "Be brief.");
    EXPECT_EQ(body["temperature"], 0.5);
    EXPECT_EQ(body["messages"][1]["content"][0], (json{{"type", "image"}, {"media_type", "image/png"}, {"data", "AAAA"}}));
    EXPECT_EQ(body["messages"][1]["content"][1]["text"].get<std::string>().size(), 5'000u) << "the model gets all of it";
    EXPECT_EQ(asks[0].request->hints, std::vector<std::string>{"claude"});
}

TEST(turn_machine, what_the_model_says_becomes_a_sampling_result) {
    json params = sampling_params();
    params["stopSequences"] = {"END"};
    machine m = sampling(params);
    m.answer("allow_once");
    const auto request = m.effects_of<effect::sample>().at(0).request;
    const auto answer = [&](json chat) {
        machine now = m;
        now.step(input::sampled{"c1", "k", request, std::move(chat), 4});
        EXPECT_EQ(now.state.now(), phase::running_tool);
        EXPECT_EQ(now.effects_of<effect::answer_tool>().at(0).key, "k");
        return std::make_pair(now.effects_of<effect::answer_tool>().at(0).response, now);
    };
    const auto [said, after] = answer(text_answer("moo"));
    EXPECT_EQ(said, (json{{"role", "assistant"}, {"content", {{"type", "text"}, {"text", "moo"}}}, {"model", "m"}, {"stopReason", "endTurn"}}));
    EXPECT_EQ(after.log.at(0).data["text"], "moo") << "the person can read it";
    EXPECT_EQ(after.state.stats.input_tokens, m.state.stats.input_tokens + 3) << "it is paid for";
    EXPECT_EQ(answer(text_answer("moo END of it")).first["content"]["text"], "moo ");
    EXPECT_EQ(answer(text_answer("moo END of it")).first["stopReason"], "stopSequence");
    json cut = text_answer("mo");
    cut["stop_reason"] = "max_tokens";
    EXPECT_EQ(answer(cut).first["stopReason"], "maxTokens");
    json refusal = text_answer("no");
    refusal["stop_reason"] = "refusal";
    EXPECT_EQ(answer(refusal).first["error"]["message"], "the model refused to answer");
    machine failed = m;
    failed.step(input::sampled{"c1", "k", request, fail(errc::unavailable, "no key"), 4});
    EXPECT_EQ(error_of(failed), (json{{"code", -32603}, {"message", "the model failed: no key"}}));
    EXPECT_EQ(failed.log.at(0).data["status"], "error");
}

TEST(turn_machine, a_declined_sampling_is_said_as_the_protocol_has_it) {
    machine m = sampling();
    m.answer("accept");
    ASSERT_FALSE(m.reply);
    EXPECT_NE(m.reply.error().message.find("allow_once or deny"), std::string::npos);
    m.answer("allow_always");
    ASSERT_FALSE(m.reply) << "a person looks at each of them";
    m.answer("deny");
    EXPECT_EQ(error_of(m), (json{{"code", -1}, {"message", "User rejected sampling request"}}));
    // A server of the newer protocol cannot be told: the client ends the call, and that is no mystery.
    machine modern = m;
    modern.step(input::tool_done{"c1", fail(errc::cancelled, "the input the server asked for was refused"), true, 1});
    EXPECT_EQ(modern.call("c1").status, call_status::error);
    EXPECT_NE(dump(modern.call("c1").result).find("User rejected"), std::string::npos);
    // One of the older protocol goes on as it likes.
    m.step(input::tool_done{"c1", tool_result_of("without"), true, 1});
    EXPECT_EQ(m.call("c1").status, call_status::result);
    EXPECT_TRUE(m.state.refused.empty());
}

TEST(turn_machine, nobody_answers_a_sampling_in_time) {
    machine m = sampling();
    m.now += 60'000;
    m.step(input::expire{});
    EXPECT_EQ(error_of(m)["code"], -1);
    EXPECT_EQ(m.log.at(0).data["decision"], "deny");
}

TEST(turn_machine, a_sampling_that_cannot_be_is_refused_unasked) {
    const auto with = [](const char* key, json value) {
        json params = sampling_params();
        params[key] = std::move(value);
        return params;
    };
    const auto content = [&](json block) { return with("messages", json::array({{{"role", "user"}, {"content", std::move(block)}}})); };
    const std::vector<json> bad{with("tools", json::array()), with("toolChoice", {{"mode", "none"}}), with("messages", json::array()), with("messages", 7),
                                with("maxTokens", 0), with("maxTokens", "20"), with("messages", json::array({{{"role", "system"}, {"content", ""}}})),
                                content({{"type", "audio"}, {"data", "AAAA"}, {"mimeType", "audio/wav"}}), content({{"type", "tool_use"}, {"id", "1"}}),
                                content("plain"), content(nullptr), json::object(), json()};
    for (const json& params : bad) {
        machine m = sampling(params);
        EXPECT_EQ(error_of(m)["code"], -32602) << dump(params);
        EXPECT_TRUE(m.log.empty()) << dump(params);
    }
}

TEST(turn_machine, the_session_s_own_limit_holds_for_sampling) {
    machine m = running();
    m.options.max_tokens = 5;
    m.step(input::tool_asks{"c1", {"k", "sampling/createMessage", sampling_params()}});
    EXPECT_EQ(m.state.pending.at(0).sampling->body["max_tokens"], 5);
}

TEST(turn_machine, a_tool_cannot_ask_the_model_without_end) {
    machine m = running();
    for (unsigned i = 0; i < max_samplings; ++i) {
        m.step(input::tool_asks{"c1", {"k" + std::to_string(i), "sampling/createMessage", sampling_params()}});
        m.answer("deny");
    }
    m.step(input::tool_asks{"c1", {"more", "sampling/createMessage", sampling_params()}});
    EXPECT_NE(string_or(error_of(m), "message").find("limit"), std::string::npos);
    EXPECT_EQ(m.state.refused.size(), 1u);
}

TEST(turn_machine, what_is_accepted_at_an_address_has_no_content) {
    machine m = running();
    m.step(input::tool_asks{"c1", {"k", "elicitation/create", {{"mode", "url"}, {"message", "Sign in"}, {"url", "https://example.com/in"}}}});
    EXPECT_EQ(m.state.pending.at(0).url, "https://example.com/in");
    m.step(input::answer{m.state.pending[0].request_id, "accept", {}, "web", json::object()});
    EXPECT_EQ(m.effects_of<effect::answer_tool>().at(0).response, (json{{"action", "accept"}}));
}

}  // namespace
}  // namespace holdfast::sessions
