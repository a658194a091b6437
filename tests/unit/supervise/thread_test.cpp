// T1–T3: worker threads and the watchdog.
#include <gtest/gtest.h>
#include <poll.h>

#include "kernel/supervise/worker_thread.hpp"
#include "unit/supervise/test_gate.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

supervisor_options quick(observed<std::vector<supervision_report>>* reports = nullptr) {
    supervisor_options o;
    o.rules.intensity = {1000, seconds(1000)};
    o.rules.backoff = backoff_policy::none();
    if (reports) o.reports = [reports](const supervision_report& r) { reports->change([&](auto& v) { v.push_back(r); }); };
    return o;
}

std::vector<child_spec> one(child_spec s) {
    std::vector<child_spec> v;
    v.push_back(std::move(s));
    return v;
}

bool has(const std::vector<supervision_report>& v, report_kind k, exit_kind why) {
    return std::any_of(v.begin(), v.end(), [&](auto& r) { return r.kind == k && r.reason.kind == why; });
}

int wait_for_stop(worker_signals& s) {
    pollfd p{s.wake_fd.load(), POLLIN, 0};
    while (!s.stop.load()) poll(&p, 1, 10'000);
    return 0;
}

}  // namespace

TEST(T1, an_exception_in_a_thread_becomes_its_exit_reason_and_it_is_replaced) {
    observed<std::vector<supervision_report>> reports;
    std::atomic<int> runs{0};
    pool_runtime rt;
    auto s = supervisor::start(rt, "root", quick(&reports), one(thread_child("w", {}, [&](worker_signals& sig) -> int {
        if (++runs == 1) throw std::runtime_error("boom");
        if (runs == 2) throw 42;
        if (runs == 3) return 7;
        return wait_for_stop(sig);
    })));
    ASSERT_TRUE(reports.wait([&](auto& v) { return std::count_if(v.begin(), v.end(), [](auto& r) { return r.kind == report_kind::progress; }) == 4; }));
    const auto v = reports.get();
    EXPECT_TRUE(has(v, report_kind::child_terminated, exit_kind::error));
    EXPECT_TRUE(has(v, report_kind::child_terminated, exit_kind::exit_code));
    const auto tree = s->tree()["children"][0];
    EXPECT_EQ(tree["restarts"], 3);
    EXPECT_EQ(tree["incarnation"], 4);
    EXPECT_EQ(tree["last_exit"]["code"], 7);
    EXPECT_EQ(tree["quarantined"], false);
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
    EXPECT_TRUE(has(reports.get(), report_kind::shutdown, exit_kind::shutdown));
}

TEST(T1, a_thread_that_returns_ended_normally_and_a_transient_one_stays_down) {
    observed<std::vector<supervision_report>> reports;
    pool_runtime rt;
    auto spec = thread_child("w", {}, [](worker_signals&) { return 0; });
    spec.restart = restart_type::transient;
    auto s = supervisor::start(rt, "root", quick(&reports), one(std::move(spec)));
    ASSERT_TRUE(reports.wait([&](auto& v) { return has(v, report_kind::child_terminated, exit_kind::normal); }));
    EXPECT_EQ(s->which_children()[0].state, child_state::stopped);
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
}

TEST(T2, a_thread_that_does_not_stop_is_quarantined_and_never_hangs_the_host) {
    observed<std::vector<supervision_report>> reports;
    observed<int> pinned, released, left;
    pool_runtime rt;
    const auto before = quarantined_threads();
    worker_options options;
    options.on_quarantine = [&] { pinned.change([](int& n) { ++n; }); };
    auto spec = thread_child("stuck", options, [&](worker_signals&) {
        released.wait([](int n) { return n > 0; });
        left.change([](int& n) { ++n; });
        return 0;
    });
    spec.shutdown = shutdown_policy::within(milliseconds(30));
    auto s = supervisor::start(rt, "root", quick(&reports), one(std::move(spec)));
    ASSERT_TRUE(reports.wait([&](auto& v) { return !v.empty(); }));
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
    EXPECT_EQ(quarantined_threads(), before + 1);
    EXPECT_EQ(pinned.get(), 1);
    EXPECT_TRUE(has(reports.get(), report_kind::shutdown_error, exit_kind::hang));
    released.change([](int& n) { ++n; });
    EXPECT_TRUE(left.wait([](int n) { return n == 1; }));
}

TEST(T2, a_thread_that_stops_beating_is_replaced_within_its_deadline) {
    observed<std::vector<supervision_report>> reports;
    observed<int> released, left;
    std::atomic<int> runs{0};
    pool_runtime rt;
    watchdog dog;
    worker_options options;
    options.heartbeat_deadline = milliseconds(150);
    auto s = supervisor::start(rt, "root", quick(&reports), one(thread_child("w", options, [&](worker_signals& sig) {
        if (++runs == 1) {
            ++sig.heartbeats;
            released.wait([](int n) { return n > 0; });  // hangs
            left.change([](int& n) { ++n; });
            return 0;
        }
        pollfd p{sig.wake_fd.load(), POLLIN, 0};
        while (!sig.stop.load()) {
            ++sig.heartbeats;
            poll(&p, 1, 5);
        }
        return 0;
    }, &dog)));
    const auto t0 = std::chrono::steady_clock::now();
    ASSERT_TRUE(reports.wait([&](auto& v) { return has(v, report_kind::child_terminated, exit_kind::hang); }));
    EXPECT_LT(std::chrono::steady_clock::now() - t0, seconds(5));
    ASSERT_TRUE(reports.wait([&](auto& v) { return std::count_if(v.begin(), v.end(), [](auto& r) { return r.kind == report_kind::progress; }) == 2; }));
    EXPECT_GE(dog.episodes(), 1u);
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
    released.change([](int& n) { ++n; });
    EXPECT_TRUE(left.wait([](int n) { return n == 1; }));
}

TEST(T2, stages_in_order_one_alert_each_and_a_beat_ends_the_episode) {
    steady_time t{};
    heartbeat_decision d(seconds(10), t);
    std::string seen;
    const auto sample = [&](std::uint64_t beats, int at) {
        if (auto s = d.on_sample(beats, t + seconds(at))) seen += std::to_string(at) + std::string(to_string(*s)) + " ";
    };
    std::uint64_t beats = 0;
    for (int i = 0; i < 4; ++i) sample(++beats, i);       // beating: nothing to say
    for (int i = 4; i < 40; ++i) sample(beats, i);        // silent since 3
    for (int i = 40; i < 43; ++i) sample(++beats, i);     // back
    for (int i = 43; i < 55; ++i) sample(beats, i);       // a new episode
    EXPECT_EQ(seen, "8missed 13hung 23escalated 40beating 47missed 52hung ");
}

TEST(T2, a_late_sample_still_tells_every_stage) {
    steady_time t{};
    heartbeat_decision d(seconds(1), t);
    EXPECT_EQ(d.on_sample(0, t + seconds(100)), watch_stage::missed);
    EXPECT_EQ(d.on_sample(0, t + seconds(100)), watch_stage::hung);
    EXPECT_EQ(d.on_sample(0, t + seconds(100)), watch_stage::escalated);
    EXPECT_EQ(d.on_sample(0, t + seconds(200)), std::nullopt);
}

TEST(T3, allocation_failure_at_the_boundary_is_an_exit_reason) {
    observed<std::vector<supervision_report>> reports;
    pool_runtime rt;
    auto spec = thread_child("w", {}, [](worker_signals&) -> int { throw std::bad_alloc(); });
    spec.restart = restart_type::temporary;
    auto s = supervisor::start(rt, "root", quick(&reports), one(std::move(spec)));
    EXPECT_TRUE(reports.wait([&](auto& v) { return has(v, report_kind::child_terminated, exit_kind::error); }));
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
}
