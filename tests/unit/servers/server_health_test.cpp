// What counts as well: init messages, probes with expectations, figures for thresholds; and what follows each way of being lost.
#include "fake_world.hpp"
#include "servers/health_request.hpp"
#include "servers/server_spec.hpp"

namespace holdfast::servers::test {
namespace {

TEST(health_request_test, an_expectation_is_a_part_of_the_answer) {
    const json whole = *parse_json(R"({"status":"ok","load":{"cpu":0.5,"queue":[1,2,3]},"text":null})");
    for (const char* part : {R"({})", R"({"status":"ok"})", R"({"load":{"queue":[1,2]}})", R"({"text":null})", R"({"load":{"cpu":0.5}})"})
        EXPECT_TRUE(holds(whole, *parse_json(part))) << part;
    for (const char* part : {R"({"status":"bad"})", R"({"load":{"queue":[2]}})", R"({"load":{"queue":[1,2,3,4]}})", R"({"missing":null})", R"([])", R"("ok")"})
        EXPECT_FALSE(holds(whole, *parse_json(part))) << part;
}

TEST(health_request_test, says_what_it_wanted_and_what_came) {
    const auto r = health_request_from({{"jsonrpc", "2.0"}, {"method", "health"}, {"expect", {{"status", "ok"}}}});
    ASSERT_TRUE(r);
    EXPECT_TRUE(r->judge({{"status", "ok"}, {"more", 1}}));
    const auto wrong = r->judge({{"status", "starting"}, {"text", std::string(1000, 'x')}});
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, errc::protocol_error);
    EXPECT_NE(wrong.error().message.find(R"({"status":"ok"})"), std::string::npos);
    EXPECT_NE(wrong.error().message.find("starting"), std::string::npos);
    EXPECT_LT(wrong.error().message.size(), 500u);
    EXPECT_FALSE(health_request_from(nullptr).value());
}

TEST(health_request_test, what_cannot_be_asked_is_refused) {
    for (const json& bad : {json("health"), json::object(), json{{"method", 5}}, json{{"method", "x"}, {"tool", "y"}}, json{{"method", "x"}, {"params", 1}},
                            json{{"tool", "y"}, {"arguments", "z"}}, json{{"method", "x"}, {"expected", {}}}, json{{"tool", "x"}, {"params", json::object()}}})
        EXPECT_FALSE(health_request_from(bad)) << bad;
    EXPECT_EQ(health_request_from({{"tool", "t"}})->request, (json{{"method", "tools/call"}, {"params", {{"name", "t"}, {"arguments", json::object()}}}}));
    const auto r = server_set::check("a", {{"command", "x"}, {"health", {{"init_message", {{"method", ""}}}}}});
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("mcpServers.a.health.init_message"), std::string::npos) << r.error().message;
}

struct server_health_test : testing::Test {
    world w;
    personality& p = w.transport.servers["a"];
    json config(json health, json server = json::object()) {
        json c = w.config({"a"});
        c["mcpServers"]["a"]["health"] = std::move(health);
        c["mcpServers"]["a"].update(server);
        return c;
    }
    std::string reason() { return w.row("a")["reason"]; }
    long asked(const std::string& method) const { return std::count(p.asked.begin(), p.asked.end(), method); }
};

TEST_F(server_health_test, the_init_message_is_asked_on_every_connection_and_only_its_answer_makes_it_healthy) {
    p.answers["health"] = {{"status", "starting"}};
    w.apply(config({{"init_message", {{"method", "health"}, {"params", {{"deep", true}}}, {"expect", {{"status", "ok"}}}}}}));
    EXPECT_EQ(w.status_of("a"), "disconnected");
    EXPECT_NE(reason().find("health.init_message"), std::string::npos) << reason();
    EXPECT_NE(reason().find("starting"), std::string::npos) << reason();
    EXPECT_TRUE(w.set->tools()->tools.empty()) << "its tools are not offered";
    EXPECT_EQ(p.open_now, 0);
    p.answers["health"] = {{"status", "ok"}};
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_TRUE(*w.call("a")->value);
    const auto before = asked("health");
    w.advance(seconds(60));
    EXPECT_EQ(asked("health"), before) << "once to a connection";
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(asked("health"), before + 1);
    for (const auto& c : w.health.configs) EXPECT_EQ(c.find("init_message"), std::string::npos) << "it is not the policy's";
}

TEST_F(server_health_test, an_init_message_that_is_not_answered_or_not_known_is_a_failed_attempt) {
    p.answers["health"] = nullptr;
    w.apply(config({{"init_message", {{"method", "health"}}}}, {{"connect_timeout_s", 10}}));
    EXPECT_NE(reason().find("does not know the method"), std::string::npos) << reason();
    p.answers["health"] = {{"isError", true}};
    w.advance(seconds(1));
    EXPECT_EQ(w.row("a")["consecutive_failures"], 2) << reason();
    p.answers.clear();
    p.answers_calls = false;
    w.apply(config({{"init_message", {{"tool", "t0"}}}}, {{"connect_timeout_s", 10}}));
    EXPECT_EQ(w.row("a")["consecutive_failures"], 0);
    w.advance(seconds(10));
    EXPECT_EQ(w.row("a")["consecutive_failures"], 1);
    EXPECT_NE(reason().find("timeout"), std::string::npos) << reason();
    EXPECT_NE(reason().find("health.init_message is not answered"), std::string::npos) << reason();
    EXPECT_EQ(p.open_now, 0);
}

TEST_F(server_health_test, a_connection_that_dies_during_its_init_message_is_one_failed_attempt) {
    p.answers_calls = false;
    w.apply(config({{"init_message", {{"tool", "t0"}}}}));
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.row("a")["consecutive_failures"], 1);
    EXPECT_EQ(w.status_of("a"), "disconnected");
    p.answers_calls = true;
    w.advance(seconds(1));
    EXPECT_EQ(w.status_of("a"), "healthy");
}

TEST_F(server_health_test, what_the_init_message_changes_is_what_the_server_offers) {
    p.legacy = true;
    p.answers_calls = false;
    w.apply(config({{"init_message", {{"tool", "t0"}}}}));
    p.tools = 2;
    w.transport.say(p, {{"method", "notifications/tools/list_changed"}});
    w.advance(seconds(1));
    ASSERT_EQ(asked("tools/list"), 2);
    EXPECT_NE(w.status_of("a"), "healthy");
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.set->tools()->tools.size(), 2u);
}

TEST_F(server_health_test, a_server_whose_tools_come_with_the_init_message_comes_back) {
    p.legacy = true;
    const auto begins = [&] { p.tools = 0, p.answers_calls = false; };
    const auto greeted = [&](int tools, bool told) {
        p.tools = tools;
        if (told) w.transport.say(p, {{"method", "notifications/tools/list_changed"}});
        w.transport.wake("a");
        w.advance(seconds(1));
    };
    begins();
    w.apply(config({{"init_message", {{"tool", "t0"}}}}));
    greeted(1, true);
    ASSERT_EQ(w.set->tools()->tools.size(), 1u);
    for (const bool told : {true, false}) {
        begins();
        w.transport.kill("a");
        w.rt.run_until_idle();
        greeted(1, told);
        EXPECT_EQ(w.status_of("a"), "healthy") << reason();
        EXPECT_EQ(w.set->tools()->tools.size(), 1u);
    }
    EXPECT_EQ(p.opened_at.size(), 3u) << "at the first attempt";
    begins();
    w.transport.kill("a");
    w.rt.run_until_idle();
    greeted(0, true);
    EXPECT_NE(w.status_of("a"), "healthy");
    EXPECT_NE(reason().find("it came back with 0 tools"), std::string::npos) << reason();
}

TEST_F(server_health_test, connections_of_a_pool_are_greeted_too_and_one_that_does_not_answer_well_serves_nobody) {
    p.answers["hello"] = json::object();
    w.apply(config({{"init_message", {{"method", "hello"}}}}, {{"pool", {{"size", 2}, {"wait_s", 1}}}}));
    EXPECT_TRUE(*w.call("a")->value);
    EXPECT_EQ(asked("hello"), 2) << "the server's own and one of the pool";
    p.answers["hello"] = nullptr;
    w.transport.kill(p.called_on.back());
    w.rt.run_until_idle();
    const auto calls = p.calls.size();
    const auto refused = w.call("a");
    w.advance(seconds(1));
    ASSERT_TRUE(refused->value && !*refused->value);
    EXPECT_NE(refused->value->error().message.find("health.init_message"), std::string::npos) << refused->value->error().message;
    EXPECT_EQ(p.calls.size(), calls);
    EXPECT_LE(asked("hello"), 4) << "not again and again";
    EXPECT_EQ(w.status_of("a"), "healthy");
}

TEST_F(server_health_test, a_server_that_moves_is_greeted_on_its_new_connection) {
    p.answers["hello"] = json::object();
    w.apply(config({{"init_message", {{"method", "hello"}}}}));
    w.transport.replace();
    w.set->transport_replaced("transport-fake");
    w.advance(seconds(1));
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(asked("hello"), 2);
    EXPECT_EQ(w.row("a")["restarts_after"]["crash"], 0);
    EXPECT_EQ(w.status_of("a"), "healthy");
}

TEST_F(server_health_test, a_probe_whose_answer_is_not_as_expected_is_a_failed_check) {
    p.answers["state"] = {{"ok", true}};
    w.apply(config({{"probe", {{"method", "state"}, {"expect", {{"ok", true}}}}}}));
    w.advance(seconds(60));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_GE(asked("state"), 1);
    EXPECT_EQ(w.row("a")["restarts"], 0);
    p.answers["state"] = {{"ok", false}};
    w.advance(seconds(30));
    EXPECT_EQ(w.row("a")["restarts_after"], (json{{"exit", 0}, {"crash", 0}, {"hang", 0}, {"health", 1}}));
    EXPECT_GE(w.set->metrics()["servers"]["a"]["failed_checks"].get<int>(), 1);
}

TEST_F(server_health_test, a_tool_that_reports_an_error_is_a_failed_check) {
    w.apply(config({{"probe", {{"tool", "t0"}, {"arguments", {{"n", 1}}}}}}));
    w.advance(seconds(60));
    ASSERT_GE(p.calls.size(), 1u);
    EXPECT_EQ(p.calls.back()["params"]["arguments"]["n"], 1);
    p.answers["tools/call"] = {{"isError", true}, {"content", json::array()}};
    w.advance(seconds(30));
    EXPECT_EQ(w.row("a")["restarts_after"]["health"], 1);
}

TEST_F(server_health_test, an_administrator_hears_once_that_a_server_is_degraded) {
    w.apply(w.config({"a"}));
    const auto told = [&] { return w.events("session:admin_dashboard", "admin_notification"); };
    w.advance(seconds(60));
    EXPECT_EQ(told().size(), 0u);
    w.health.degraded = "the memory is 500 MiB, above the limit of 400 MiB";
    w.advance(seconds(100));
    ASSERT_EQ(told().size(), 1u) << "not with every check";
    EXPECT_EQ(told()[0]["severity"], "warning");
    EXPECT_EQ(told()[0]["message"], "a is degraded: the memory is 500 MiB, above the limit of 400 MiB");
    EXPECT_EQ(told()[0]["context"]["mcp_name"], "a");
    EXPECT_EQ(w.status_of("a"), "healthy") << "it still serves";
    EXPECT_EQ(w.row("a")["health"]["state"], "degraded");
    w.health.degraded.clear();
    w.advance(seconds(30));
    w.health.degraded = "again";
    w.advance(seconds(30));
    EXPECT_EQ(told().size(), 2u);
}

TEST_F(server_health_test, a_connection_that_is_given_up_during_a_check_is_lost_once) {
    w.apply(w.config({"a"}));
    auto& a = w.transport.servers["a"];
    a.silent = true;
    w.advance(seconds(26));  // a check is out
    a.silent = false;
    for (int i = 0; i < 1'100; ++i) w.transport.say(a, {{"jsonrpc", "2.0"}, {"id", 1'000'000 + i}, {"result", json::object()}});
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy") << "the first attempt is made at once: " << w.row("a")["reason"];
    EXPECT_EQ(a.opened_at.size(), 2u);
}

TEST_F(server_health_test, how_it_was_lost_decides_what_follows) {
    w.apply(config(json::object(), {{"restart_policy", {{"exit", true}, {"crash", 1}, {"hang", false}}}}));
    w.advance(seconds(60));
    w.transport.leave("a");
    w.advance(seconds(60));
    w.transport.kill("a");
    w.advance(seconds(20));
    EXPECT_EQ(w.row("a")["restarts_after"], (json{{"exit", 1}, {"crash", 1}, {"hang", 0}, {"health", 0}}));
    EXPECT_EQ(w.status_of("a"), "healthy");
    p.silent = true;
    w.advance(seconds(60));
    EXPECT_EQ(w.status_of("a"), "disabled");
    EXPECT_NE(reason().find("restart_policy.hang"), std::string::npos) << reason();
    p.silent = false;
    EXPECT_TRUE(w.command(&server_set::start, "a"));
    EXPECT_EQ(w.status_of("a"), "healthy");
    w.advance(seconds(60));
    for (int i = 0; i < 2; ++i) {
        w.transport.kill("a");
        w.advance(seconds(60));
    }
    EXPECT_EQ(w.status_of("a"), "disabled");
    EXPECT_NE(reason().find("restart_policy.crash"), std::string::npos) << reason();
}

TEST_F(server_health_test, calls_that_time_out_are_a_hang_as_well) {
    w.apply(config(json::object(), {{"restart_policy", {{"hang", false}}}}));
    p.answers_calls = false;
    for (int i = 0; i < 3; ++i) {
        w.call("a", "t0", false, milliseconds(100));
        w.advance(milliseconds(100));
    }
    EXPECT_EQ(w.status_of("a"), "disabled");
    EXPECT_NE(reason().find("restart_policy.hang"), std::string::npos) << reason();
}

TEST(restart_policy, words_and_objects) {
    const auto limits = [](json policy, json entry = {{"command", "x"}}) {
        if (!policy.is_null()) entry["restart_policy"] = std::move(policy);
        auto spec = make_spec("a", entry, {}, {});
        EXPECT_TRUE(spec) << (spec ? "" : spec.error().message);
        return (*spec)->rules.restarts;
    };
    const std::uint32_t all = restart_always;
    EXPECT_EQ(limits(nullptr), (restart_limits{0, all, all, all})) << "a program that is started here";
    EXPECT_EQ(limits(nullptr, {{"url", "http://x/"}}), (restart_limits{all, all, all, all}));
    EXPECT_EQ(limits(nullptr, {{"command", "x"}, {"internal", true}}), (restart_limits{all, all, all, all}));
    EXPECT_EQ(limits("permanent"), (restart_limits{all, all, all, all}));
    EXPECT_EQ(limits("transient", {{"url", "http://x/"}}), (restart_limits{0, all, all, all}));
    EXPECT_EQ(limits("temporary"), (restart_limits{}));
    EXPECT_EQ(limits({{"hang", 3}, {"health", false}}), (restart_limits{0, all, 3, 0})) << "what it does not say is as ever";
    EXPECT_EQ(limits({{"exit", true}, {"crash", 0}}), (restart_limits{all, 0, all, all}));
    for (const json& bad : {json("sometimes"), json(5), json{{"crsh", true}}, json{{"crash", -1}}, json{{"crash", 1.5}}, json{{"crash", "no"}}, json{{"hang", 2'000'000}}})
        EXPECT_FALSE(server_set::check("a", {{"command", "x"}, {"restart_policy", bad}})) << bad;
}

TEST_F(server_health_test, every_threshold_has_its_figure_with_every_check) {
    w.apply(config(json::object()));
    w.set->watch_resources();
    supervise::process_usage u;
    u.pid = 1;
    u.rss_bytes = 9'000'000;
    w.usage = {u};
    w.advance(seconds(15));
    u.cpu_ms = 2'500;
    w.usage = {u};
    p.answers_calls = false;
    const auto waiting = w.call("a");
    w.advance(seconds(16));
    ASSERT_FALSE(w.health.active.empty());
    const hf_health_sample& s = w.health.active.back();
    EXPECT_EQ(s.memory_bytes, 9'000'000);
    EXPECT_EQ(s.cpu_percent, 25);
    EXPECT_EQ(s.queue_length, 1);
    EXPECT_GE(s.latency_ns, 0);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(waiting->value);
}

}  // namespace
}  // namespace holdfast::servers::test
