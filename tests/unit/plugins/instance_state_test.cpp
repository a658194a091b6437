// The instance's state machine: the straight way, every fault at every step, and random events against its invariants.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "kernel/plugins/instance_state.hpp"

namespace holdfast::plugins {
namespace {

namespace ev = instance_event;
namespace act = instance_action;
using step = instance_step;

struct machine {
    instance_machine m;
    std::vector<std::string> told;  // actions as text
    std::optional<step> running;
    std::optional<act::finished> end;
    bool awaiting = false;

    void on(const any_instance_event& e) {
        std::vector<any_instance_action> out;
        m.on(e, out);
        for (const auto& a : out) {
            if (const auto* r = std::get_if<act::run>(&a)) told.push_back("run " + std::string(to_string(r->step))), running = r->step;
            else if (std::holds_alternative<act::publish>(a)) told.emplace_back("publish");
            else if (std::holds_alternative<act::withdraw>(a)) told.emplace_back("withdraw");
            else if (std::holds_alternative<act::end_calls>(a)) told.emplace_back("end_calls");
            else if (const auto* w = std::get_if<act::await_leases>(&a)) told.emplace_back(w->draining ? "drain" : "await_leases"), awaiting = true;
            else if (std::holds_alternative<act::held>(a)) told.emplace_back("held");
            else if (std::holds_alternative<act::defer_destroy>(a)) told.emplace_back("defer_destroy");
            else if (std::holds_alternative<act::abandon>(a)) told.emplace_back("abandon");
            else if (const auto* f = std::get_if<act::finished>(&a)) told.emplace_back("finished"), end = *f;
        }
    }
    /// Answers the step under way.
    void done(step_outcome o = step_outcome::ok, const std::string& why = "x") {
        const auto s = *running;
        running.reset();
        on(ev::step_done{s, o, why});
    }
    void up_to(step s) {
        on(ev::begin{});
        while (running && *running != s) done();
    }
    void to_active() {
        on(ev::begin{});
        while (running) done();
    }
    void run_out() {
        for (int i = 0; i < 20 && !end; ++i) {
            if (running) done();
            else if (awaiting) awaiting = false, on(ev::leases_gone{});
            else break;
        }
    }
    std::size_t count(const std::string& what) const { return static_cast<std::size_t>(std::count(told.begin(), told.end(), what)); }
};

TEST(instance_state, straight_way_there_and_back) {
    machine x;
    x.to_active();
    EXPECT_EQ(x.m.phase(), instance_phase::active);
    EXPECT_EQ(x.told, (std::vector<std::string>{"run verify", "run load", "run create", "run init", "run start", "publish"}));
    x.told.clear();
    x.on(ev::stop_asked{});
    EXPECT_EQ(x.m.phase(), instance_phase::quiescing);
    x.run_out();
    EXPECT_EQ(x.told, (std::vector<std::string>{"withdraw", "run quiesce", "run stop", "end_calls", "run revoke", "await_leases", "run destroy", "finished"}));
    EXPECT_TRUE(x.end->asked);
    EXPECT_EQ(x.m.phase(), instance_phase::stopped);
}

TEST(instance_state, a_failure_at_each_step_undoes_what_was_done) {
    const std::pair<step, std::vector<std::string>> cases[] = {
        {step::verify, {"finished"}},
        {step::load, {"finished"}},
        {step::create, {"end_calls", "run revoke", "finished"}},
        {step::init, {"end_calls", "run revoke", "await_leases", "run destroy", "finished"}},
        {step::start, {"run stop", "end_calls", "run revoke", "await_leases", "run destroy", "finished"}}};
    for (const auto& [at, expected] : cases) {
        for (const auto how : {step_outcome::failed, step_outcome::threw}) {
            machine x;
            x.up_to(at);
            x.told.clear();
            x.done(how, "boom");
            EXPECT_EQ(x.m.phase(), instance_phase::failed);
            x.run_out();
            EXPECT_EQ(x.told, expected) << to_string(at);
            ASSERT_TRUE(x.end);
            EXPECT_FALSE(x.end->was_ready);
            EXPECT_NE(x.end->why.find("boom"), std::string::npos);
        }
    }
}

TEST(instance_state, a_lost_thread_is_never_called_again_nor_freed) {
    for (const auto at : {step::create, step::init, step::start, step::quiesce, step::stop}) {
        machine x;
        if (at == step::quiesce || at == step::stop) {
            x.to_active();
            x.on(ev::stop_asked{});
            while (*x.running != at) x.done();
        } else {
            x.up_to(at);
        }
        x.told.clear();
        x.done(step_outcome::timed_out);
        x.run_out();
        EXPECT_EQ(x.told, (std::vector<std::string>{"end_calls", "run revoke", "abandon", "finished"})) << to_string(at);
        EXPECT_TRUE(x.end->hang);
    }
}

TEST(instance_state, a_stuck_worker_is_no_lost_control_thread) {
    machine x;
    x.to_active();
    x.on(ev::stop_asked{});
    while (*x.running != step::revoke) x.done();
    x.done(step_outcome::timed_out, "a worker");
    x.run_out();
    EXPECT_EQ(x.count("run destroy"), 0u);
    EXPECT_EQ(x.count("abandon"), 1u);
    EXPECT_FALSE(x.end->hang);
    EXPECT_FALSE(x.end->asked);
}

TEST(instance_state, a_crash_while_active_skips_quiesce) {
    machine x;
    x.to_active();
    x.told.clear();
    x.on(ev::crashed{"boom"});
    EXPECT_EQ(x.m.phase(), instance_phase::failed);
    x.run_out();
    EXPECT_EQ(x.told, (std::vector<std::string>{"withdraw", "run stop", "end_calls", "run revoke", "await_leases", "run destroy", "finished"}));
    EXPECT_TRUE(x.end->was_ready);
    EXPECT_EQ(x.end->why, "boom");
}

TEST(instance_state, a_stop_during_the_start_lets_the_step_finish) {
    for (const auto at : {step::verify, step::load, step::create, step::init, step::start}) {
        machine x;
        x.up_to(at);
        x.on(ev::stop_asked{});
        EXPECT_EQ(x.running, at);
        x.run_out();
        ASSERT_TRUE(x.end) << to_string(at);
        EXPECT_TRUE(x.end->asked) << to_string(at);
        EXPECT_EQ(x.count("publish"), 0u);
        EXPECT_EQ(x.count("run destroy"), at >= step::create ? 1u : 0u) << to_string(at);
    }
}

TEST(instance_state, late_leases_put_off_destroy) {
    machine x;
    x.to_active();
    x.on(ev::stop_asked{});
    while (x.running) x.done();
    ASSERT_TRUE(x.awaiting);
    x.on(ev::leases_late{});
    EXPECT_EQ(x.count("defer_destroy"), 1u);
    EXPECT_EQ(x.count("run destroy"), 0u);
    EXPECT_TRUE(x.end->asked);
}

TEST(instance_state, a_held_one_waits_between_init_and_start) {
    machine x;
    x.on(ev::begin{true});
    while (x.running) x.done();
    EXPECT_EQ(x.m.phase(), instance_phase::ready);
    EXPECT_EQ(x.told.back(), "held");
    x.on(ev::go{});
    while (x.running) x.done();
    EXPECT_EQ(x.m.phase(), instance_phase::active);
    x.on(ev::go{});
    EXPECT_FALSE(x.running);
}

TEST(instance_state, go_may_come_before_it_is_held) {
    machine x;
    x.on(ev::begin{true});
    x.on(ev::go{});
    while (x.running) x.done();
    EXPECT_EQ(x.m.phase(), instance_phase::active);
    EXPECT_EQ(x.count("held"), 0u);
}

TEST(instance_state, a_held_one_ends_when_told_or_when_it_crashes) {
    for (const bool crash : {false, true}) {
        machine x;
        x.on(ev::begin{true});
        while (x.running) x.done();
        if (crash) x.on(ev::crashed{"its process died"});
        else x.on(ev::stop_asked{});
        x.run_out();
        ASSERT_TRUE(x.end);
        EXPECT_EQ(x.end->asked, !crash);
        EXPECT_FALSE(x.end->was_ready);
        EXPECT_EQ(x.count("run stop"), 0u);
        EXPECT_EQ(x.count("run destroy"), 1u);
    }
}

TEST(instance_state, a_retired_one_waits_for_its_users_before_it_quiesces) {
    machine x;
    x.to_active();
    x.told.clear();
    x.on(ev::retired{});
    EXPECT_EQ(x.m.phase(), instance_phase::quiescing);
    EXPECT_EQ(x.told, (std::vector<std::string>{"withdraw", "drain"}));
    x.on(ev::retired{});
    x.on(ev::leases_late{});
    x.awaiting = false;
    x.run_out();
    EXPECT_EQ(x.told, (std::vector<std::string>{"withdraw", "drain", "run quiesce", "run stop", "end_calls", "run revoke", "await_leases", "run destroy", "finished"}));
    EXPECT_TRUE(x.end->asked);
}

TEST(instance_state, a_stop_cuts_the_drain_short_and_a_crash_skips_quiesce) {
    for (const bool crash : {false, true}) {
        machine x;
        x.to_active();
        x.on(ev::retired{});
        x.awaiting = false;
        if (crash) x.on(ev::crashed{"boom"});
        else x.on(ev::stop_asked{});
        EXPECT_EQ(x.running, crash ? step::stop : step::quiesce);
        x.run_out();
        ASSERT_TRUE(x.end);
        EXPECT_EQ(x.end->asked, !crash);
        EXPECT_EQ(x.m.phase(), crash ? instance_phase::failed : instance_phase::stopped);
    }
}

TEST(instance_state, random_events_keep_the_invariants) {
    const auto seed = std::random_device{}();
    std::mt19937 random(seed);
    auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    for (int run = 0; run < 20'000; ++run) {
        machine x;
        bool lost = false, published = false;
        std::string trace;
        for (int i = 0; i < 40; ++i) {
            const auto before = x.told.size();
            const bool ended = x.end.has_value();
            switch (pick(10)) {
                case 0: x.on(ev::begin{pick(2) == 0}); trace += " begin"; break;
                case 8: x.on(ev::go{}); trace += " go"; break;
                case 9: x.on(ev::retired{}); trace += " retired"; break;
                case 1: x.on(ev::stop_asked{}); trace += " stop"; break;
                case 2: x.on(ev::crashed{"c"}); trace += " crash"; break;
                case 3: x.on(ev::leases_gone{}); trace += " gone"; break;
                case 4: x.on(ev::leases_late{}); trace += " late"; break;
                case 5:
                    if (pick(6) == 0) x.on(ev::kill{}), trace += " kill";
                    break;
                default:
                    if (x.running) {
                        const auto o = static_cast<step_outcome>(std::max(0, pick(12) - 8));
                        if (o == step_outcome::timed_out) lost = true;
                        trace += " " + std::string(to_string(*x.running)) + ":" + std::to_string(static_cast<int>(o));
                        x.done(o);
                    }
            }
            for (auto at = before; at < x.told.size(); ++at) {
                const auto& t = x.told[at];
                ASSERT_FALSE(ended) << "seed " << seed << ":" << trace << " → " << t;
                if (t == "publish") published = true;
                if (t == "withdraw") published = false;
                if (lost) {
                    ASSERT_TRUE(t == "end_calls" || t == "run revoke" || t == "abandon" || t == "finished" || t == "withdraw") << "seed " << seed << ":" << trace << " → " << t;
                }
                if (t == "run destroy" || t == "run stop" || t == "run revoke") { ASSERT_FALSE(published) << "seed " << seed << ":" << trace; }
            }
            ASSERT_EQ(x.m.finished(), x.end.has_value());
        }
        ASSERT_LE(x.count("finished"), 1u) << "seed " << seed << ":" << trace;
        ASSERT_LE(x.count("run destroy") + x.count("defer_destroy") , 1u) << "seed " << seed << ":" << trace;
        ASSERT_LE(x.count("publish"), 1u);
        if (x.end) { ASSERT_FALSE(published) << "seed " << seed << ":" << trace; }
    }
}

}  // namespace
}  // namespace holdfast::plugins
