// S1–S7: start and stop order, strategies, restart types, intensity, queued retries, shutdown, significant children.
#include "unit/supervise/decision_rig.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

TEST(S1, starts_in_spec_order_each_after_the_one_before_is_up) {
    rig r(rules_of(strategy::one_for_one));
    for (const char* id : {"a", "b", "c"}) r.feed(event::add_child{rig::child(id), 0});
    r.feed(event::start_all{});
    EXPECT_EQ(r.take(), "start a1");
    r.up("a");
    EXPECT_EQ(r.take(), "start b1");
    r.up("b");
    EXPECT_FALSE(r.initialised);
    r.up("c");
    EXPECT_TRUE(r.initialised);
}

TEST(S1, a_failed_start_stops_those_started_in_reverse_and_fails_the_supervisor) {
    rig r(rules_of(strategy::one_for_one));
    for (const char* id : {"a", "b", "c", "d"}) r.feed(event::add_child{rig::child(id), 0});
    r.feed(event::start_all{});
    r.up("a");
    r.up("b");
    r.take();
    r.start_fails("c", errc::command_not_found);
    EXPECT_EQ(r.take(), "stop b1");
    r.ends("b", told);
    EXPECT_EQ(r.take(), "stop a1");
    EXPECT_FALSE(r.finished);
    r.ends("a", told);
    ASSERT_TRUE(r.finished);
    EXPECT_EQ(r.finished->kind, exit_kind::start_failure);
    EXPECT_EQ(r.finished->code, static_cast<int>(errc::command_not_found));
    EXPECT_EQ(r.at("d").incarnation, 0u);
}

TEST(S1, stops_in_reverse_order_one_at_a_time) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.feed(event::stop{});
    EXPECT_EQ(r.take(), "stop c1");
    r.ends("c", told);
    EXPECT_EQ(r.take(), "stop b1");
    r.ends("b", told);
    r.ends("a", told);
    EXPECT_TRUE(r.finished);
    EXPECT_TRUE(r.timers.empty());
}

TEST(S1, a_duplicate_id_is_rejected) {
    rig r(rules_of(strategy::one_for_one));
    r.feed(event::add_child{rig::child("a"), 1});
    r.feed(event::add_child{rig::child("a"), 2});
    EXPECT_EQ(r.answers[1], "ok");
    EXPECT_EQ(r.answers[2], "already_present");
}

TEST(S2, one_for_one_restarts_that_child_only) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.ends("b");
    EXPECT_EQ(r.take(), "start b2");
}

TEST(S2, one_for_all_stops_the_others_in_reverse_and_starts_all_in_order) {
    rig r(rules_of(strategy::one_for_all));
    r.with({rig::child("a"), rig::child("b"), rig::child("c"), rig::child("d")});
    r.ends("b");
    r.run_stops();
    r.run_starts();
    EXPECT_EQ(r.take(), "stop d1, stop c1, stop a1, start a2, start b2, start c2, start d2");
    EXPECT_EQ(r.at("a").restarts, 1u);
}

TEST(S2, rest_for_one_takes_the_failed_child_and_the_later_ones) {
    rig r(rules_of(strategy::rest_for_one));
    r.with({rig::child("a"), rig::child("b"), rig::child("c"), rig::child("d")});
    r.ends("b");
    r.run_stops();
    r.run_starts();
    EXPECT_EQ(r.take(), "stop d1, stop c1, start b2, start c2, start d2");
    EXPECT_EQ(r.at("a").incarnation, 1u);
}

TEST(S2, a_group_restart_waits_for_each_exit_before_the_next_step) {
    rig r(rules_of(strategy::one_for_all));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.ends("a");
    EXPECT_EQ(r.take(), "stop c1");
    r.pass(milliseconds(10));
    EXPECT_EQ(r.take(), "");
    r.ends("c", told);
    EXPECT_EQ(r.take(), "stop b1");
    r.ends("b", told);
    EXPECT_EQ(r.take(), "start a2");
    r.up("a");
    EXPECT_EQ(r.take(), "start b2");
}

TEST(S2, a_second_failure_during_a_group_restart_joins_it) {
    rig r(rules_of(strategy::rest_for_one));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.ends("b");
    EXPECT_EQ(r.take(), "stop c1");
    r.ends("a");  // an earlier one dies while c is still stopping
    r.ends("c", told);
    r.run_stops();
    r.run_starts();
    EXPECT_EQ(r.take(), "start a2, start b2, start c2");
}

TEST(S2, dynamic_children_are_stopped_in_parallel_within_bounds_and_one_deadline) {
    auto rules = dynamic_rules();
    rules.stop_deadline = milliseconds(3000);
    rig r(rules);
    r.with({});
    const std::size_t n = dynamic_stop_parallelism + 50;
    for (std::size_t i = 0; i < n; ++i) r.feed(event::add_child{rig::child("s" + std::to_string(i)), 0});
    r.run_starts();
    r.take();
    r.feed(event::stop{});
    const auto stopping = [&] {
        const auto all = r.decision.children();
        return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [](auto& c) { return c.state == child_state::stopping; }));
    };
    EXPECT_EQ(stopping(), dynamic_stop_parallelism);
    r.ends("s0", told);
    EXPECT_EQ(stopping(), dynamic_stop_parallelism);  // the next one took its place
    r.pass(milliseconds(3000));                       // the overall deadline: everything that is left is killed
    EXPECT_EQ(stopping(), n - 1);
    EXPECT_NE(r.take().find("kill s" + std::to_string(n - 1) + "1"), std::string::npos);
    r.run_stops();
    EXPECT_TRUE(r.finished);
    EXPECT_EQ(r.decision.size(), 0u);
}

TEST(S3, restart_types_by_exit) {
    struct row { restart_type type; exit_reason why; bool restarts; bool kept; };
    const row table[] = {
        {restart_type::permanent, fine, true, true},  {restart_type::permanent, told, true, true},
        {restart_type::permanent, boom, true, true},  {restart_type::transient, fine, false, true},
        {restart_type::transient, told, false, true}, {restart_type::transient, boom, true, true},
        {restart_type::temporary, fine, false, false},{restart_type::temporary, boom, false, false},
        {restart_type::transient, {exit_kind::exit_code, 3, {}}, true, true},
        {restart_type::transient, {exit_kind::signal, 9, {}}, true, true},
        {restart_type::transient, {exit_kind::hang, 0, {}}, true, true},
        {restart_type::transient, {exit_kind::memory_limit, 0, {}}, true, true},
    };
    for (const auto& t : table) {
        rig r(rules_of(strategy::one_for_one));
        r.with({rig::child("a", t.type)});
        r.ends("a", t.why);
        EXPECT_EQ(r.take(), t.restarts ? "start a2" : "") << to_string(t.type) << " " << t.why.text();
        EXPECT_EQ(r.has("a"), t.kept) << to_string(t.type) << " " << t.why.text();
    }
}

TEST(S3, a_temporary_child_killed_by_a_group_restart_is_removed) {
    rig r(rules_of(strategy::one_for_all));
    r.with({rig::child("a"), rig::child("t", restart_type::temporary), rig::child("c")});
    r.ends("a");
    r.run_stops();
    r.run_starts();
    EXPECT_EQ(r.take(), "stop c1, stop t1, start a2, start c2");
    EXPECT_FALSE(r.has("t"));
}

TEST(S3, a_policy_may_differ_by_kind_of_failure) {
    const auto with_rule = [](failure_rule rule) {
        auto c = rig::child("a");
        c.failures = {rule};
        return c;
    };
    {
        rig r(rules_of(strategy::one_for_one));
        r.with({with_rule({exit_kind::exit_code, 2, failure_action::stop})});
        r.ends("a", {exit_kind::exit_code, 1, {}});
        EXPECT_EQ(r.take(), "start a2");
        r.up("a");
        r.ends("a", {exit_kind::exit_code, 2, {}});
        EXPECT_EQ(r.take(), "");
        EXPECT_EQ(r.state("a"), child_state::stopped);
    }
    {
        rig r(rules_of(strategy::one_for_one));
        r.with({rig::child("z"), with_rule({exit_kind::memory_limit, {}, failure_action::escalate})});
        r.ends("a", {exit_kind::memory_limit, 0, {}});
        EXPECT_EQ(r.take(), "stop z1");
    }
}

TEST(S4, escalates_when_restarts_within_the_window_exceed_the_intensity) {
    rig r(rules_of(strategy::one_for_one, {3, seconds(5)}));
    r.with({rig::child("z"), rig::child("a")});
    for (int i = 0; i < 3; ++i) {
        r.ends("a");
        r.up("a");
    }
    EXPECT_EQ(r.take(), "start a2, start a3, start a4");
    r.ends("a");  // the fourth within 5 s
    EXPECT_EQ(r.take(), "stop z1");
    r.ends("z", told);
    ASSERT_TRUE(r.finished);
    EXPECT_EQ(r.finished->kind, exit_kind::shutdown);
    EXPECT_NE(r.finished->detail.find("\"a\""), std::string::npos);
}

TEST(S4, old_restarts_leave_the_window) {
    rig r(rules_of(strategy::one_for_one, {3, seconds(5)}));
    r.with({rig::child("a")});
    for (int i = 0; i < 200; ++i) {
        r.ends("a");
        r.up("a");
        r.pass(milliseconds(1700));  // three in any 5 s
    }
    EXPECT_FALSE(r.finished);
    EXPECT_EQ(r.at("a").restarts, 200u);
}

TEST(S4, intensity_zero_escalates_at_the_first_restart) {
    rig r(rules_of(strategy::one_for_one, {0, seconds(5)}));
    r.with({rig::child("a")});
    r.ends("a");
    EXPECT_TRUE(r.finished);
}

TEST(S4, every_failed_start_attempt_counts) {
    rig r(rules_of(strategy::one_for_one, {3, seconds(5)}));
    r.with({rig::child("a")});
    r.ends("a");
    r.start_fails("a");
    r.pass(nanoseconds(1));
    r.start_fails("a");
    r.pass(nanoseconds(1));
    EXPECT_FALSE(r.finished);
    r.start_fails("a");
    r.pass(nanoseconds(1));  // the fourth attempt
    EXPECT_TRUE(r.finished);
    EXPECT_EQ(r.take(), "start a2, start a3, start a4");
}

TEST(S4, a_restart_is_stamped_when_attempted_not_when_scheduled) {
    auto rules = rules_of(strategy::one_for_one, {1, seconds(3)});
    rules.backoff = backoff_policy::worker();
    rig r(rules);
    r.with({rig::child("a")});
    r.ends("a");  // attempted at once
    r.up("a");
    r.pass(milliseconds(2500));
    r.ends("a");  // scheduled inside the window, attempted 3.5 s after the first
    r.pass(seconds(1));
    EXPECT_FALSE(r.finished);
    EXPECT_EQ(r.take(), "start a2, start a3");
}

TEST(S4, the_default_trips_at_the_sixth_restart_of_a_crash_loop) {
    rig r;
    r.with({rig::child("a")});
    r.ends("a");
    std::vector<std::int64_t> at;
    const auto zero = r.now;
    while (!r.finished && at.size() < 20) {
        if (r.state("a") == child_state::starting) {
            at.push_back((r.now - zero) / seconds(1));
            r.up("a");
            r.ends("a");
        }
        r.pass(milliseconds(500));
    }
    EXPECT_EQ(at, (std::vector<std::int64_t>{0, 1, 3, 7, 15}));
    EXPECT_TRUE(r.finished);
}

TEST(S4, cost_of_a_restart_does_not_grow_with_history) {
    restart_window w({100, seconds(3600)});
    steady_time t{};
    for (int i = 0; i < 1'000'000; ++i) w.exceeded_by(t += seconds(37));  // would take minutes if each walked the history
    EXPECT_FALSE(w.exceeded_by(t += seconds(3600)));
}

TEST(S5, a_failed_restart_is_queued_and_a_stop_wins_over_it) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a"), rig::child("b")});
    r.ends("a");
    r.start_fails("a");
    EXPECT_EQ(r.state("a"), child_state::restarting);
    ASSERT_EQ(r.timers.size(), 1u);
    const auto token = r.timers.begin()->first;
    r.take();
    r.feed(event::stop{});  // before the queued retry runs
    EXPECT_EQ(r.take(), "stop b1");
    r.feed(event::timer{token});  // the cancelled retry arrives anyway
    EXPECT_EQ(r.take(), "");
    r.ends("b", told);
    EXPECT_TRUE(r.finished);
}

TEST(S5, terminate_cancels_a_queued_retry) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a")});
    r.ends("a");
    r.start_fails("a");
    const auto token = r.timers.begin()->first;
    r.feed(event::terminate_child{"a", 7});
    EXPECT_EQ(r.answers[7], "ok");
    r.take();
    r.feed(event::timer{token});
    EXPECT_EQ(r.take(), "");
    EXPECT_EQ(r.state("a"), child_state::stopped);
}

TEST(S5, a_group_whose_start_fails_is_stopped_and_tried_again) {
    rig r(rules_of(strategy::one_for_all));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.ends("c");
    r.run_stops();
    r.up("a");
    r.take();
    r.start_fails("b");
    EXPECT_EQ(r.take(), "stop a2");
    r.ends("a", told);
    r.pass(nanoseconds(1));
    r.run_starts();
    EXPECT_EQ(r.take(), "start a3, start b3, start c2");
}

TEST(S6, shutdown_immediate_timeout_and_infinity) {
    const auto with = [](shutdown_policy p) {
        auto c = rig::child("a");
        c.shutdown = p;
        return c;
    };
    {
        rig r(rules_of(strategy::one_for_one));
        r.with({with(shutdown_policy::immediate())});
        r.feed(event::stop{});
        EXPECT_EQ(r.take(), "kill a1");
    }
    {
        rig r(rules_of(strategy::one_for_one));
        r.with({with(shutdown_policy::within(milliseconds(100)))});
        r.feed(event::stop{});
        r.pass(milliseconds(99));
        EXPECT_EQ(r.take(), "stop a1");
        r.pass(milliseconds(1));
        EXPECT_EQ(r.take(), "kill a1");
        EXPECT_FALSE(r.finished);  // owned until its exit is confirmed
        r.ends("a", {exit_kind::killed, 9, {}});
        EXPECT_TRUE(r.finished);
        EXPECT_EQ(r.reports[r.reports.size() - 2].kind, report_kind::shutdown_error);
        EXPECT_EQ(r.at("a").last_exit->kind, exit_kind::killed);  // the real reason
    }
    {
        rig r(rules_of(strategy::one_for_one));
        r.with({with(shutdown_policy::infinity())});
        r.feed(event::stop{});
        r.pass(std::chrono::hours(1000));
        EXPECT_EQ(r.take(), "stop a1");
    }
}

TEST(S6, a_killed_child_that_never_confirms_is_quarantined_and_reported) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a")});
    r.feed(event::terminate_child{"a", 3});
    r.pass(milliseconds(5000) + default_kill_deadline);
    EXPECT_EQ(r.take(), "stop a1, kill a1, abandon a1");
    EXPECT_EQ(r.state("a"), child_state::quarantined);
    EXPECT_EQ(r.answers[3], "ok");
    EXPECT_EQ(r.reports.back().kind, report_kind::shutdown_error);
    r.feed(event::exited{r.at("a").key, 1, told});  // it ends after all: late news changes nothing
    EXPECT_EQ(r.state("a"), child_state::quarantined);
    r.feed(event::restart_child{"a", 4});
    r.up("a");
    EXPECT_EQ(r.answers[4], "ok");
}

TEST(S7, any_significant_shuts_the_supervisor_down_on_self_termination) {
    auto rules = rules_of(strategy::one_for_one);
    rules.shutdown_when = auto_shutdown::any_significant;
    auto s = rig::child("s", restart_type::transient);
    s.significant = true;
    {
        rig r(rules);
        r.with({rig::child("a"), s});
        r.ends("s", fine);
        EXPECT_EQ(r.take(), "stop a1");
        r.ends("a", told);
        ASSERT_TRUE(r.finished);
        EXPECT_EQ(r.finished->kind, exit_kind::shutdown);
    }
    {
        rig r(rules);  // an abnormal exit of a transient child is a restart, not an end
        r.with({rig::child("a"), s});
        r.ends("s", boom);
        EXPECT_EQ(r.take(), "start s2");
    }
    {
        rig r(rules);  // terminated by somebody: not self-termination
        r.with({rig::child("a"), s});
        r.feed(event::terminate_child{"s", 1});
        r.ends("s", told);
        EXPECT_EQ(r.take(), "stop s1");
        EXPECT_FALSE(r.decision.stopping());
    }
}

TEST(S7, all_significant_waits_for_the_last) {
    auto rules = rules_of(strategy::one_for_one);
    rules.shutdown_when = auto_shutdown::all_significant;
    auto s = rig::child("s", restart_type::transient), t = rig::child("t", restart_type::temporary);
    s.significant = t.significant = true;
    rig r(rules);
    r.with({rig::child("a"), s, t});
    r.ends("t", boom);
    EXPECT_FALSE(r.decision.stopping());
    r.ends("s", fine);
    EXPECT_TRUE(r.decision.stopping());
}

TEST(S7, significant_with_permanent_is_refused) {
    auto rules = rules_of(strategy::one_for_one);
    rules.shutdown_when = auto_shutdown::any_significant;
    auto c = rig::child("a");
    c.significant = true;
    EXPECT_EQ(check_rules(c, rules).error().code, errc::config_invalid);
}
