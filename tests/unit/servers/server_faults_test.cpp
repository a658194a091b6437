#include "fake_world.hpp"

namespace holdfast::servers::test {
namespace {

TEST(faults, a_command_that_does_not_exist_is_said) {
    world w;
    w.transport.servers["a"].refuses_open = true;
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.status_of("a"), "disconnected");
    EXPECT_NE(std::string(w.row("a")["reason"]).find("command_not_found"), std::string::npos);
}
TEST(faults, a_server_that_never_answers_its_handshake_is_given_up_after_the_connect_timeout) {
    world w;
    w.transport.servers["a"].silent = true;
    json c = w.config({"a"});
    c["mcpServers"]["a"]["connect_timeout_s"] = 10;
    w.apply(c);
    w.advance(seconds(9));
    EXPECT_EQ(w.row("a")["consecutive_failures"], 0);
    w.advance(seconds(1));
    EXPECT_EQ(w.row("a")["consecutive_failures"], 1);
    EXPECT_EQ(w.transport.servers["a"].open_now, 0) << "it was closed";
}
TEST(faults, second_answers_and_foreign_ids_do_no_harm) {
    world w;
    w.apply(w.config({"a"}));
    w.transport.servers["a"].answers_calls = false;
    auto c = w.call("a");
    auto& p = w.transport.servers["a"];
    const json request = p.unanswered.back();
    w.transport.say(p, {{"id", "foreign"}, {"result", json::object()}});
    for (int i = 0; i < 3; ++i) w.transport.say(p, {{"id", request["id"]}, {"result", {{"content", json::array()}}}});
    w.rt.run_until_idle();
    EXPECT_EQ(c->times, 1);
    EXPECT_EQ(w.status_of("a"), "healthy");
}
TEST(faults, a_flood_is_cut_off_and_the_server_restarted) {
    world w;
    w.apply(w.config({"a"}));
    w.advance(seconds(60));
    auto& p = w.transport.servers["a"];
    for (std::size_t i = 0; i < 25'000 && p.conn; ++i) w.transport.say(p, {{"method", "notifications/message"}, {"params", {{"data", "x"}}}});
    w.rt.run_until_idle();
    EXPECT_EQ(w.row("a")["restarts"], 1);
    EXPECT_EQ(w.status_of("a"), "healthy");
}
TEST(faults, a_crash_loop_ends_in_circuit_open) {
    world w;
    w.apply(w.config({"a"}));
    for (int i = 0; i < 300 && w.status_of("a") != "circuit_open"; ++i) {
        if (w.status_of("a") == "healthy") w.transport.kill("a");
        w.advance(milliseconds(200));
    }
    EXPECT_EQ(w.status_of("a"), "circuit_open");
    EXPECT_LE(w.transport.servers["a"].opened_at.size(), 12u);
}
TEST(faults, calls_that_time_out_in_a_row_take_the_server_out) {
    world w;
    w.apply(w.config({"a"}));
    w.transport.servers["a"].answers_calls = false;
    for (int i = 0; i < 3; ++i) {
        w.call("a", "t0", false, milliseconds(100));
        w.advance(milliseconds(100));
    }
    EXPECT_EQ(w.row("a")["restarts"], 1) << "the verdict came from real calls, before any probe";
}
TEST(faults, a_broken_store_is_reported_once_and_stops_nothing) {
    world w;
    w.store->broken = true;
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_GE(w.events("session:admin_dashboard", "admin_notification").size(), 1u);
    w.advance(seconds(60));
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
}
TEST(faults, a_caller_that_throws_costs_the_actor_and_not_the_server_set) {
    world w;
    w.apply(w.config({"a", "b"}));
    tool_call_events e;
    e.done = [](result<json>, bool) { throw std::runtime_error("caller's bug"); };
    tool_call c;
    c.server = "a";
    c.tool = "t0";
    w.set->call(c, std::move(e));
    w.advance(seconds(10));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.status_of("b"), "healthy");
    EXPECT_EQ(w.row("b")["restarts"], 0);
    EXPECT_TRUE(w.call("a")->value->has_value());
}
TEST(faults, a_breaker_that_throws_refuses_with_its_name_and_works_again_afterwards) {
    world w;
    w.apply(w.config({"a"}));
    w.breaker.throws = true;
    auto refused = w.call("a");
    ASSERT_TRUE(refused->value && !refused->value->has_value());
    EXPECT_FALSE(refused->sent);
    EXPECT_NE(refused->value->error().message.find("'breaker-consecutive' threw"), std::string::npos) << refused->value->error().message;
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "disconnected") << "no attempt without a permit";
    w.breaker.throws = false;
    w.advance(seconds(2));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_TRUE(w.call("a")->value->has_value());
}
TEST(faults, a_probe_that_outlasts_the_half_open_breaker_leaves_no_healthy_server_that_refuses_calls) {
    world w;
    auto& p = w.transport.servers["a"];
    p.dies_at_start = true;
    w.apply(w.config({"a"}));
    for (int i = 0; i < 100 && w.status_of("a") != "circuit_open"; ++i) w.advance(seconds(1));
    ASSERT_EQ(w.status_of("a"), "circuit_open");
    p.dies_at_start = false;
    p.silent = true;
    const auto before = p.opened_at.size();
    for (int i = 0; i < 100 && p.opened_at.size() == before; ++i) w.advance(seconds(1));
    w.breaker.refuse = true;  // it opens again, of a newer generation
    w.breaker.retry_after_ns = 600'000'000'000;
    w.advance(seconds(20));
    w.transport.wake("a");
    w.rt.run_until_idle();
    ASSERT_EQ(w.status_of("a"), "healthy");
    EXPECT_TRUE(w.call("a")->value->has_value());
}
TEST(faults, a_health_policy_that_throws_does_not_end_the_checks) {
    world w;
    w.apply(w.config({"a"}));
    w.health.throws = true;
    w.advance(seconds(60));
    EXPECT_EQ(w.status_of("a"), "healthy");
    w.health.throws = false;
    w.transport.servers["a"].silent = true;
    w.advance(seconds(60));
    EXPECT_NE(w.status_of("a"), "healthy") << "a silent server was found out without a call";
}
TEST(faults, a_transport_that_throws_is_a_failed_attempt) {
    world w;
    w.transport.servers["a"].throws = true;
    w.apply(w.config({"a"}));
    EXPECT_EQ(w.status_of("a"), "disconnected");
    w.transport.servers["a"].throws = false;
    w.advance(seconds(2));
    EXPECT_EQ(w.status_of("a"), "healthy");
    w.transport.servers["a"].throws = true;
    auto c = w.call("a");
    w.rt.run_until_idle();
    EXPECT_EQ(c->times, 1);
    EXPECT_FALSE(c->value->has_value());
}
/// SRV-1: what a person reads of each error, and that it says what to do.
TEST(faults, every_error_with_a_name_says_what_to_do_about_it) {
    world w;
    json c = w.config({"a", "b"});
    c["mcpServers"]["b"]["pool"] = {{"size", 1}, {"max_overflow", 0}, {"wait_s", 1}};
    w.apply(c);
    w.transport.servers["a"].answers_calls = w.transport.servers["b"].answers_calls = false;
    const auto late = w.call("a", "t0", false, milliseconds(100)), first = w.call("b"), second = w.call("b");
    w.advance(seconds(1));
    const auto said = [](const result<json>& r, errc code, const std::string& advice) {
        ASSERT_FALSE(r);
        EXPECT_EQ(r.error().code, code) << r.error().message;
        EXPECT_NE(r.error().message.find(advice), std::string::npos) << r.error().message;
    };
    said(*late->value, errc::timeout, "allow more time");
    said(*second->value, errc::max_overflow_reached, "raise pool.size");
    said(*w.call("nobody")->value, errc::server_not_found, "server.list");
    said(w.command(&server_set::restart, "nobody"), errc::server_not_found, "server.list");
    const auto again = w.set->add("a", {{"transport", "fake"}});
    said(again ? result<json>(json()) : result<json>(tl::unexpected(again.error())), errc::server_already_exists, "update or remove it");
    const auto missing = server_set::check_start("x", {{"command", "holdfast-no-such-program"}});
    said(missing ? result<json>(json()) : result<json>(tl::unexpected(missing.error())), errc::command_not_found, "install it");
    w.transport.wake("b");
    w.rt.run_until_idle();
    EXPECT_TRUE(first->value);
}
// What a clean-up pass would look for is ended by timers and events of its own; see "What cleans up" in host/doc/architecture.md.
TEST(clean_up, a_connection_that_never_reports_its_end_is_not_waited_for) {
    world w;
    w.apply(w.config({"a"}));
    w.transport.servers["a"].closes_late = true;
    std::optional<result<json>> stopped;
    w.set->stop("a", [&](result<json> r) { stopped = std::move(r); });
    w.rt.run_until_idle();
    EXPECT_FALSE(stopped) << "its process may still be there";
    w.advance(seconds(3));  // stop_grace_s 1, and two for the transport
    EXPECT_TRUE(stopped && *stopped);
    w.set->start("a", [](result<json>) {});
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
}
TEST(clean_up, the_resources_of_a_tree_that_is_not_seen_any_more_are_not_shown) {
    world w;
    w.apply(w.config({"a"}));
    supervise::process_usage u;
    u.pid = 1;
    u.rss_bytes = 9'000'000;
    w.usage = {u};
    w.set->watch_resources();
    EXPECT_EQ((*w.set->health("a"))["resource_usage"]["memory"], 9'000'000);
    w.usage.clear();
    w.advance(seconds(31));
    EXPECT_TRUE((*w.set->health("a"))["resource_usage"]["memory"].is_null());
}
TEST(clean_up, a_server_that_is_taken_out_leaves_no_connection_policy_or_tool) {
    world w;
    w.apply(w.config({"a", "b"}));
    w.transport.servers["a"].answers_calls = false;
    const auto call = w.call("a");
    w.apply(w.config({"b"}));
    w.advance(seconds(2));
    EXPECT_TRUE(call->value && !*call->value);
    EXPECT_EQ(w.transport.servers["a"].open_now, 0);
    EXPECT_EQ(w.breaker.open_handles, 1) << "that of b";
    EXPECT_EQ(w.set->tools()->tools.size(), 1u);
    EXPECT_EQ(w.set->names(), std::vector<std::string>{"b"});
}

TEST(faults, nothing_is_left_open_when_the_host_stops) {
    world w;
    w.apply(w.config({"a", "b"}));
    w.transport.servers["a"].answers_calls = false;
    auto c = w.call("a");
    w.stop();
    EXPECT_EQ(c->times, 1);
    EXPECT_FALSE(c->value->has_value());
    EXPECT_EQ(w.transport.servers["a"].open_now, 0);
    EXPECT_EQ(w.transport.servers["b"].open_now, 0);
    EXPECT_EQ(w.breaker.open_handles, 0);
}

}  // namespace
}  // namespace holdfast::servers::test
