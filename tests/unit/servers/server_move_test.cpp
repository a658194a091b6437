// Moving to a new generation of the transport: calls go on, statuses do not change.
#include "moving_world.hpp"
#include "servers/move_gate.hpp"

namespace holdfast::servers::test {
namespace {

TEST(server_move, a_call_in_flight_ends_on_the_old_connection_while_new_ones_go_to_the_new) {
    moving_world w;
    const auto version = w.set->tools()->version;
    w.a().answers_calls = false;
    auto before = w.call("a");
    const auto old = w.a().conn;
    w.replace();
    ASSERT_NE(w.a().conn, old);
    EXPECT_EQ(w.a().open_now, 2);
    EXPECT_EQ(before->times, 0);
    EXPECT_EQ(w.row("a")["pid"], 2) << "of the one that serves";
    auto after = w.call("a");
    EXPECT_EQ(w.a().called_on, (std::vector<std::uint64_t>{old, w.a().conn}));
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(before));
    EXPECT_TRUE(answered(after));
    EXPECT_EQ(w.a().open_now, 1) << "the old one is closed with its last call";
    EXPECT_TRUE(w.logged("moving to the new generation of transport-fake"));
    EXPECT_TRUE(w.logged("moved to the new generation of transport-fake"));
    EXPECT_EQ(w.set->tools()->version, version) << "the same tools: nobody has to be told";
    w.expect_no_flap();
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(w.call("a")));
    w.advance(seconds(60));
    w.expect_no_flap();
}
TEST(server_move, it_is_named_by_its_transport_or_by_the_plugin_instance_and_others_stay) {
    moving_world w;
    w.replace("other");
    EXPECT_EQ(w.a().opened_at.size(), 1u);
    w.set->transport_replaced("transport-fake");
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    w.set->transport_replaced("fake");
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().opened_at.size(), 2u) << "it is there already";
}
TEST(server_move, input_and_cancel_go_to_the_connection_of_their_call) {
    moving_world w;
    w.a().ask = "name";
    auto asked = w.call("a", "t0", true);
    ASSERT_EQ(asked->asked.size(), 1u);
    w.a().ask.clear();
    w.a().answers_calls = false;
    auto cancelled = w.call("a");
    const auto old = w.a().conn;
    w.replace();
    w.a().answers_calls = true;
    w.set->cancel(cancelled->id);
    w.set->answer_input(asked->id, asked->asked[0].key, {{"action", "accept"}});
    w.rt.run_until_idle();
    EXPECT_EQ(cancelled->value->error().code, errc::cancelled);
    EXPECT_TRUE(answered(asked));
    EXPECT_EQ(w.a().called_on.back(), old);
    EXPECT_EQ(w.a().open_now, 1);
}
TEST(server_move, the_old_connection_is_forced_to_end_at_the_drain_deadline) {
    moving_world w;
    w.a().answers_calls = false;
    auto stuck = w.call("a");
    w.replace();
    w.advance(seconds(24));
    EXPECT_EQ(w.a().open_now, 2);
    w.advance(seconds(1));
    EXPECT_EQ(w.a().open_now, 1);
    ASSERT_EQ(stuck->times, 1);
    EXPECT_EQ(stuck->value->error().code, errc::transport_lost);
    EXPECT_NE(stuck->value->error().message.find("new generation"), std::string::npos);
    w.expect_no_flap();
}
TEST(server_move, a_new_connection_that_fails_leaves_the_old_one_and_is_tried_again) {
    moving_world w;
    w.a().dies_at_start = true;
    w.replace();
    EXPECT_TRUE(w.logged("could not be moved to the new generation of transport-fake: the server exited with status 1"));
    EXPECT_TRUE(answered(w.call("a")));
    w.a().dies_at_start = false;
    w.a().refuses_open = true;
    w.advance(seconds(2));
    EXPECT_EQ(w.a().opened_at.size(), 3u);
    EXPECT_TRUE(w.logged("there is no program 'nothing'"));
    w.advance(seconds(3));
    EXPECT_EQ(w.a().opened_at.size(), 3u) << "with backoff";
    w.a().refuses_open = false;
    w.advance(seconds(1));
    EXPECT_EQ(w.a().opened_at.size(), 4u);
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_EQ(w.row("a")["pid"], 4);
    EXPECT_TRUE(answered(w.call("a")));
    w.expect_no_flap();
}
TEST(server_move, a_handshake_that_never_ends_is_given_up_after_the_connect_timeout) {
    moving_world w({"a"}, {{"connect_timeout_s", 10}});
    const auto old = w.a().conn;
    w.a().opens_mute = true;
    w.replace();
    EXPECT_EQ(w.a().open_now, 2);
    w.a().opens_mute = false;
    w.advance(seconds(9));
    EXPECT_EQ(w.a().open_now, 2);
    EXPECT_TRUE(answered(w.call("a")));
    EXPECT_EQ(w.a().called_on.back(), old);
    w.advance(seconds(1));
    EXPECT_TRUE(w.logged("not ready within 10000 ms"));
    EXPECT_EQ(w.a().open_now, 1);
    w.advance(seconds(2));
    EXPECT_EQ(w.row("a")["pid"], 3);
    w.expect_no_flap();
}
TEST(server_move, H3_no_tools_where_there_were_some_is_refused) {
    moving_world w;
    w.a().tools = 0;
    w.replace();
    EXPECT_EQ(w.row("a")["tools"], 1);
    EXPECT_EQ(w.row("a")["pid"], 1);
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_TRUE(w.logged("0 tools"));
    w.a().tools = 2;
    w.advance(seconds(2));
    EXPECT_EQ(w.row("a")["tools"], 2);
    EXPECT_EQ(w.set->tools()->tools.size(), 2u) << "a changed list is published";
    w.expect_no_flap();
}
TEST(server_move, when_the_old_one_is_lost_meanwhile_recovery_uses_the_second) {
    moving_world w;
    const auto old = w.a().conn;
    w.a().silent = true;
    w.replace();
    w.transport.kill(old);
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "disconnected");
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    EXPECT_EQ(w.row("a")["restarts"], 1);
    EXPECT_TRUE(answered(w.call("a")));
}
TEST(server_move, when_both_are_lost_recovery_connects_anew) {
    moving_world w;
    const auto old = w.a().conn;
    w.a().silent = true;
    w.replace();
    w.transport.kill(w.a().conn);
    w.transport.kill(old);
    w.a().silent = false;
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.a().opened_at.size(), 3u);
    w.advance(seconds(60));
    EXPECT_EQ(w.a().opened_at.size(), 3u) << "no second attempt to move is left over";
    EXPECT_EQ(w.a().open_now, 1);
}
TEST(server_move, the_second_one_takes_over_when_the_first_is_lost_before_recovery_began) {
    moving_world w;
    w.a().answers_lists = false;
    w.replace();
    const auto old = w.a().conns.front();
    w.transport.kill(old);  // the last answer of the second's handshake is queued right behind it
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.a().opened_at.size(), 2u);
}
TEST(server_move, the_loss_of_a_draining_connection_costs_its_calls_and_nothing_else) {
    moving_world w;
    w.a().answers_calls = false;
    auto lost = w.call("a");
    const auto old = w.a().conn;
    w.replace();
    w.transport.kill(old);
    w.rt.run_until_idle();
    EXPECT_EQ(lost->value->error().code, errc::transport_lost);
    w.a().answers_calls = true;
    EXPECT_TRUE(answered(w.call("a")));
    w.expect_no_flap();
}
TEST(server_move, a_hundred_replacements_under_load_fail_no_call) {
    moving_world w;
    std::vector<std::shared_ptr<world::outcome>> calls;
    for (int i = 0; i < 100; ++i) {
        w.a().answers_calls = i % 3 == 0;  // two of three are in flight across the move
        calls.push_back(w.call("a"));
        calls.push_back(w.call("a"));
        w.replace();
        if (i % 7 == 0) w.replace();
        if (i % 5 == 4) w.transport.wake("a");
        w.rt.run_until_idle();
    }
    w.transport.wake("a");
    w.advance(seconds(1));
    for (const auto& c : calls) EXPECT_TRUE(answered(c)) << (c->value ? c->value->error().message : "none");
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_LE(w.a().most_open, 10) << "one that serves, one that opens, eight that drain";
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().open_now, 1) << "it arrived at the newest";
    w.expect_no_flap();
}
TEST(server_move, replacements_while_one_is_under_way_share_the_next_move) {
    moving_world w;
    w.a().silent = true;
    for (int i = 0; i < 50; ++i) w.replace();
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().opened_at.size(), 3u) << "once more, to the newest";
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_LE(w.a().most_open, 2);
    w.expect_no_flap();
}
TEST(server_move, too_many_draining_connections_put_the_next_move_off) {
    moving_world w;
    w.a().answers_calls = false;
    std::vector<std::shared_ptr<world::outcome>> calls;
    for (int i = 0; i < 12; ++i) {
        calls.push_back(w.call("a"));
        w.replace();
    }
    EXPECT_EQ(w.a().open_now, 9);
    w.transport.wake("a");
    w.rt.run_until_idle();
    for (const auto& c : calls) EXPECT_TRUE(answered(c));
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().open_now, 1);
    w.expect_no_flap();
}
TEST(server_move, an_attempt_under_way_moves_once_it_is_ready) {
    world w;
    auto& a = w.transport.servers["a"];
    a.silent = true;
    w.apply(w.config({"a"}));
    w.transport.replace();
    w.set->transport_replaced("fake");
    w.rt.run_until_idle();
    EXPECT_EQ(a.opened_at.size(), 1u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(a.opened_at.size(), 2u);
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(a.open_now, 1);
}
TEST(server_move, those_that_are_not_connected_need_nothing) {
    moving_world w;
    w.command(&server_set::stop, "a");
    w.replace();
    EXPECT_EQ(w.a().opened_at.size(), 1u);
    EXPECT_EQ((*w.command(&server_set::start, "a"))["status"], "healthy");
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().opened_at.size(), 2u);
}
TEST(server_move, stop_restart_and_disable_close_everything) {
    for (auto command : {&server_set::stop, &server_set::disable, &server_set::restart}) {
        moving_world w;
        w.a().answers_calls = false;
        auto draining = w.call("a");
        w.replace();
        w.a().silent = true;
        w.replace();
        EXPECT_EQ(w.a().open_now, 3) << "draining, serving, opening";
        w.a().silent = false;
        ASSERT_TRUE(w.command(command, "a"));
        EXPECT_EQ(draining->value->error().code, errc::transport_lost);
        EXPECT_EQ(w.a().open_now, command == &server_set::restart ? 1 : 0);
        w.advance(seconds(100));
        EXPECT_EQ(w.a().opened_at.size(), command == &server_set::restart ? 4u : 3u) << "nothing of the move goes on";
    }
}
TEST(server_move, the_host_stops_during_a_move) {
    moving_world w;
    w.a().answers_calls = false;
    auto draining = w.call("a");
    w.replace();
    auto serving = w.call("a");
    w.a().silent = true;
    w.replace();
    EXPECT_EQ(w.a().open_now, 3);
    w.stop();
    EXPECT_EQ(draining->times, 1);
    EXPECT_EQ(serving->times, 1);
    EXPECT_EQ(w.a().open_now, 0);
}
TEST(server_move, the_host_waits_for_every_connection_of_a_move) {
    moving_world w;
    w.a().answers_calls = false;
    auto draining = w.call("a");
    w.replace();
    w.a().silent = true;
    w.replace();
    w.a().closes_late = true;
    bool done = false;
    w.root->stop_all([&](result<void>) { done = true; });
    w.rt.run_until_idle();
    EXPECT_TRUE(draining->value) << "calls end at once";
    for (int left = 3; left > 0; --left) {
        EXPECT_FALSE(done) << left << " connections are still closing";
        EXPECT_TRUE(w.transport.let_go());
        w.rt.run_until_idle();
    }
    EXPECT_TRUE(done);
}
TEST(server_move, a_stop_replies_when_every_connection_of_a_move_is_gone) {
    moving_world w;
    w.a().silent = true;
    w.replace();
    w.a().closes_late = true;
    bool replied = false;
    w.set->stop("a", [&](result<json>) { replied = true; });
    w.rt.run_until_idle();
    EXPECT_TRUE(w.transport.let_go());
    w.rt.run_until_idle();
    EXPECT_FALSE(replied);
    EXPECT_TRUE(w.transport.let_go());
    w.rt.run_until_idle();
    EXPECT_TRUE(replied);
}
TEST(server_move, the_loss_of_the_new_one_after_the_move_is_a_loss_as_ever) {
    moving_world w;
    w.replace();
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.row("a")["restarts"], 1);
}
TEST(server_move, calls_that_time_out_on_the_old_connection_do_not_judge_the_new) {
    moving_world w;
    w.a().answers_calls = false;
    for (int i = 0; i < 5; ++i) w.call("a", "t0", false, milliseconds(1'000));
    w.replace();
    w.advance(seconds(2));
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_EQ(w.row("a")["restarts"], 0);
    EXPECT_EQ(w.row("a")["pid"], 2);
}
TEST(server_move, a_probe_under_way_does_not_judge_the_new_connection) {
    moving_world w;
    w.a().silent = true;
    w.advance(seconds(16));  // a probe has been sent, its answer is missing
    w.transport.servers["a"].silent = false;
    w.replace();
    w.advance(seconds(20));
    w.expect_no_flap();
}
TEST(server_move, many_servers_move_a_few_at_a_time) {
    std::vector<std::string> names{"a"};
    for (int i = 0; i < 199; ++i) names.push_back("s" + std::to_string(i));
    moving_world w(names);
    for (const auto& n : names) w.transport.servers[n].silent = true;
    w.transport.most_open = 0;
    w.replace();
    EXPECT_EQ(w.transport.most_open, names.size() + max_moves);
    w.command(&server_set::stop, "s0");  // one of those that wait or move: its turn goes to another
    w.set->remove("s1");
    for (const auto& n : names) w.transport.wake(n);
    w.rt.run_until_idle();
    EXPECT_LE(w.transport.most_open, names.size() + max_moves);
    w.advance(seconds(10));
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    for (const auto& n : names)
        if (n != "s0" && n != "s1") {
            EXPECT_EQ(w.status_of(n), "healthy") << n;
            EXPECT_EQ(w.row(n)["restarts"], 0) << n;
        }
}

}  // namespace
}  // namespace holdfast::servers::test
