// S8–S10, and a RapidCheck model: random events against invariants that hold in every state.
#include <rapidcheck.h>

#include <set>

#include "unit/supervise/decision_rig.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

TEST(S8, answers_of_the_api_in_every_state) {
    struct row { const char* state; const char *add, *restart, *remove; };
    const row table[] = {{"running", "already_started", "running", "running"},
                         {"stopped", "already_present", "", "ok"},
                         {"restarting", "restarting", "restarting", "restarting"},
                         {"starting", "already_started", "restarting", "restarting"},
                         {"stopping", "already_started", "running", "running"}};
    for (const auto& t : table) {
        const auto make = [&] {
            auto r = std::make_unique<rig>(rules_of(strategy::one_for_one));
            r->with({rig::child("a")});
            const std::string s = t.state;
            if (s == "stopped" || s == "stopping") r->feed(event::terminate_child{"a", 0});
            if (s == "stopped") r->ends("a", told);
            if (s == "restarting" || s == "starting") r->ends("a");
            if (s == "restarting") r->start_fails("a");
            EXPECT_EQ(to_string(r->state("a")), s);
            return r;
        };
        auto r = make();
        r->feed(event::add_child{rig::child("a"), 1});
        EXPECT_EQ(r->answers[1], t.add) << t.state;
        r = make();
        r->feed(event::restart_child{"a", 2});
        EXPECT_EQ(r->answers[2], t.restart) << t.state;  // "" = not yet: it is starting
        r = make();
        r->feed(event::delete_child{"a", 3});
        EXPECT_EQ(r->answers[3], t.remove) << t.state;
    }
    rig r(rules_of(strategy::one_for_one));
    r.with({});
    r.feed(event::terminate_child{"x", 1});
    r.feed(event::restart_child{"x", 2});
    r.feed(event::delete_child{"x", 3});
    EXPECT_EQ(r.answers, (std::map<request_id, std::string>{{1, "not_found"}, {2, "not_found"}, {3, "not_found"}}));
}

TEST(S8, a_start_that_fails_is_answered_with_its_error_and_leaves_nothing) {
    rig r(rules_of(strategy::one_for_one));
    r.with({});
    r.feed(event::add_child{rig::child("a"), 1});
    r.start_fails("a", errc::command_not_found);
    EXPECT_EQ(r.answers[1], "command_not_found");
    EXPECT_FALSE(r.has("a"));
    EXPECT_FALSE(r.decision.stopping());
}

TEST(S8, max_children_counts_restarting_ones_and_does_not_drift) {  // elixir#7655
    rig r(dynamic_rules(2));
    r.with({});
    for (int round = 0; round < 50; ++round) {
        const auto id = [&](int i) { return std::to_string(round) + "-" + std::to_string(i); };
        r.feed(event::add_child{rig::child(id(0), restart_type::transient), 0});
        r.feed(event::add_child{rig::child(id(1), restart_type::transient), 0});
        r.run_starts();
        r.ends(id(0));
        r.start_fails(id(0));
        EXPECT_EQ(r.state(id(0)), child_state::restarting);
        r.feed(event::add_child{rig::child("third"), static_cast<request_id>(round + 1)});
        EXPECT_EQ(r.answers[round + 1], "max_children");
        r.feed(event::terminate_child{id(0), 0});
        r.ends(id(1), fine);
        EXPECT_EQ(r.decision.size(), 0u);
    }
}

TEST(S8, ensure_child_is_single_flight) {
    rig r(dynamic_rules());
    r.with({});
    for (request_id i = 1; i <= 3; ++i) r.feed(event::add_child{rig::child("s"), i, true});
    EXPECT_EQ(r.take(), "start s1");
    EXPECT_TRUE(r.answers.empty());
    r.up("s");
    r.feed(event::add_child{rig::child("s"), 4, true});
    EXPECT_EQ(r.answers, (std::map<request_id, std::string>{{1, "ok"}, {2, "ok"}, {3, "ok"}, {4, "ok"}}));
}

TEST(S9, reports_carry_id_incarnation_and_reason) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a")});
    r.ends("a");
    r.start_fails("a");
    r.pass(nanoseconds(1));
    r.up("a");
    r.feed(event::stop{});
    r.ends("a", told);
    std::string seen;
    for (const auto& p : r.reports) seen += std::string(to_string(p.kind)) + ":" + p.id + std::to_string(p.incarnation) + " ";
    EXPECT_EQ(seen, "progress:a1 child_terminated:a1 start_error:a2 progress:a3 shutdown:a3 shutdown:0 ");
    EXPECT_EQ(r.reports[1].reason, boom);
}

TEST(S10, a_start_that_never_finishes_ends_at_its_deadline) {
    rig r(rules_of(strategy::one_for_one));
    r.with({});
    auto c = rig::child("a");
    c.start_deadline = milliseconds(500);
    r.feed(event::add_child{c, 1});
    r.pass(milliseconds(500));
    EXPECT_EQ(r.take(), "start a1, kill a1");
    r.ends("a", {exit_kind::killed, 0, {}});
    EXPECT_EQ(r.answers[1], "timeout");
    EXPECT_FALSE(r.has("a"));
}

TEST(S10, a_start_that_never_confirms_anything_is_abandoned_and_retried) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a")});
    r.ends("a");
    r.pass(default_start_deadline + default_kill_deadline + milliseconds(1));
    EXPECT_EQ(r.take(), "start a2, kill a2, abandon a2, start a3");
    EXPECT_EQ(r.at("a").last_exit->kind, exit_kind::start_timeout);
}

TEST(S10, news_of_a_dead_incarnation_changes_nothing) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a")});
    const auto key = r.at("a").key;
    r.ends("a");
    r.up("a");
    r.take();
    r.feed(event::exited{key, 1, boom});
    r.feed(event::started{key, 1});
    r.feed(event::start_failed{key, 1, boom});
    r.feed(event::exited{999, 1, boom});
    EXPECT_EQ(r.take(), "");
    EXPECT_EQ(r.state("a"), child_state::running);
}

TEST(S10, a_child_may_have_a_budget_of_its_own) {
    auto c = rig::child("a");
    c.budget = child_budget{{2, seconds(60)}, true};
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("z"), c});
    for (int i = 0; i < 3; ++i) {
        r.ends("a");
        if (r.state("a") == child_state::starting) r.up("a");
    }
    EXPECT_EQ(r.state("a"), child_state::stopped);  // given up
    EXPECT_FALSE(r.decision.stopping());            // and nobody else suffers
    c.budget->give_up = false;
    rig e(rules_of(strategy::one_for_one));
    e.with({rig::child("z"), c});
    for (int i = 0; i < 3; ++i) {
        e.ends("a");
        if (e.state("a") == child_state::starting) e.up("a");
    }
    EXPECT_TRUE(e.decision.stopping());
}

TEST(supervisor, a_child_somebody_stopped_stays_down_in_a_group_restart) {
    rig r(rules_of(strategy::one_for_all));
    r.with({rig::child("a"), rig::child("b"), rig::child("c")});
    r.feed(event::terminate_child{"b", 1});
    r.ends("b", told);
    r.take();
    r.ends("a");
    r.run_stops();
    r.run_starts();
    EXPECT_EQ(r.take(), "stop c1, start a2, start c2");
}

TEST(supervisor, shutdown_respawns_nothing) {
    rig r(rules_of(strategy::one_for_one));
    r.with({rig::child("a"), rig::child("b")});
    r.feed(event::stop{});
    r.ends("a", boom);  // crashes while b is being stopped
    r.ends("b", boom);
    EXPECT_EQ(r.take(), "stop b1");
    EXPECT_TRUE(r.finished);
}

// ---- the model

namespace {

/// What has to be true whatever happened.
void check_invariants(rig& r, bool strict_order) {
    std::size_t alive = 0, starting = 0;
    for (const auto& c : r.decision.children()) {
        const bool is_alive = c.state == child_state::starting || c.state == child_state::running || c.state == child_state::stopping;
        alive += is_alive;
        starting += c.state == child_state::starting;
    }
    if (strict_order) RC_ASSERT(starting <= 1u);
    RC_ASSERT(r.decision.size() <= r.decision.rules().max_children);
    if (r.finished) RC_ASSERT(alive == 0u);
    if (r.finished) RC_ASSERT(r.timers.empty());
}

}  // namespace

TEST(supervisor, model_random_events_keep_every_invariant) {
    EXPECT_TRUE(rc::check("supervisor model", [] {
        const bool dynamic = *rc::gen::arbitrary<bool>();
        auto rules = dynamic ? dynamic_rules(5)
                             : rules_of(*rc::gen::element(strategy::one_for_one, strategy::one_for_all, strategy::rest_for_one));
        rules.intensity = {static_cast<std::uint32_t>(*rc::gen::inRange(0, 6)), seconds(*rc::gen::inRange(1, 100))};
        if (*rc::gen::arbitrary<bool>()) rules.backoff = backoff_policy::worker();
        rig r(rules);
        static const char* names[] = {"a", "b", "c", "d", "e"};
        const auto type = [] { return *rc::gen::element(restart_type::permanent, restart_type::transient, restart_type::temporary); };
        const int initial = dynamic ? 0 : *rc::gen::inRange(0, 5);
        for (int i = 0; i < initial; ++i) r.feed(event::add_child{rig::child(names[i], type()), 0});
        r.feed(event::start_all{});
        request_id asked = 0;
        std::map<child_key, std::uint32_t> newest;
        const int steps = *rc::gen::inRange(1, 80);
        for (int s = 0; s < steps; ++s) {
            const std::string id = names[*rc::gen::inRange(0, 5)];
            const auto view = r.decision.find(id);
            switch (*rc::gen::inRange(0, 10)) {
                case 0: r.feed(event::add_child{rig::child(id, type()), ++asked, *rc::gen::arbitrary<bool>()}); break;
                case 1: r.feed(event::terminate_child{id, ++asked}); break;
                case 2: r.feed(event::restart_child{id, ++asked}); break;
                case 3: r.feed(event::delete_child{id, ++asked}); break;
                case 4:
                case 5: if (view) r.up(id); break;
                case 6: if (view) r.ends(id, *rc::gen::element(boom, fine, told)); break;
                case 7: if (view) r.start_fails(id); break;
                case 8: r.pass(milliseconds(*rc::gen::inRange(0, 20'000))); break;
                case 9: if (view && view->incarnation > 1) r.feed(event::exited{view->key, view->incarnation - 1, boom}); break;
            }
            check_invariants(r, !dynamic && rules.how != strategy::one_for_one);
            for (const auto& c : r.decision.children()) {  // incarnations only grow
                RC_ASSERT(c.incarnation >= newest[c.key]);
                newest[c.key] = c.incarnation;
            }
        }
        // However it got here, a stop ends it: with children that obey …
        r.feed(event::stop{});
        if (*rc::gen::arbitrary<bool>())
            r.run_stops();
        else
            r.pass(std::chrono::hours(1));  // … and with children that never answer anything
        RC_ASSERT(r.finished.has_value());
        check_invariants(r, false);
        for (request_id q = 1; q <= asked; ++q) RC_ASSERT(r.answers.count(q) == 1u);  // every request answered exactly once
    }));
}

TEST(supervisor, model_restarts_never_exceed_the_intensity_in_any_window) {
    EXPECT_TRUE(rc::check("intensity", [] {
        const auto n = static_cast<std::uint32_t>(*rc::gen::inRange(0, 6));
        const auto period = seconds(*rc::gen::inRange(1, 20));
        rig r(rules_of(strategy::one_for_one, {n, period}));
        r.with({rig::child("a")});
        std::vector<steady_time> stamps;
        while (!r.finished && stamps.size() < 60) {
            r.pass(milliseconds(*rc::gen::inRange(0, 8000)));
            r.ends("a");
            if (r.finished) break;
            stamps.push_back(r.now);
            r.up("a");
        }
        // Reference model: count by brute force.
        const auto in_window = [&](std::size_t upto, steady_time at) {
            std::size_t k = 0;
            for (std::size_t i = 0; i < upto; ++i) k += at - stamps[i] <= period;
            return k;
        };
        for (std::size_t i = 0; i < stamps.size(); ++i) RC_ASSERT(in_window(i, stamps[i]) + 1 <= n);
        if (r.finished) RC_ASSERT(in_window(stamps.size(), r.now) + 1 > n);
    }));
}
