// When the guardian asks the host, tells the service manager, and ends a host that hangs. In simulated time.
#include <gtest/gtest.h>

#include <vector>

#include "kernel/supervise/host_watch.hpp"

using namespace holdfast;
using namespace holdfast::supervise;
using act = host_watch::act;

namespace {

struct watched {
    explicit watched(nanoseconds watchdog) : watch(watchdog) {}
    host_watch watch;
    steady_time now{std::chrono::hours(1)};
    bool suspended = false;
    std::vector<std::pair<act, nanoseconds>> done;  ///< what, and when since the start

    std::vector<act> look() {
        std::vector<act> out;
        for (;;) {
            const auto a = watch.look(now, [&] { return suspended; });
            if (a == act::nothing) return out;
            out.push_back(a);
            done.emplace_back(a, now - steady_time{std::chrono::hours(1)});
        }
    }
    /// As the guardian does: looks whenever the watch wants to, until `d` has passed. answers: the host does, at once.
    void pass(nanoseconds d, bool answers) {
        const auto end = now + d;
        for (;;) {
            if (watch.next() > end) break;
            now = std::max(now, watch.next());
            for (auto a : look())
                if (a == act::ask && answers) {
                    if (watch.answered()) done.emplace_back(act::beat, now - steady_time{std::chrono::hours(1)});
                }
        }
        now = end;
    }
    std::size_t count(act a) const {
        return static_cast<std::size_t>(std::count_if(done.begin(), done.end(), [&](auto& d) { return d.first == a; }));
    }
};

}  // namespace

TEST(host_watch, asks_nothing_that_nobody_wants_to_know) {
    watched w(nanoseconds(0));
    w.watch.host_started(w.now);
    EXPECT_TRUE(w.look().empty());
    EXPECT_EQ(w.watch.next(), steady_time::max());
}

TEST(host_watch, beats_twice_in_the_watchdogs_time_while_the_host_answers) {
    watched w(seconds(30));
    w.watch.host_started(w.now);
    w.pass(seconds(60), true);
    EXPECT_EQ(w.count(act::beat), 5u);  // at 0, 15, 30, 45, 60 s
    EXPECT_EQ(w.done.back().second, seconds(60));
}

TEST(host_watch, does_not_beat_for_a_host_that_does_not_answer_and_does_when_it_answers_again) {
    watched w(seconds(30));
    w.watch.host_started(w.now);
    w.pass(seconds(600), false);
    EXPECT_EQ(w.count(act::ask), 1u);
    EXPECT_EQ(w.count(act::beat) + w.count(act::abort_it), 0u);
    EXPECT_TRUE(w.watch.answered());
    EXPECT_FALSE(w.watch.answered()) << "one question, one sign of life";
    EXPECT_EQ(w.look(), std::vector{act::ask});
}

TEST(host_watch, answers_for_itself_between_two_hosts) {
    watched w(seconds(30));
    w.watch.host_started(w.now);
    w.pass(seconds(1), false);
    w.watch.host_ended(w.now);
    w.pass(seconds(31), false);
    EXPECT_EQ(w.count(act::beat), 3u);
    w.watch.host_started(w.now);
    EXPECT_EQ(w.look(), std::vector{act::ask});
}

TEST(host_watch, ends_a_hung_host_by_abort_and_then_by_kill) {
    watched w(nanoseconds(0));
    w.watch.host_started(w.now);
    w.watch.patience(seconds(30), w.now);
    w.pass(seconds(15), true);
    ASSERT_EQ(w.count(act::ask), 2u);
    w.pass(seconds(15), false);  // asked at 30 s and not answered any more
    w.pass(seconds(29), false);
    EXPECT_EQ(w.count(act::abort_it), 0u);
    w.pass(seconds(1), false);
    EXPECT_EQ(w.count(act::abort_it), 1u);
    w.pass(abort_patience - milliseconds(1), false);
    EXPECT_EQ(w.count(act::kill_it), 0u);
    w.pass(milliseconds(1), false);
    EXPECT_EQ(w.count(act::kill_it), 1u);
    EXPECT_FALSE(w.watch.answered()) << "too late";
}

TEST(host_watch, a_time_in_which_the_guardian_was_stopped_as_well_does_not_count) {
    watched w(nanoseconds(0));
    w.watch.patience(seconds(30), w.now);
    w.watch.host_started(w.now);
    ASSERT_EQ(w.look(), std::vector{act::ask});
    for (const auto stop : {seconds(10), seconds(3600), seconds(31), seconds(30)}) {
        w.now += stop;  // nobody looked: Ctrl-Z, a debugger, a machine that slept
        EXPECT_TRUE(w.look().empty());
    }
    w.pass(seconds(21), false);  // and what remains is counted: 4 × 2 s are on it
    EXPECT_EQ(w.count(act::abort_it), 0u);
    w.pass(seconds(2), false);
    EXPECT_EQ(w.count(act::abort_it), 1u);
}

TEST(host_watch, a_host_that_somebody_stopped_is_not_hung) {
    watched w(nanoseconds(0));
    w.watch.patience(seconds(5), w.now);
    w.watch.host_started(w.now);
    w.suspended = true;
    w.pass(seconds(60), false);
    EXPECT_EQ(w.count(act::abort_it), 0u);
    w.suspended = false;
    w.pass(seconds(4), false);
    EXPECT_EQ(w.count(act::abort_it), 0u) << "from now on it has its time again";
    w.pass(seconds(2), false);
    EXPECT_EQ(w.count(act::abort_it), 1u);
}

TEST(host_watch, a_host_that_stops_may_take_its_time) {
    watched w(nanoseconds(0));
    w.watch.patience(seconds(5), w.now);
    w.watch.host_started(w.now);
    w.look();
    w.watch.stopping();
    w.pass(seconds(600), false);
    EXPECT_EQ(w.count(act::abort_it), 0u);
}

TEST(host_watch, a_new_patience_counts_at_once_and_none_ends_it) {
    watched w(seconds(3600));
    w.watch.host_started(w.now);
    w.pass(seconds(1), true);
    w.watch.patience(seconds(10), w.now);
    w.pass(seconds(5), false);
    EXPECT_EQ(w.count(act::ask), 2u);
    w.watch.patience(nanoseconds(0), w.now);
    w.pass(seconds(600), false);
    EXPECT_EQ(w.count(act::abort_it), 0u);
}
