// The replacement of a plugin as a state machine: both ways there, every way back, and random events against its invariants.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "kernel/plugins/reload_state.hpp"

namespace holdfast::plugins {
namespace {

namespace ev = reload_event;
namespace act = reload_action;
using said = std::vector<std::string>;

struct machine {
    reload_machine m;
    said told;
    said on(const any_reload_event& e) {
        static constexpr const char* names[] = {"make_new", "retire_old", "start_new", "stop_new", "watch", "restore", "forget", "refused", "replaced", "rolled_back", "lost"};
        std::vector<any_reload_action> out;
        m.on(e, out);
        said now;
        for (const auto& a : out) now.emplace_back(names[a.index()]);
        told.insert(told.end(), now.begin(), now.end());
        return now;
    }
};

TEST(reload_state, overlapping_versions_change_places_while_both_run) {
    machine x;
    EXPECT_EQ(x.on(ev::begin{false}), said{"make_new"});
    EXPECT_EQ(x.on(ev::held{}), said{"start_new"});
    EXPECT_FALSE(x.m.switching());
    EXPECT_EQ(x.on(ev::new_active{}), (said{"retire_old", "watch", "replaced"}));
    EXPECT_EQ(x.on(ev::old_ended{"retired"}), said{});
    EXPECT_EQ(x.m.phase(), reload_phase::probation);
    EXPECT_EQ(x.on(ev::probation_over{}), said{"forget"});
    EXPECT_EQ(x.m.phase(), reload_phase::idle);
}

TEST(reload_state, exclusive_versions_follow_one_another) {
    machine x;
    x.on(ev::begin{true});
    EXPECT_EQ(x.on(ev::held{}), said{"retire_old"});
    EXPECT_TRUE(x.m.switching());
    EXPECT_EQ(x.on(ev::old_ended{""}), said{"start_new"});
    EXPECT_EQ(x.on(ev::new_active{}), (said{"watch", "replaced"}));
    EXPECT_FALSE(x.m.switching());
}

TEST(reload_state, a_new_version_that_fails_before_it_serves_is_refused) {
    for (const bool held : {false, true}) {
        machine x;
        x.on(ev::begin{false});
        if (held) x.on(ev::held{});
        EXPECT_EQ(x.on(ev::new_ended{"boom"}), said{"refused"});
        EXPECT_EQ(x.m.phase(), reload_phase::idle);
    }
}

TEST(reload_state, an_exclusive_one_that_fails_to_start_brings_the_old_one_back) {
    machine x;
    x.on(ev::begin{true});
    x.on(ev::held{});
    x.on(ev::old_ended{""});
    EXPECT_EQ(x.on(ev::new_ended{"boom"}), said{"restore"});
    EXPECT_TRUE(x.m.switching());
    EXPECT_EQ(x.on(ev::restored{}), said{"rolled_back"});
    EXPECT_FALSE(x.m.switching());
}

TEST(reload_state, an_exclusive_one_that_dies_while_the_old_one_stops_brings_it_back) {
    machine x;
    x.on(ev::begin{true});
    x.on(ev::held{});
    EXPECT_EQ(x.on(ev::new_ended{"boom"}), said{});
    EXPECT_EQ(x.on(ev::old_ended{""}), said{"restore"});
}

TEST(reload_state, a_failure_in_the_probation_is_rolled_back_and_one_after_it_is_not) {
    machine x;
    x.on(ev::begin{false});
    x.on(ev::held{});
    x.on(ev::new_active{});
    EXPECT_EQ(x.on(ev::new_ended{"boom"}), said{"restore"});
    EXPECT_EQ(x.on(ev::restore_failed{"again"}), said{"lost"});
    machine y;
    y.on(ev::begin{false});
    y.on(ev::held{});
    y.on(ev::new_active{});
    y.on(ev::probation_over{});
    EXPECT_EQ(y.on(ev::new_ended{"boom"}), said{});
}

TEST(reload_state, the_old_ones_own_end_comes_first) {
    for (const bool held : {false, true}) {
        machine x;
        x.on(ev::begin{false});
        if (held) x.on(ev::held{});
        EXPECT_EQ(x.on(ev::old_ended{"crashed"}), (said{"stop_new", "refused"}));
    }
}

TEST(reload_state, one_at_a_time_but_again_during_the_probation) {
    machine x;
    x.on(ev::begin{false});
    EXPECT_EQ(x.on(ev::begin{false}), said{});
    x.on(ev::held{});
    EXPECT_EQ(x.on(ev::begin{false}), said{});
    x.on(ev::new_active{});
    EXPECT_EQ(x.on(ev::begin{false}), said{"make_new"});
}

TEST(reload_state, a_stop_ends_it_in_every_phase) {
    machine x;
    EXPECT_EQ(x.on(ev::abort{"stop"}), said{});
    x.on(ev::begin{true});
    EXPECT_EQ(x.on(ev::abort{"stop"}), (said{"stop_new", "lost"}));
    x.on(ev::begin{true});
    x.on(ev::held{});
    EXPECT_EQ(x.on(ev::abort{"stop"}), (said{"stop_new", "lost"}));
    x.on(ev::begin{false});
    x.on(ev::held{});
    x.on(ev::new_active{});
    EXPECT_EQ(x.on(ev::abort{"stop"}), said{"forget"});
    EXPECT_EQ(x.m.phase(), reload_phase::idle);
}

/// Whatever happens in whatever order: one answer for each beginning that was taken, and the old one is retired at most once.
TEST(reload_state, random_events_keep_the_invariants) {
    const auto seed = std::random_device{}();
    std::mt19937 random(seed);
    for (int run = 0; run < 20'000; ++run) {
        machine x;
        int begun = 0, answered = 0, retired = 0;
        for (int i = 0; i < 40; ++i) {
            const bool free = !x.m.under_way();
            const any_reload_event all[] = {ev::begin{random() % 2 == 0}, ev::held{}, ev::new_active{}, ev::new_ended{"n"}, ev::old_ended{"o"}, ev::restored{}, ev::restore_failed{"r"}, ev::probation_over{}, ev::abort{"a"}};
            const any_reload_event e = all[random() % std::size(all)];
            const auto now = x.on(e);
            const auto count = [&](const char* what) { return static_cast<int>(std::count(now.begin(), now.end(), what)); };
            if (count("make_new")) {
                ASSERT_TRUE(free) << seed;
                ++begun;
                retired = 0;
            }
            retired += count("retire_old");
            ASSERT_LE(retired, 1) << seed;
            // A roll-back of one that had been answered for is told, too.
            const int outcomes = count("refused") + count("replaced") + count("rolled_back") + count("lost");
            ASSERT_LE(outcomes, 1) << seed;
            answered += count("refused") + count("replaced");
            if (outcomes) { ASSERT_FALSE(x.m.under_way()) << seed; }
            ASSERT_LE(answered, begun) << seed;
        }
    }
}

}  // namespace
}  // namespace holdfast::plugins
