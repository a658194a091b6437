// A server whose configuration changes while it serves: only what changed is replaced, and no call notices.
#include "moving_world.hpp"

namespace holdfast::servers::test {
namespace {

struct changing_world : moving_world {
    using moving_world::moving_world;
    json now = config({"a"});
    /// Merged into the entry of "a"; null takes a key out.
    void change(const json& patch) {
        now["mcpServers"]["a"].merge_patch(patch);
        apply(now);
    }
    std::vector<std::string> told() {
        std::vector<std::string> out;
        for (const auto& e : events("session:admin_dashboard", "admin_notification")) out.push_back(e["message"]);
        return out;
    }
};
/// As it is configured in the world's beginning.
struct plain_world : changing_world {
    plain_world() { apply(now); }
};

TEST(server_reconfigure, what_the_connection_was_not_made_from_is_exchanged_under_a_call) {
    const std::vector<json> changes{{{"health", {{"interval_s", 60}}}}, {{"health", {{"probe", {{"method", "ping"}}}}}}, {{"breaker", {{"failure_threshold", 9}}}},
                                    {{"call_timeout_s", 900}}, {{"era_probe_timeout_s", 1}}, {{"stop_grace_s", 2}}, {{"description", "another"}},
                                    {{"restart_policy", "transient"}}, {{"move", "restart"}}, {{"internal", true}}, {{"enabled", true}}};
    for (const json& change : changes) {
        SCOPED_TRACE(dump(change));
        plain_world w;
        w.a().answers_calls = false;
        auto call = w.call("a");
        w.change(change);
        EXPECT_EQ(w.a().opened_at.size(), 1u);
        EXPECT_EQ(call->times, 0);
        w.transport.wake("a");
        w.rt.run_until_idle();
        EXPECT_TRUE(answered(call));
        EXPECT_TRUE(answered(w.call("a")));
        const auto checks = w.health.active.size();
        w.advance(seconds(31));
        EXPECT_GT(w.health.active.size(), checks) << "its health is looked at as before";
        EXPECT_EQ(w.health.configs.size(), change.contains("health") && change["health"].contains("interval_s") ? 2u : 1u) << "only what changed is made anew";
        EXPECT_EQ(w.breaker.open_handles, 1);
        w.expect_no_flap();
    }
}
TEST(server_reconfigure, the_new_rules_are_in_force) {
    plain_world w;
    w.change({{"health", {{"interval_s", 77}}}, {"call_timeout_s", 2}, {"restart_policy", {{"crash", 0}}}});
    EXPECT_NE(w.health.configs.back().find("77"), std::string::npos);
    w.a().answers_calls = false;
    auto call = w.call("a");
    w.advance(seconds(3));
    ASSERT_EQ(call->times, 1);
    EXPECT_EQ(call->value->error().code, errc::timeout);
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "disabled");
}
TEST(server_reconfigure, an_attempt_under_way_goes_on_when_it_may) {
    changing_world w;
    w.a().silent = true;
    w.transport.kill("a");
    w.rt.run_until_idle();
    ASSERT_EQ(w.a().opened_at.size(), 2u);
    w.change({{"description", "another"}, {"breaker", {{"failure_threshold", 9}}}});
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    w.change({{"env", {{"K", "v"}}}});
    EXPECT_EQ(w.a().opened_at.size(), 3u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.a().open_now, 1);
}
TEST(server_reconfigure, what_it_was_made_from_moves_it_the_new_one_first) {
    plain_world w;
    w.a().answers_calls = false;
    auto before = w.call("a", "t0", false, milliseconds(600'000));
    const auto old = w.a().conn;
    w.a().silent = true;
    w.change({{"env", {{"K", "v"}}}});
    ASSERT_EQ(w.a().opened_at.size(), 2u);
    auto meanwhile = w.call("a");
    EXPECT_EQ(w.a().called_on.back(), old) << "until the new one is ready";
    w.a().silent = false;
    w.a().answers_lists = true;
    w.change({{"description", "of no importance"}});
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(before));
    EXPECT_TRUE(answered(meanwhile));
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_EQ(w.row("a")["pid"], 2);
    EXPECT_TRUE(w.logged("moved to its new configuration"));
    w.expect_no_flap();
}
TEST(server_reconfigure, a_long_call_ends_on_the_connection_of_before_whenever_it_is_done) {
    plain_world w;
    w.a().answers_calls = false;
    auto slow = w.call("a", "t0", false, milliseconds(600'000));
    auto lost = w.call("a", "t0", false, milliseconds(120'000));
    w.change({{"env", {{"K", "v"}}}});
    w.advance(seconds(119));
    EXPECT_EQ(w.a().open_now, 2);
    w.advance(seconds(2));
    EXPECT_EQ(lost->value->error().code, errc::timeout) << "its own";
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(slow));
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_EQ(w.row("a")["restarts"], 0);
}
TEST(server_reconfigure, one_that_does_not_work_leaves_the_one_before_and_a_person_hears_of_it) {
    plain_world w;
    w.a().dies_at_start = true;
    w.change({{"env", {{"K", "bad"}}}});
    w.advance(seconds(60));
    EXPECT_TRUE(answered(w.call("a")));
    EXPECT_EQ(w.row("a")["pid"], 1);
    EXPECT_GE(w.a().opened_at.size(), 4u) << "it is tried again";
    ASSERT_EQ(w.told().size(), 1u) << "once";
    EXPECT_NE(w.told()[0].find("a goes on as it was configured before: it could not be moved to its new configuration: the server exited with status 1"), std::string::npos);
    w.expect_no_flap();
    const auto tried = w.a().opened_at.size();
    w.change({{"env", nullptr}});
    w.advance(seconds(60));
    EXPECT_EQ(w.a().opened_at.size(), tried) << "taken back: nothing to do";
    w.a().dies_at_start = false;
    w.change({{"env", {{"K", "good"}}}});
    EXPECT_TRUE(answered(w.call("a")));
    EXPECT_EQ(w.a().called_on.back(), w.a().conn);
    EXPECT_EQ(w.a().opened_at.size(), tried + 1) << "at once";
    w.expect_no_flap();
}
TEST(server_reconfigure, another_change_gives_up_the_connection_that_was_being_opened) {
    for (const char* move : {"overlap", "restart"}) {
        SCOPED_TRACE(move);
        changing_world w({"a"}, {{"move", move}});
        w.now["mcpServers"]["a"]["move"] = move;
        w.a().opens_mute = true;
        w.change({{"env", {{"K", "1"}}}});
        EXPECT_EQ(w.a().opened_at.size(), 2u);
        auto call = w.call("a");
        w.a().opens_mute = false;
        w.change({{"env", {{"K", "2"}}}});
        w.rt.run_until_idle();
        EXPECT_EQ(w.a().opened_at.size(), 3u);
        EXPECT_TRUE(answered(call));
        EXPECT_EQ(w.a().open_now, 1);
        EXPECT_EQ(w.a().most_open, move == std::string("overlap") ? 2 : 1);
        w.advance(seconds(100));
        EXPECT_EQ(w.a().opened_at.size(), 3u);
        w.expect_no_flap();
    }
}
TEST(server_reconfigure, one_that_cannot_run_twice_restarts_between_two_calls) {
    changing_world w({"a"}, {{"move", "restart"}});
    w.now["mcpServers"]["a"]["move"] = "restart";
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.change({{"env", {{"K", "v"}}}});
    auto waiting = w.call("a");
    EXPECT_EQ(w.a().calls.size(), 1u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(before));
    EXPECT_TRUE(answered(waiting));
    EXPECT_EQ(w.a().most_open, 1);
    EXPECT_EQ(w.row("a")["pid"], 2);
    w.expect_no_flap();
}
TEST(server_reconfigure, the_transport_is_another_one) {
    plain_world w;
    w.change({{"transport", "none-of-these"}});
    EXPECT_TRUE(answered(w.call("a")));
    ASSERT_EQ(w.told().size(), 1u);
    EXPECT_NE(w.told()[0].find("'none-of-these' is not available"), std::string::npos);
    w.change({{"transport", "fake"}});
    EXPECT_EQ(w.a().opened_at.size(), 1u);
    w.expect_no_flap();
}
TEST(server_reconfigure, it_offers_what_the_new_one_has_be_it_nothing) {
    plain_world w;
    w.a().tools = 0;
    w.change({{"env", {{"K", "v"}}}});
    EXPECT_EQ(w.row("a")["tools"], 0);
    EXPECT_TRUE(w.set->tools()->tools.empty());
    w.expect_no_flap();
}
TEST(server_reconfigure, a_policy_that_is_not_there_leaves_the_one_before_until_it_is) {
    plain_world w;
    w.breaker_there = false;
    w.change({{"breaker", {{"failure_threshold", 9}}}});
    EXPECT_TRUE(answered(w.call("a")));
    ASSERT_EQ(w.told().size(), 1u);
    EXPECT_NE(w.told()[0].find("not in force"), std::string::npos);
    w.advance(seconds(120));
    EXPECT_EQ(w.told().size(), 1u);
    EXPECT_EQ(w.breaker.opened, 1);
    w.breaker_there = true;
    w.advance(seconds(31));
    EXPECT_EQ(w.breaker.opened, 2) << "with the next check of its health";
    EXPECT_EQ(w.breaker.open_handles, 1);
    EXPECT_TRUE(answered(w.call("a")));
    w.expect_no_flap();
}
TEST(server_reconfigure, another_pool_takes_what_waits_and_the_one_before_ends_with_its_calls) {
    changing_world w({"a"}, {{"pool", {{"size", 1}, {"max_overflow", 0}, {"wait_s", 60}}}});
    w.now["mcpServers"]["a"]["pool"] = {{"size", 1}, {"max_overflow", 0}, {"wait_s", 60}};
    w.a().answers_calls = false;
    auto first = w.call("a"), waiting = w.call("a");
    EXPECT_EQ(w.a().called_on.size(), 1u);
    w.change({{"pool", {{"size", 4}}}});
    EXPECT_EQ(w.a().called_on.size(), 2u);
    auto third = w.call("a");
    EXPECT_EQ(w.a().open_now, 4) << "the server's own, the old pool's, two of the new";
    w.change({{"pool", nullptr}});
    auto direct = w.call("a");
    EXPECT_EQ(w.a().called_on.size(), 4u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    for (const auto& c : {first, waiting, third, direct}) EXPECT_TRUE(answered(c));
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_FALSE(w.row("a").contains("pool"));
    w.expect_no_flap();
}
TEST(server_reconfigure, the_pool_keeps_to_what_works_until_the_new_configuration_does) {
    changing_world w({"a"}, {{"pool", {{"size", 2}}}});
    w.now["mcpServers"]["a"]["pool"] = {{"size", 2}};
    w.a().opens_mute = true;
    w.change({{"settings", {{"K", 1}}}});
    w.a().opens_mute = false;
    auto before = w.call("a");
    ASSERT_TRUE(answered(before));
    EXPECT_EQ(w.a().made_from.back().count("settings"), 0u);
    w.change({{"settings", {{"K", 2}}}});
    ASSERT_TRUE(answered(w.call("a")));
    EXPECT_EQ(w.a().made_from.back()["settings"]["K"], 2);
    EXPECT_EQ(w.a().open_now, 2) << "the server's own and one of the pool";
    w.expect_no_flap();
}

}  // namespace
}  // namespace holdfast::servers::test
