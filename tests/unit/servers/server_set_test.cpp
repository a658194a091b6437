#include "fake_world.hpp"

namespace holdfast::servers::test {
namespace {

TEST(server_set, a_server_becomes_healthy_and_its_tools_can_be_called) {
    world w;
    w.apply(w.config({"a"}));
    const json row = w.row("a");
    EXPECT_EQ(row["status"], "healthy");
    EXPECT_EQ(row["era"], "modern");
    EXPECT_EQ(row["protocol_version"], "2026-07-28");
    EXPECT_EQ(row["tools"], 1);
    EXPECT_EQ(row["pid"], 1);
    EXPECT_EQ(row["circuit_state"], "closed");
    EXPECT_EQ(row["enabled"], true);
    for (const char* key : {"name", "status", "era", "protocol_version", "transport", "tools", "since", "reason", "consecutive_failures",
                            "circuit_state", "last_recovery_attempt", "total_downtime_seconds", "recovery_eta", "last_check", "uptime_ms",
                            "restarts", "enabled", "breaker", "health"})
        EXPECT_TRUE(row.contains(key)) << key;
    ASSERT_EQ(w.set->tools()->tools.size(), 1u);
    EXPECT_EQ(w.set->tools()->tools[0].hash.size(), 64u);
    auto c = w.call("a");
    ASSERT_TRUE(c->value && *c->value);
    EXPECT_EQ(c->times, 1);
    EXPECT_TRUE(c->sent);
    EXPECT_EQ(w.set->counts()["healthy"], 1);
}
TEST(server_set, names_those_in_their_first_attempt_for_as_long_as_one_is_ready_to_wait) {
    world w;
    using names = std::vector<std::string>;
    const milliseconds patience{10'000};
    EXPECT_EQ(w.set->first_attempts({}, patience), names{"*"}) << "which servers there are is not known yet";
    w.transport.servers["slow"].silent = true;
    w.transport.servers["dead"].dies_at_start = true;
    w.apply(w.config({"good", "slow", "dead"}));
    EXPECT_EQ(w.set->first_attempts({}, patience), names{"slow"});
    EXPECT_EQ(w.set->first_attempts({"good", "dead"}, patience), names{});
    EXPECT_EQ(w.set->first_attempts({"slow"}, milliseconds(0)), names{});
    w.advance(seconds(11));
    EXPECT_EQ(w.set->first_attempts({}, patience), names{}) << "nobody waits for it for ever";
    w.apply(w.config({}));
    EXPECT_EQ(w.set->first_attempts({}, patience), names{});
}

TEST(server_set, B3_a_server_that_dies_at_every_start_follows_the_schedule_and_its_neighbours_notice_nothing) {
    world w;
    w.transport.servers["bad"].dies_at_start = true;
    w.apply(w.config({"bad", "good", "other"}));
    for (int i = 0; i < 1900; ++i) w.advance(seconds(1));
    EXPECT_EQ(w.transport.servers["bad"].opened_at, (std::vector<double>{0, 1, 3, 7, 15, 45, 105, 225, 465, 945, 1545}));
    const json row = w.row("bad");
    EXPECT_EQ(row["status"], "disabled");
    EXPECT_EQ(row["enabled"], false);
    EXPECT_EQ(w.row("good")["restarts"], 0);
    EXPECT_EQ(w.row("other")["restarts"], 0);
    EXPECT_EQ(w.status_of("good"), "healthy");
    EXPECT_TRUE(w.events("server:good", "mcp_status_change").size() == 1u) << "connected, and nothing else";
    EXPECT_EQ(w.transport.servers["bad"].most_open, 1);

    const auto changes = w.events("server:bad", "mcp_status_change");
    ASSERT_EQ(changes.size(), 2u);
    EXPECT_EQ(changes[0]["old_status"], "disconnected");
    EXPECT_EQ(changes[0]["new_status"], "circuit_open");
    EXPECT_EQ(changes[0]["recovery_eta"], "30s");
    EXPECT_EQ(changes[1]["new_status"], "disabled");
    EXPECT_EQ(w.events("server:bad", "circuit_opened").size(), 1u);
    const auto alerts = w.events("session:admin_dashboard", "critical_alert");
    ASSERT_EQ(alerts.size(), 1u);
    EXPECT_EQ(alerts[0]["mcp_names"], json::array({"bad"}));
    EXPECT_EQ(w.store->rows["bad"]["disabled_by"], "automatic");

    w.stop();  // B3: survives a restart of the host
    w.transport.servers["bad"].opened_at.clear();
    w.start();
    w.apply(w.config({"bad", "good", "other"}));
    w.advance(seconds(100));
    EXPECT_EQ(w.status_of("bad"), "disabled");
    EXPECT_TRUE(w.transport.servers["bad"].opened_at.empty());
    EXPECT_EQ(w.command(&server_set::start, "bad").error().code, errc::unavailable) << "start is not enable";
    w.transport.servers["bad"].dies_at_start = false;
    auto enabled = w.command(&server_set::enable, "bad");
    ASSERT_TRUE(enabled);
    EXPECT_EQ((*enabled)["status"], "healthy");
    EXPECT_EQ(w.store->rows["bad"]["disabled_by"], "nobody");
}
TEST(server_set, recovers_at_once_when_the_process_dies) {
    world w;
    w.apply(w.config({"a"}));
    w.advance(seconds(60));
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy") << "no time has passed";
    EXPECT_EQ(w.row("a")["restarts"], 1);
    std::vector<std::string> health;
    for (const auto& e : w.events("health")) health.push_back(e["event"]);
    EXPECT_EQ(health, (std::vector<std::string>{"connected", "disconnected", "recovery_attempt", "connected", "recovery_success"}));
    EXPECT_EQ(w.store->streams["health:a"].size(), 5u);
    EXPECT_TRUE(w.call("a")->value->has_value());
}
TEST(server_set, silence_is_noticed_by_the_health_check_within_its_interval) {
    world w;
    w.apply(w.config({"a"}));
    w.advance(seconds(31));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_TRUE(w.row("a")["last_check"].is_string());
    w.transport.servers["a"].silent = true;
    w.advance(seconds(30));
    EXPECT_NE(w.status_of("a"), "healthy");
    EXPECT_TRUE(w.set->tools()->tools.empty()) << "withdrawn from the catalogue";
}
TEST(server_set, calls_to_a_server_that_is_not_healthy_fail_at_once_and_say_when_to_try_again) {
    world w;
    w.transport.servers["a"].dies_at_start = true;
    w.apply(w.config({"a"}));
    auto c = w.call("a");
    ASSERT_TRUE(c->value);
    EXPECT_EQ(c->value->error().code, errc::unavailable);
    EXPECT_GT(c->value->error().retry_after.count(), 0);
    EXPECT_FALSE(c->sent);
    EXPECT_EQ(w.call("nobody")->value->error().code, errc::server_not_found);
}
TEST(server_set, errors_of_calls_are_told_apart) {
    world w;
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.call("a", "no-such-tool")->value->error().code, errc::not_found);
    w.breaker.refuse = true;
    w.breaker.retry_after_ns = 5'000'000'000;
    auto refused = w.call("a");
    EXPECT_EQ(refused->value->error().code, errc::unavailable);
    EXPECT_EQ(refused->value->error().retry_after, milliseconds(5'000));
    EXPECT_FALSE(refused->sent);
    w.breaker.refuse = false;
    w.transport.servers["a"].answers_calls = false;
    auto slow = w.call("a", "t0", false, milliseconds(2'000));
    EXPECT_FALSE(slow->value);
    w.advance(seconds(2));
    EXPECT_EQ(slow->value->error().code, errc::timeout);
    EXPECT_EQ(w.breaker.outcomes.back(), HF_OUTCOME_FAILURE);
    auto cancelled = w.call("a");
    w.set->cancel(cancelled->id);
    w.rt.run_until_idle();
    EXPECT_EQ(cancelled->value->error().code, errc::cancelled);
    EXPECT_EQ(w.breaker.outcomes.back(), HF_OUTCOME_IGNORED);
    auto lost = w.call("a");
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(lost->value->error().code, errc::transport_lost);
    EXPECT_TRUE(lost->sent);
    EXPECT_EQ(lost->times, 1);
}
TEST(server_set, a_question_of_the_server_reaches_the_caller_and_its_answer_the_server) {
    world w;
    w.transport.servers["a"].ask = "name";
    w.apply(w.config({"a"}));
    auto c = w.call("a", "t0", true);
    ASSERT_EQ(c->asked.size(), 1u);
    EXPECT_EQ(c->asked[0].method, "elicitation/create");
    w.set->answer_input(c->id, c->asked[0].key, {{"action", "accept"}, {"content", {{"n", 1}}}});
    w.rt.run_until_idle();
    ASSERT_TRUE(c->value && *c->value);
    EXPECT_EQ(w.transport.servers["a"].calls.back()["params"]["inputResponses"]["name"]["content"]["n"], 1);
    auto alone = w.call("a");
    ASSERT_TRUE(alone->value && *alone->value) << "declined on its behalf";
}
TEST(server_set, a_question_that_the_server_takes_back_is_withdrawn) {
    world w;
    auto& a = w.transport.servers["a"];
    a.legacy = true;
    a.answers_calls = false;
    w.apply(w.config({"a"}));
    std::vector<std::string> asked, withdrawn;
    tool_call c;
    c.server = "a";
    c.tool = "t0";
    tool_call_events e;
    e.input = [&](input_request i) { asked.push_back(i.key); };
    e.withdrawn = [&](std::string key) { withdrawn.push_back(std::move(key)); };
    e.done = [](result<json>, bool) {};
    w.set->call(std::move(c), std::move(e));
    w.rt.run_until_idle();
    w.transport.say(a, {{"id", "q1"}, {"method", "sampling/createMessage"}, {"params", json::object()}});
    w.rt.run_until_idle();
    ASSERT_EQ(asked.size(), 1u);
    w.transport.say(a, {{"method", "notifications/cancelled"}, {"params", {{"requestId", "q1"}}}});
    w.rt.run_until_idle();
    EXPECT_EQ(withdrawn, asked);
}
TEST(server_set, roots_are_the_configured_ones_for_whoever_has_none_of_their_own) {
    const json roots = json::array({{{"uri", "file:///meadow"}, {"name", "meadow"}}});
    world w;
    auto& modern = w.transport.servers["a"];
    modern.ask = "where";
    modern.ask_method = "roots/list";
    auto& legacy = w.transport.servers["b"];
    legacy.legacy = true;
    legacy.answers_calls = false;
    json config = w.config({"a", "b"});
    for (const char* name : {"a", "b"}) config["mcpServers"][name]["roots"] = roots;
    w.apply(std::move(config));

    auto c = w.call("a", "t0", true);
    ASSERT_TRUE(c->value && *c->value);
    EXPECT_TRUE(c->asked.empty()) << "there is nothing to ask a session";
    EXPECT_EQ(modern.calls.back()["params"]["inputResponses"]["where"]["roots"], roots);

    auto waits = w.call("b", "t0", true);
    w.transport.say(legacy, {{"id", "r1"}, {"method", "roots/list"}});
    w.rt.run_until_idle();
    ASSERT_EQ(legacy.told.size(), 1u);
    EXPECT_EQ(legacy.told[0]["id"], "r1");
    EXPECT_EQ(legacy.told[0]["result"]["roots"], roots);

    // A caller of the gateway has roots of its own, and is asked.
    server_request r{"a", "tools/call", {{"name", "t0"}}, "client", milliseconds(60'000), {{"roots", json::object()}}, {}};
    std::vector<input_request> asked;
    tool_call_events e;
    e.input = [&](input_request i) { asked.push_back(std::move(i)); };
    e.done = [](result<json>, bool) {};
    const auto id = w.set->request(std::move(r), std::move(e));
    w.rt.run_until_idle();
    ASSERT_EQ(asked.size(), 1u);
    w.set->answer_input(id, asked[0].key, {{"roots", json::array({{{"uri", "file:///own"}}})}});
    w.rt.run_until_idle();
    EXPECT_EQ(modern.calls.back()["params"]["inputResponses"]["where"]["roots"][0]["uri"], "file:///own");
}
TEST(server_set, a_call_waits_for_a_persons_answer_as_long_as_its_caller_allows) {
    world w;
    w.transport.servers["a"].ask = "name";
    w.apply(w.config({"a"}));
    for (const auto wait : {seconds(10), seconds(5'000)}) {
        server_request r{"a", "tools/call", {{"name", "t0"}}, "client", milliseconds(60'000), {}, {}, wait};
        std::optional<result<json>> outcome;
        tool_call_events e;
        e.input = [](input_request) {};
        e.done = [&](result<json> o, bool) { outcome = std::move(o); };
        w.set->request(std::move(r), std::move(e));
        w.rt.run_until_idle();
        w.advance(wait - milliseconds(100));
        EXPECT_FALSE(outcome) << wait.count();
        w.advance(milliseconds(200));
        ASSERT_TRUE(outcome && !*outcome) << wait.count();
        EXPECT_EQ(outcome->error().code, errc::timeout);
    }
}
TEST(server_set, H3_back_with_no_tools_is_not_healthy) {
    world w;
    w.apply(w.config({"a"}));
    w.advance(seconds(60));
    w.transport.servers["a"].tools = 0;
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "disconnected");
    EXPECT_NE(std::string(w.row("a")["reason"]).find("0 tools"), std::string::npos);
    w.transport.servers["a"].tools = 2;
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.set->tools()->tools.size(), 2u);
    w.transport.servers["a"].tools = 0;
    auto r = w.command(&server_set::restart, "a");
    ASSERT_TRUE(r);
    EXPECT_EQ((*r)["status"], "healthy") << "a person restarted it: that is how it is now";
}
TEST(server_set, stop_start_disable_enable) {
    world w;
    w.apply(w.config({"a"}));
    auto r = w.command(&server_set::stop, "a");
    ASSERT_TRUE(r);
    EXPECT_EQ((*r)["status"], "disabled");
    EXPECT_EQ((*r)["enabled"], true);
    w.advance(seconds(100));
    EXPECT_EQ(w.transport.servers["a"].opened_at.size(), 1u) << "stopped is stopped";
    EXPECT_EQ((*w.command(&server_set::start, "a"))["status"], "healthy");
    EXPECT_EQ((*w.command(&server_set::disable, "a"))["enabled"], false);
    EXPECT_TRUE(w.set->tools()->tools.empty());
    EXPECT_EQ((*w.command(&server_set::enable, "a"))["status"], "healthy");
    EXPECT_EQ(w.command(&server_set::start, "zz").error().code, errc::server_not_found);
    EXPECT_EQ(w.transport.servers["a"].most_open, 1) << "never two at once";
}
TEST(server_set, apply_touches_only_what_changed) {
    world w;
    json c = w.config({"a", "b", "c"});
    w.apply(c);
    auto same = w.set->apply(c);
    EXPECT_TRUE(same && same->empty());
    c["mcpServers"]["b"]["x"] = 1;
    c["mcpServers"].erase("c");
    c["mcpServers"]["d"] = {{"transport", "fake"}};
    auto touched = w.set->apply(c);
    ASSERT_TRUE(touched);
    EXPECT_EQ(*touched, (std::vector<std::string>{"b", "c", "d"}));
    w.advance(seconds(3));
    EXPECT_EQ(w.transport.servers["a"].opened_at.size(), 1u);
    EXPECT_EQ(w.transport.servers["b"].opened_at.size(), 2u);
    EXPECT_EQ(w.transport.servers["c"].open_now, 0);
    EXPECT_EQ(w.set->names(), (std::vector<std::string>{"a", "b", "d"}));
    EXPECT_EQ(w.set->tools()->tools.size(), 3u);
    c["mcpServers"]["b"] = 5;
    EXPECT_FALSE(w.set->apply(c));
    EXPECT_EQ(w.set->names().size(), 3u) << "nothing was changed";
    EXPECT_EQ(w.set->add("a", {{"transport", "fake"}}).error().code, errc::server_already_exists);
    ASSERT_TRUE(w.set->remove("a"));
    ASSERT_TRUE(w.set->add("a", {{"transport", "fake"}})) << "at once, while the old one is still stopping";
    w.advance(seconds(3));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.transport.servers["a"].most_open, 1);
}
TEST(server_set, a_missing_policy_plugin_is_named_and_nothing_runs_without_it) {
    world w;
    w.breaker_there = false;
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.status_of("a"), "disconnected");
    EXPECT_NE(std::string(w.row("a")["reason"]).find("breaker-consecutive"), std::string::npos);
    EXPECT_TRUE(w.transport.servers["a"].opened_at.empty());
    w.breaker_there = true;
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");
    json c = w.config({"a"});
    c["mcpServers"]["x"] = {{"transport", "carrier-pigeon"}};
    w.apply(c);
    EXPECT_NE(std::string(w.row("x")["reason"]).find("carrier-pigeon"), std::string::npos);
}
TEST(server_set, a_refused_permit_puts_recovery_off_without_counting) {
    world w;
    w.breaker.refuse = true;
    w.breaker.retry_after_ns = 4'000'000'000;
    w.apply(w.config({"a"}));
    EXPECT_TRUE(w.transport.servers["a"].opened_at.empty());
    EXPECT_EQ(w.row("a")["consecutive_failures"], 0);
    w.breaker.refuse = false;
    w.advance(seconds(4));
    EXPECT_EQ(w.status_of("a"), "healthy");
}
TEST(server_set, several_failing_together_raise_one_alert) {
    world w;
    w.apply(w.config({"a", "b", "c"}));
    w.advance(seconds(60));
    for (const char* n : {"a", "b", "c"}) {
        w.transport.servers[n].dies_at_start = true;
        w.transport.kill(n);
    }
    w.rt.run_until_idle();
    const auto alerts = w.events("session:admin_dashboard", "critical_alert");
    ASSERT_EQ(alerts.size(), 1u);
    EXPECT_EQ(alerts[0]["mcp_names"].size(), 2u);
}
TEST(server_set, the_servers_own_words_are_kept_and_bounded) {
    world w;
    w.apply(w.config({"a"}));
    for (int i = 0; i < 1500; ++i) w.transport.log("a", "line " + std::to_string(i));
    w.rt.run_until_idle();
    const json all = *w.set->log("a", 100'000);
    EXPECT_EQ(all["lines"].size(), stderr_ring_lines);
    EXPECT_EQ(all["lines"].back(), "line 1499");
    EXPECT_EQ((*w.set->log("a", 2))["lines"], json::array({"line 1498", "line 1499"}));
}

}  // namespace
}  // namespace holdfast::servers::test
