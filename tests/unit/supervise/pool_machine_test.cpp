#include "kernel/supervise/pool_machine.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace holdfast::supervise {
namespace {

/// The shell of a test: does what the machine asks for when told to, and remembers who has what.
struct pool_machine_test : testing::Test {
    seeded_random random{7};
    pool_rules rules = [] {
        pool_rules r;
        r.size = 2;
        r.max_overflow = 1;
        r.lifetime_jitter = 0;
        return r;
    }();
    std::optional<pool_machine> made;
    steady_time now{std::chrono::hours(1)};
    std::vector<pool_action> actions;
    std::map<std::uint64_t, std::uint64_t> has;  ///< waiter → connection, once accepted
    std::map<std::uint64_t, error> refused;
    std::vector<std::uint64_t> creating, checking, destroyed, leaked;
    bool creates_at_once = true, accepts = true;

    pool_machine& pool() {
        if (!made) made.emplace(rules, random);
        return *made;
    }
    void on(const pool_event& e) {
        std::vector<pool_action> out;
        pool().on(e, now, out);
        for (auto& a : out) {
            actions.push_back(a);
            if (auto* c = std::get_if<pool_act::create>(&a)) {
                if (creates_at_once) on(pool_ev::created{c->conn});
                else creating.push_back(c->conn);
            } else if (auto* o = std::get_if<pool_act::offer>(&a)) {
                if (!accepts) continue;
                on(pool_ev::accept{o->waiter, o->conn});
                EXPECT_TRUE(has.emplace(o->waiter, o->conn).second) << "offered twice";
            } else if (auto* r = std::get_if<pool_act::refuse>(&a)) {
                refused[r->waiter] = r->why;
            } else if (auto* d = std::get_if<pool_act::destroy>(&a)) {
                destroyed.push_back(d->conn);
            } else if (auto* k = std::get_if<pool_act::check>(&a)) {
                checking.push_back(k->conn);
            } else if (auto* l = std::get_if<pool_act::leak>(&a)) {
                leaked.push_back(l->conn);
            }
        }
        const auto f = pool().now();
        EXPECT_LE(f.creating + f.idle + f.in_use, rules.size + rules.max_overflow) << "P1";
    }
    void acquire(std::uint64_t w) { on(pool_ev::acquire{w}); }
    void release(std::uint64_t w, bool reusable = true) {
        const auto conn = has.at(w);
        has.erase(w);
        on(pool_ev::release{conn, reusable});
    }
    /// Time passes as the machine wants to be told of it.
    void pass(nanoseconds d) {
        const steady_time end = now + d;
        for (auto at = pool().next_deadline(); at && *at <= end; at = pool().next_deadline()) {
            now = std::max(now, *at);
            on(pool_ev::tick{});
        }
        now = end;
        on(pool_ev::tick{});
    }
};

TEST_F(pool_machine_test, never_more_than_size_and_overflow_and_first_come_first_served) {
    for (std::uint64_t w = 1; w <= 5; ++w) acquire(w);
    EXPECT_EQ(has.size(), 3u);
    EXPECT_EQ(pool().now().waiting, 2u);
    release(2);
    EXPECT_TRUE(has.count(4));
    EXPECT_FALSE(has.count(5));
    release(1);
    EXPECT_TRUE(has.count(5));
    EXPECT_EQ(pool().now().made, 3u);
}

TEST_F(pool_machine_test, whoever_waits_too_long_is_told_that_the_overflow_is_reached) {
    for (std::uint64_t w = 1; w <= 4; ++w) acquire(w);
    pass(rules.wait - milliseconds(1));
    EXPECT_TRUE(refused.empty());
    pass(milliseconds(1));
    ASSERT_TRUE(refused.count(4));
    EXPECT_EQ(refused[4].code, errc::max_overflow_reached);
    EXPECT_NE(refused[4].message.find("all 3 connections are in use"), std::string::npos);
    release(1);
    EXPECT_EQ(has.size(), 2u) << "it is not served any more";
    EXPECT_EQ(pool().now().idle, 1u);
}

TEST_F(pool_machine_test, too_many_waiting_are_refused_at_once) {
    rules.max_waiting = 1;
    for (std::uint64_t w = 1; w <= 5; ++w) acquire(w);
    ASSERT_TRUE(refused.count(5));
    EXPECT_EQ(refused[5].code, errc::max_overflow_reached);
}

TEST_F(pool_machine_test, a_waiter_that_dies_with_an_offer_never_owned_it) {
    accepts = false;
    acquire(1);
    EXPECT_EQ(pool().now().in_use, 1u);
    on(pool_ev::cancel{1});
    EXPECT_EQ(pool().now().in_use, 0u);
    EXPECT_EQ(pool().now().idle, 1u);
    on(pool_ev::accept{1, 1});  // too late
    EXPECT_EQ(pool().now().in_use, 0u);
    accepts = true;
    acquire(2);
    EXPECT_EQ(has.at(2), 1u);
}

TEST_F(pool_machine_test, one_that_gives_up_waiting_is_passed_over) {
    for (std::uint64_t w = 1; w <= 5; ++w) acquire(w);
    on(pool_ev::cancel{4});
    release(1);
    EXPECT_TRUE(has.count(5));
    EXPECT_FALSE(has.count(4));
}

TEST_F(pool_machine_test, an_unfinished_connection_is_ended_and_replaced) {
    for (std::uint64_t w = 1; w <= 4; ++w) acquire(w);
    const auto conn = has.at(1);
    release(1, false);
    EXPECT_EQ(destroyed, std::vector<std::uint64_t>{conn});
    ASSERT_TRUE(has.count(4));
    EXPECT_NE(has.at(4), conn);
}

TEST_F(pool_machine_test, overflow_closes_after_an_idle_linger_and_not_at_once) {
    for (std::uint64_t w = 1; w <= 3; ++w) acquire(w);
    for (std::uint64_t w = 1; w <= 3; ++w) release(w);
    EXPECT_EQ(pool().now().idle, 3u);
    pass(rules.linger - milliseconds(1));
    EXPECT_EQ(pool().now().idle, 3u);
    pass(milliseconds(1));
    EXPECT_EQ(pool().now().idle, rules.size);
}

TEST_F(pool_machine_test, what_was_idle_for_long_is_looked_at_before_it_is_handed_out) {
    rules.wait = seconds(60);
    acquire(1);
    release(1);
    pass(rules.check_after);
    acquire(2);
    EXPECT_EQ(checking, std::vector<std::uint64_t>{1});
    EXPECT_FALSE(has.count(2));
    on(pool_ev::checked{1, false});
    EXPECT_EQ(destroyed, std::vector<std::uint64_t>{1});
    EXPECT_EQ(has.at(2), 2u) << "the unhealthy one is replaced";
    release(2);
    pass(rules.check_after);
    acquire(3);
    on(pool_ev::checked{2, true});
    EXPECT_EQ(has.at(3), 2u);
    release(3);
    pass(rules.check_after);
    acquire(4);
    pass(rules.check);  // no answer to the check
    EXPECT_EQ(has.at(4), 3u);
}

TEST_F(pool_machine_test, creation_is_parallel_and_bounded_and_one_that_hangs_does_not_hold_the_others) {
    creates_at_once = false;
    rules.size = 10;
    rules.max_creating = 2;
    for (std::uint64_t w = 1; w <= 4; ++w) acquire(w);
    EXPECT_EQ(creating, (std::vector<std::uint64_t>{1, 2}));
    on(pool_ev::created{2});
    EXPECT_EQ(has.at(1), 2u) << "whoever waits longest gets what is ready first";
    EXPECT_EQ(creating.size(), 3u);
    pass(rules.wait);
    EXPECT_EQ(refused.at(2).code, errc::timeout);
    pass(rules.create);
    EXPECT_EQ(pool().now().creating, 0u);
}

TEST_F(pool_machine_test, when_none_can_be_made_the_waiting_hear_why) {
    creates_at_once = false;
    acquire(1);
    on(pool_ev::create_failed{1, {errc::transport_lost, "connection refused"}});
    EXPECT_EQ(refused.at(1).code, errc::transport_lost);
    EXPECT_EQ(refused.at(1).message, "connection refused");
    acquire(2);
    EXPECT_EQ(creating.size(), 2u) << "the next one tries anew";
}

TEST_F(pool_machine_test, a_lost_connection_gives_its_offer_back_to_the_head_of_the_queue) {
    accepts = false;
    acquire(1);
    acquire(2);
    on(pool_ev::lost{1});
    accepts = true;
    std::vector<std::uint64_t> offered;
    for (const auto& a : actions)
        if (auto* o = std::get_if<pool_act::offer>(&a)) offered.push_back(o->waiter);
    EXPECT_EQ(offered, (std::vector<std::uint64_t>{1, 2, 1}));
}

TEST_F(pool_machine_test, lifetimes_end_when_idle_or_on_release_and_are_jittered) {
    acquire(1);
    pass(rules.lifetime);
    EXPECT_TRUE(destroyed.empty()) << "never while it is in use";
    release(1);
    EXPECT_EQ(destroyed.size(), 1u);
    acquire(2);
    release(2);
    pass(rules.lifetime);
    EXPECT_EQ(destroyed.size(), 2u);
    pool_rules jittered;
    jittered.size = 50;
    jittered.max_creating = 50;
    pool_machine many(jittered, random);
    std::vector<pool_action> out;
    for (std::uint64_t w = 1; w <= 20; ++w) many.on(pool_ev::acquire{w}, now, out);
    std::vector<pool_action> more;
    for (const auto& a : out)
        if (auto* c = std::get_if<pool_act::create>(&a)) many.on(pool_ev::created{c->conn}, now, more);
    for (const auto& a : std::vector<pool_action>(more))
        if (auto* o = std::get_if<pool_act::offer>(&a)) {
            many.on(pool_ev::accept{o->waiter, o->conn}, now, more);
            many.on(pool_ev::release{o->conn, true}, now, more);
        }
    std::set<steady_time> ends;
    for (auto at = many.next_deadline(); at; at = many.next_deadline()) {
        ends.insert(*at);
        more.clear();
        many.on(pool_ev::tick{}, *at, more);
    }
    EXPECT_GT(ends.size(), 15u) << "they do not end together";
}

TEST_F(pool_machine_test, one_that_is_not_given_back_is_told_of_once) {
    acquire(1);
    pass(rules.leak_after);
    pass(rules.leak_after);
    EXPECT_EQ(leaked, std::vector<std::uint64_t>{1});
}

TEST_F(pool_machine_test, whatever_happens_nobody_shares_a_connection_and_everybody_is_answered) {
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    seeded_random dice(seed);
    creates_at_once = false;
    rules.size = 3;
    rules.max_overflow = 2;
    rules.max_waiting = 20;
    std::uint64_t next = 1;
    std::set<std::uint64_t> asked, given_up;
    for (int step = 0; step < 20'000; ++step) {
        const int what = static_cast<int>(dice.uniform() * 9);
        const auto any = [&](std::vector<std::uint64_t>& list) {
            const std::size_t i = static_cast<std::size_t>(dice.uniform() * static_cast<double>(list.size()));
            const auto conn = list[i];
            list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
            return conn;
        };
        if (what <= 1) {
            asked.insert(next);
            acquire(next++);
        } else if (what == 2 && !has.empty()) {
            release(has.begin()->first, dice.uniform() < 0.8);
        } else if (what == 3 && !creating.empty()) {
            on(pool_ev::created{any(creating)});
        } else if (what == 4 && !creating.empty() && dice.uniform() < 0.3) {
            on(pool_ev::create_failed{any(creating), {errc::transport_lost, "no"}});
        } else if (what == 5 && !checking.empty()) {
            on(pool_ev::checked{any(checking), dice.uniform() < 0.7});
        } else if (what == 6 && !has.empty() && dice.uniform() < 0.2) {
            const auto [w, conn] = *has.begin();
            has.erase(has.begin());
            on(pool_ev::lost{conn});
        } else if (what == 7 && next > 1) {
            const std::uint64_t w = 1 + static_cast<std::uint64_t>(dice.uniform() * static_cast<double>(next - 1));
            if (!has.count(w) && !refused.count(w)) given_up.insert(w);
            if (!has.count(w)) on(pool_ev::cancel{w});
        } else if (what == 8) {
            pass(nanoseconds(static_cast<std::int64_t>(dice.uniform() * 2e9)));
        }
        std::set<std::uint64_t> conns;
        for (const auto& [w, conn] : has) ASSERT_TRUE(conns.insert(conn).second) << "two have connection " << conn;
        ASSERT_EQ(pool().now().in_use, has.size());
    }
    pass(rules.wait + rules.create);
    EXPECT_EQ(pool().now().waiting, 0u) << "nobody waits for ever";
}

}  // namespace
}  // namespace holdfast::supervise
