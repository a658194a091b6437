// Moving a server that cannot run twice: emptied, ended, started again, between two calls.
#include "moving_world.hpp"
#include "servers/move_gate.hpp"

namespace holdfast::servers::test {
namespace {

struct restarting_world : moving_world {
    explicit restarting_world(bool http = false) : moving_world({"a"}, {{"move", "restart"}, {"request_streams", http}}) {}
};
TEST(server_move_restart, empties_the_server_restarts_it_and_sends_what_waited) {
    restarting_world w;
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.replace();
    auto waiting = w.call("a");
    EXPECT_EQ(w.a().calls.size(), 1u) << "held back";
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_EQ(w.row("a")["pid"], 1);
    w.a().closes_late = true;
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(before));
    EXPECT_EQ(w.a().opened_at.size(), 1u) << "not before the old process has gone";
    auto more = w.call("a");
    w.expect_no_flap();
    EXPECT_TRUE(w.transport.let_go());
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(waiting));
    EXPECT_TRUE(answered(more));
    EXPECT_EQ(w.a().called_on.back(), w.a().conn);
    EXPECT_EQ(w.row("a")["pid"], 2);
    EXPECT_EQ(w.a().most_open, 1) << "never two at once";
    EXPECT_TRUE(w.logged("moved to the new generation"));
    w.advance(seconds(60));
    w.expect_no_flap();
    EXPECT_NE(w.row("a")["last_check"], json(nullptr));
}
TEST(server_move_restart, an_idle_server_restarts_at_once_and_replacements_meanwhile_share_one_more) {
    restarting_world w;
    w.a().silent = true;
    for (int i = 0; i < 10; ++i) w.replace();
    auto waiting = w.call("a");
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(waiting));
    EXPECT_EQ(w.a().opened_at.size(), 3u);
    EXPECT_EQ(w.a().most_open, 1);
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    EXPECT_EQ(w.a().open_now, 1);
    w.expect_no_flap();
}
TEST(server_move_restart, a_hundred_replacements_under_load_fail_no_call) {
    restarting_world w;
    std::vector<std::shared_ptr<world::outcome>> calls;
    for (int i = 0; i < 100; ++i) {
        w.a().answers_calls = i % 3 == 0;
        calls.push_back(w.call("a"));
        w.replace();
        calls.push_back(w.call("a"));
        if (i % 2) w.transport.wake("a");
        w.advance(milliseconds(10));
    }
    w.transport.wake("a");
    w.advance(seconds(1));
    for (const auto& c : calls) EXPECT_TRUE(answered(c)) << (c->value ? c->value->error().message : "none");
    EXPECT_EQ(w.a().most_open, 1);
    w.expect_no_flap();
}
TEST(server_move_restart, waiting_calls_keep_their_own_timeouts_and_can_be_cancelled) {
    restarting_world w;
    w.a().answers_calls = false;
    auto stuck = w.call("a");
    w.replace();
    auto slow = w.call("a", "t0", false, milliseconds(5'000));
    auto cancelled = w.call("a");
    auto late = w.call("a", "t0", false, milliseconds(30'000));
    w.set->cancel(cancelled->id);
    w.advance(seconds(5));
    EXPECT_EQ(cancelled->value->error().code, errc::cancelled);
    EXPECT_EQ(slow->value->error().code, errc::timeout);
    EXPECT_FALSE(slow->sent);
    w.advance(seconds(19));
    EXPECT_FALSE(stuck->value);
    w.advance(seconds(1));
    EXPECT_EQ(stuck->value->error().code, errc::transport_lost) << "its time was over";
    EXPECT_EQ(w.row("a")["pid"], 2);
    EXPECT_FALSE(late->value) << "sent, and not answered";
    w.advance(seconds(5));
    ASSERT_TRUE(late->value);
    EXPECT_EQ(late->value->error().code, errc::timeout) << "30 s in all";
    EXPECT_TRUE(late->sent);
    EXPECT_EQ(w.row("a")["restarts"], 0);
}
TEST(server_move_restart, one_that_does_not_come_back_recovers_as_ever_and_the_waiting_calls_fail_unsent) {
    restarting_world w;
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.replace();
    auto waiting = w.call("a");
    w.a().dies_at_start = true;
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(answered(before));
    ASSERT_TRUE(waiting->value);
    EXPECT_EQ(waiting->value->error().code, errc::unavailable);
    EXPECT_FALSE(waiting->sent);
    EXPECT_EQ(w.status_of("a"), "disconnected");
    w.a().dies_at_start = false;
    w.advance(seconds(2));
    EXPECT_EQ(w.status_of("a"), "healthy");
    EXPECT_EQ(w.a().open_now, 1);
    EXPECT_TRUE(answered(w.call("a")));
}
TEST(server_move_restart, the_loss_of_the_connection_while_it_empties_ends_the_waiting) {
    restarting_world w;
    w.a().answers_calls = false;
    auto lost = w.call("a");
    w.replace();
    auto waiting = w.call("a");
    w.a().answers_calls = true;
    w.transport.kill("a");
    w.rt.run_until_idle();
    EXPECT_EQ(lost->value->error().code, errc::transport_lost);
    EXPECT_EQ(waiting->value->error().code, errc::unavailable);
    EXPECT_EQ(w.status_of("a"), "healthy") << "recovered";
    w.advance(seconds(60));
    EXPECT_EQ(w.a().opened_at.size(), 2u);
    EXPECT_TRUE(answered(w.call("a")));
}
TEST(server_move_restart, stop_and_the_end_of_the_host_end_the_waiting) {
    for (const bool late : {false, true}) {
        restarting_world w;
        w.a().answers_calls = false;
        auto before = w.call("a");
        if (late) w.a().closes_late = true, w.a().answers_calls = true, w.transport.wake("a");
        w.replace();
        auto waiting = w.call("a");
        EXPECT_FALSE(waiting->value);
        w.a().closes_late = false;
        bool replied = false;
        w.set->stop("a", [&](result<json>) { replied = true; });
        w.rt.run_until_idle();
        EXPECT_EQ(waiting->value->error().code, errc::unavailable);
        EXPECT_EQ(replied, !late);
        while (w.transport.let_go()) w.rt.run_until_idle();
        EXPECT_TRUE(replied);
        EXPECT_EQ(w.a().open_now, 0);
        w.advance(seconds(60));
        EXPECT_EQ(w.a().opened_at.size(), 1u);
    }
    restarting_world w;
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.replace();
    auto waiting = w.call("a");
    w.stop();
    EXPECT_EQ(before->times, 1);
    EXPECT_EQ(waiting->times, 1);
    EXPECT_FALSE(waiting->sent);
    EXPECT_EQ(w.a().open_now, 0);
}
TEST(server_move_restart, a_probe_under_way_does_not_count_as_failed) {
    restarting_world w;
    w.a().silent = true;
    w.advance(seconds(16));
    w.a().silent = false;
    w.replace();
    w.advance(seconds(20));
    w.expect_no_flap();
}
TEST(server_move_restart, what_is_lost_while_it_empties_gives_its_turn_back) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < max_moves; ++i) names.push_back("s" + std::to_string(i));
    moving_world w(names, {{"move", "restart"}});
    for (const auto& n : names) {
        w.transport.servers[n].answers_calls = false;
        w.call(n);
    }
    w.replace();
    for (const auto& n : names) w.transport.kill(n);
    w.rt.run_until_idle();
    w.replace();
    for (const auto& n : names) EXPECT_EQ(w.row(n)["pid"], 3) << n;
}
TEST(server_move_restart, a_stop_while_it_empties_opens_nothing_more) {
    restarting_world w(true);  // its next connection would not wait for the end of this one
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.replace();
    ASSERT_TRUE(w.command(&server_set::stop, "a"));
    w.advance(seconds(60));
    EXPECT_EQ(w.a().opened_at.size(), 1u);
    EXPECT_EQ(w.a().open_now, 0);
}
TEST(server_move_restart, at_most_so_many_calls_wait) {
    restarting_world w;
    w.a().answers_calls = false;
    auto before = w.call("a");
    w.replace();
    std::vector<std::shared_ptr<world::outcome>> calls;
    for (int i = 0; i < 1'025; ++i) calls.push_back(w.call("a"));
    ASSERT_TRUE(calls.back()->value);
    EXPECT_EQ(calls.back()->value->error().code, errc::overloaded);
    calls.pop_back();
    w.transport.wake("a");
    w.rt.run_until_idle();
    for (const auto& c : calls) EXPECT_TRUE(answered(c));
}

}  // namespace
}  // namespace holdfast::servers::test
