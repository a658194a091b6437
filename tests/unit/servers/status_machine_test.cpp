// SRV-3, B1–B3: the schedule of a server that fails, in simulated time, without threads.
#include "servers/status_machine.hpp"

#include <gtest/gtest.h>

namespace holdfast::servers {
namespace {

struct world {
    supervise::seeded_random random{1};
    status_rules rules;
    status_machine machine;
    steady_time t0{std::chrono::hours(1)}, now = t0;
    std::vector<status_action> last;
    std::vector<double> attempts, probes;
    std::vector<std::string> health, moves;
    std::uint32_t under_way = 0, most_under_way = 0;

    explicit world(double jitter = 0) : rules(with(jitter)), machine(rules, random) {}
    static status_rules with(double jitter) {
        status_rules r;
        r.jitter = jitter;
        return r;
    }
    double at() const { return std::chrono::duration<double>(now - t0).count(); }
    void on(const status_event& e) {
        last.clear();
        machine.on(e, now, last);
        for (const auto& a : last) {
            if (auto* c = std::get_if<act::connect>(&a)) {
                (c->probe ? probes : attempts).push_back(at());
                most_under_way = std::max(most_under_way, ++under_way);
            }
            if (auto* h = std::get_if<act::health>(&a)) health.push_back(h->event);
            if (auto* m = std::get_if<act::changed>(&a))
                moves.push_back(std::string(to_string(m->from)) + ">" + std::string(to_string(m->to)));
        }
    }
    void answer(const status_event& e) {
        if (under_way) --under_way;
        on(e);
    }
    /// Every attempt fails at once.
    void fail_until(double seconds_from_start) {
        const auto end = t0 + std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(seconds_from_start));
        for (;;) {
            while (machine.state.attempting) answer(ev::attempt_failed{"it died"});
            const auto next = machine.next_deadline();
            if (!next || *next > end) break;
            now = *next;
            on(ev::tick{});
        }
        now = std::max(now, end);
    }
    void recover() { answer(ev::attempt_ok{}); }
};

TEST(status_schedule, B3_a_server_that_dies_at_every_start_is_disabled_after_exactly_these_attempts) {
    world w;
    w.on(ev::begin{});
    w.fail_until(14.999);
    EXPECT_EQ(w.machine.state.now, status::disconnected);
    w.fail_until(15);
    EXPECT_EQ(w.machine.state.now, status::circuit_open);
    w.fail_until(1799.999);
    EXPECT_EQ(w.machine.state.now, status::circuit_open);
    w.fail_until(1800);
    EXPECT_EQ(w.machine.state.now, status::disabled);
    EXPECT_EQ(w.machine.state.disabled, disabled_by::automatic);
    w.fail_until(100'000);
    EXPECT_EQ(w.attempts, (std::vector<double>{0, 1, 3, 7, 15}));
    EXPECT_EQ(w.probes, (std::vector<double>{45, 105, 225, 465, 945, 1545}));
    EXPECT_EQ(w.most_under_way, 1u);
    EXPECT_EQ(w.moves, (std::vector<std::string>{"disconnected>circuit_open", "circuit_open>disabled"}));
    EXPECT_EQ(w.health.back(), "auto_disabled");
}

TEST(status_schedule, B3_the_same_after_a_loss_of_health) {
    world w;
    w.on(ev::begin{});
    w.recover();
    w.now += seconds(1000);
    w.t0 = w.now;
    w.attempts.clear();
    w.on(ev::lost{"killed"});
    w.fail_until(100'000);
    EXPECT_EQ(w.attempts, (std::vector<double>{0, 1, 3, 7, 15}));
    EXPECT_EQ(w.probes, (std::vector<double>{45, 105, 225, 465, 945, 1545}));
    EXPECT_EQ(w.machine.state.now, status::disabled);
}

TEST(status_schedule, B1_jitter_never_leaves_the_range) {
    for (int seed = 0; seed < 200; ++seed) {
        world w(0.2);
        w.random = supervise::seeded_random(static_cast<std::uint64_t>(seed));
        w.on(ev::begin{});
        w.fail_until(1799);
        double before = 15;
        for (double p : w.probes) {
            EXPECT_GE(p - before, 30.0 - 1e-6) << "seed " << seed;
            EXPECT_LE(p - before, 600.0 + 1e-6) << "seed " << seed;
            before = p;
        }
    }
}

TEST(status_schedule, B2_the_exponent_resets_after_600_s_of_health_and_not_before) {
    const auto first_probe_after = [](seconds healthy) {
        world w;
        w.on(ev::begin{});
        w.fail_until(200);  // probes at 45 and 105: k = 3
        EXPECT_EQ(w.machine.state.exponent, 3u);
        w.now = w.t0 + seconds(225);
        w.on(ev::tick{});
        w.recover();
        EXPECT_EQ(w.machine.state.now, status::healthy);
        EXPECT_EQ(w.machine.state.failures, 0u);
        w.now += healthy;
        w.t0 = w.now;
        w.probes.clear();
        w.on(ev::lost{"again"});
        w.fail_until(700);
        return w.probes.at(0) - 15;
    };
    EXPECT_EQ(first_probe_after(seconds(599)), 240);
    EXPECT_EQ(first_probe_after(seconds(600)), 30);
}

TEST(status_schedule, only_a_person_re_enables_and_that_is_a_fresh_start) {
    world w;
    w.on(ev::begin{});
    w.fail_until(2000);
    ASSERT_EQ(w.machine.state.disabled, disabled_by::automatic);
    for (const status_event& e : {status_event(ev::tick{}), status_event(ev::start{}), status_event(ev::restart{"x"}), status_event(ev::stop{}),
                                  status_event(ev::lost{"x"}), status_event(ev::attempt_ok{}), status_event(ev::begin{})}) {
        w.on(e);
        EXPECT_EQ(w.machine.state.now, status::disabled) << e.index();
        EXPECT_EQ(w.machine.state.disabled, disabled_by::automatic) << e.index();
    }
    w.t0 = w.now;
    w.attempts.clear();
    w.probes.clear();
    w.on(ev::enable{});
    EXPECT_EQ(w.machine.state.exponent, 0u);
    w.fail_until(60);
    EXPECT_EQ(w.attempts, (std::vector<double>{0, 1, 3, 7, 15}));
    EXPECT_EQ(w.probes, (std::vector<double>{45}));
}

TEST(status_schedule, disabled_survives_a_restart_of_the_host_and_stopped_does_not) {
    for (auto by : {disabled_by::automatic, disabled_by::person, disabled_by::stopped}) {
        world w;
        w.on(ev::begin{});
        if (by == disabled_by::automatic) w.fail_until(1800);
        if (by == disabled_by::person) w.on(ev::disable{});
        if (by == disabled_by::stopped) w.on(ev::stop{});
        ASSERT_EQ(w.machine.state.now, status::disabled);
        const json row = to_row(w.machine.state, w.now, wall_time{});
        world next;
        restore(next.machine.state, row);
        next.on(ev::begin{});
        EXPECT_EQ(next.machine.state.now, by == disabled_by::stopped ? status::disconnected : status::disabled);
        EXPECT_EQ(next.attempts.size(), by == disabled_by::stopped ? 1u : 0u);
    }
}

TEST(status_schedule, downtime_and_exponent_survive_a_restart_of_the_host) {
    world w;
    w.on(ev::begin{});
    w.fail_until(100);
    world next;
    restore(next.machine.state, to_row(w.machine.state, w.now, wall_time{}));
    EXPECT_EQ(next.machine.state.exponent, 2u);
    EXPECT_EQ(total_downtime(next.machine.state, next.now), seconds(100));
}

TEST(status_schedule, a_server_that_starts_and_dies_again_and_again_is_not_restarted_without_end) {
    world w;
    w.on(ev::begin{});
    std::size_t starts = 1;
    for (; starts < 1000 && w.machine.state.now != status::circuit_open; ++starts) {
        if (!w.machine.state.attempting) {
            w.now = *w.machine.next_deadline();
            w.on(ev::tick{});
        }
        w.recover();
        w.now += milliseconds(100);
        w.on(ev::lost{"it died"});
    }
    EXPECT_EQ(w.machine.state.now, status::circuit_open);
    EXPECT_LE(starts, 12u);
}

TEST(status_schedule, a_long_life_between_deaths_keeps_recovery_immediate) {
    world w;
    w.on(ev::begin{});
    for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(w.machine.state.attempting) << i;
        w.recover();
        w.now += seconds(5);
        w.on(ev::lost{"killed"});
    }
}

TEST(status_schedule, a_refused_permit_puts_the_attempt_off_and_is_not_a_failure) {
    world w;
    w.on(ev::begin{});
    w.answer(ev::refused{seconds(7)});
    EXPECT_EQ(w.machine.state.failures, 0u);
    EXPECT_EQ(w.machine.next_deadline(), w.now + seconds(7));
    w.now += seconds(7);
    w.on(ev::tick{});
    EXPECT_TRUE(w.machine.state.attempting);
    w.answer(ev::refused{nanoseconds(-1)});
    EXPECT_EQ(w.machine.next_deadline(), w.t0 + std::chrono::minutes(30));
}

TEST(status_schedule, an_attempt_that_hangs_does_not_put_off_the_disabling) {
    world w;
    w.on(ev::begin{});
    w.now = *w.machine.next_deadline();
    EXPECT_EQ(w.at(), 1800);
    w.on(ev::tick{});
    EXPECT_EQ(w.machine.state.now, status::disabled);
    EXPECT_FALSE(w.machine.state.attempting);
    EXPECT_TRUE(std::any_of(w.last.begin(), w.last.end(), [](const auto& a) { return std::get_if<act::close>(&a); }));
    w.answer(ev::attempt_ok{});  // its late success changes nothing
    EXPECT_EQ(w.machine.state.now, status::disabled);
}

status_rules with_restarts(restart_limits limits) {
    status_rules r = world::with(0);
    r.restarts = limits;
    return r;
}
constexpr loss all_losses[] = {loss::exit, loss::crash, loss::hang, loss::health};

TEST(status_schedule, SUP2_what_is_recovered_follows_the_kind_of_loss) {
    const restart_limits permanent{restart_always, restart_always, restart_always, restart_always}, transient{0, restart_always, restart_always, restart_always}, temporary{},
        not_after_a_hang{restart_always, restart_always, 0, restart_always};
    for (const auto& limits : {permanent, transient, temporary, not_after_a_hang})
        for (const loss how : all_losses) {
            world w;
            w.machine.set_rules(with_restarts(limits));
            w.on(ev::begin{});
            w.recover();
            w.now += seconds(60);
            w.on(ev::lost{"it ended", how});
            const bool again = limits[static_cast<std::size_t>(how)] != 0;
            EXPECT_EQ(w.machine.state.attempting, again) << loss_names[static_cast<std::size_t>(how)];
            EXPECT_EQ(w.machine.state.now, again ? status::disconnected : status::disabled);
            if (again) continue;
            EXPECT_EQ(w.machine.state.disabled, disabled_by::stopped) << "start, or the next start of the host, brings it back";
            EXPECT_FALSE(w.machine.next_deadline());
            w.on(ev::start{});
            EXPECT_TRUE(w.machine.state.attempting);
        }
}

TEST(status_schedule, SUP2_so_many_restarts_follow_a_kind_of_loss_and_the_others_are_counted_apart) {
    world w;
    w.machine.set_rules(with_restarts({restart_always, 2, restart_always, 1}));
    const auto lose = [&](loss how, nanoseconds after) {
        if (w.machine.state.attempting) w.recover();
        w.now += after;
        w.on(ev::lost{"it was lost", how});
        return w.machine.state.attempting;
    };
    w.on(ev::begin{});
    EXPECT_TRUE(lose(loss::crash, seconds(60)));
    EXPECT_TRUE(lose(loss::health, seconds(60)));
    EXPECT_TRUE(lose(loss::hang, seconds(60)));
    EXPECT_TRUE(lose(loss::crash, seconds(60)));
    EXPECT_TRUE(lose(loss::crash, seconds(600))) << "ten minutes of health begin the count anew";
    EXPECT_TRUE(lose(loss::crash, seconds(599)));
    EXPECT_FALSE(lose(loss::crash, seconds(599)));
    EXPECT_EQ(w.machine.state.now, status::disabled);
    EXPECT_EQ(w.machine.state.disabled, disabled_by::stopped);
    EXPECT_NE(w.machine.state.reason.find("2 times"), std::string::npos) << w.machine.state.reason;
    EXPECT_NE(w.machine.state.reason.find("restart_policy.crash"), std::string::npos) << w.machine.state.reason;
    w.on(ev::start{});
    EXPECT_TRUE(lose(loss::crash, seconds(60))) << "a person's decision is a fresh start";
    EXPECT_TRUE(lose(loss::health, seconds(60)));
    EXPECT_FALSE(lose(loss::health, seconds(60)));
}

TEST(status_schedule, SUP2_temporary_has_one_try_and_all_others_as_many_as_ever) {
    for (const auto& limits : {restart_limits{0, restart_always, restart_always, restart_always}, restart_limits{}, restart_limits{0, 0, 0, 1}}) {
        world w;
        w.machine.set_rules(with_restarts(limits));
        w.on(ev::begin{});
        w.answer(ev::attempt_failed{"it died"});
        EXPECT_EQ(w.machine.state.now, limits == restart_limits{} ? status::disabled : status::disconnected);
    }
}

TEST(status_schedule, health_events_have_OM_names_in_order) {
    world w;
    w.on(ev::begin{});
    w.recover();
    w.now += seconds(60);
    w.on(ev::lost{"x"});
    w.answer(ev::attempt_failed{"y"});
    w.now += seconds(1);
    w.on(ev::tick{});
    w.recover();
    w.on(ev::disable{});
    w.on(ev::enable{});
    EXPECT_EQ(w.health, (std::vector<std::string>{"connected", "disconnected", "recovery_attempt", "recovery_attempt", "connected",
                                                  "recovery_success", "manually_disabled", "manually_enabled", "recovery_attempt"}));
}

}  // namespace
}  // namespace holdfast::servers
