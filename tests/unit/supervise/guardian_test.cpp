// The guardian, with a small host of its own (guardian_host.cpp) and in simulated time.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "kernel/supervise/guardian.hpp"
#include "kernel/supervise/process.hpp"
#include "unit/supervise/test_gate.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

bool gone(pid_t pid, std::chrono::nanoseconds within) {
    for (const auto end = std::chrono::steady_clock::now() + within; std::chrono::steady_clock::now() < end; std::this_thread::yield())
        if (::kill(pid, 0) != 0) return true;
    return false;
}

class guardian : public testing::Test {
  protected:
    std::shared_ptr<process> start(std::vector<std::string> args) {
        process_options o;
        o.argv = {GUARDIAN_HOST};
        o.argv.insert(o.argv.end(), args.begin(), args.end());
        o.environment = allowed_environment(default_environment_names());
        process_callbacks c;
        c.on_line = [this](std::string_view l) { lines.change([&](auto& v) { v.emplace_back(l); }); };
        c.on_exit = [this](const process_exit& e) { exit.change([&](auto& x) { x = e.reason; }); };
        auto p = spawner.spawn(std::move(o), std::move(c));
        EXPECT_TRUE(p) << p.error().message;
        return p ? *p : nullptr;
    }
    exit_reason ended() {
        EXPECT_TRUE(exit.wait([](auto& x) { return x.has_value(); }));
        return exit.get().value_or(exit_reason{});
    }
    std::vector<pid_t> pids(const std::string& word, std::size_t n) {
        const auto find = [&](auto& v) {
            std::vector<pid_t> out;
            for (const auto& l : v)
                if (l.rfind(word + " ", 0) == 0) out.push_back(std::stoi(l.substr(word.size() + 1)));
            return out;
        };
        EXPECT_TRUE(lines.wait([&](auto& v) { return find(v).size() >= n; }));
        auto v = lines.get();
        return find(v);
    }
    observed<std::vector<std::string>> lines;
    observed<std::optional<exit_reason>> exit;
    pool_runtime rt;
    process_spawner spawner{rt};
};

}  // namespace

TEST_F(guardian, a_normal_exit_code_passes_through) {
    start({"exit", "42"});
    EXPECT_EQ(ended(), (exit_reason{exit_kind::exit_code, 42, {}}));
}

TEST_F(guardian, a_crash_is_restarted) {
    const std::string mark = "/tmp/holdfast-guardian-" + std::to_string(getpid());
    ::unlink(mark.c_str());
    start({"crash_once", mark});
    EXPECT_EQ(ended().kind, exit_kind::normal);
    EXPECT_EQ(pids("host", 2).size(), 2u);
    ::unlink(mark.c_str());
}

TEST_F(guardian, gives_up_when_the_host_crashes_too_often) {
    start({"crash_always"});
    EXPECT_EQ(ended().code, exit_guardian_gave_up);
    EXPECT_EQ(lines.get().size(), 3u);  // the first start and two restarts
}

TEST_F(guardian, a_stop_that_meets_a_host_which_is_still_starting_is_a_stop) {
    auto p = start({"young"});
    pids("host", 1);
    ::kill(static_cast<pid_t>(p->pid()), SIGTERM);
    EXPECT_EQ(ended().kind, exit_kind::normal);
}

TEST_F(guardian, forwards_the_first_signal_and_kills_at_the_second) {
    auto p = start({"wait"});
    pids("host", 1);
    ::kill(static_cast<pid_t>(p->pid()), SIGTERM);
    EXPECT_EQ(ended(), (exit_reason{exit_kind::exit_code, 5, {}}));
    lines.change([](auto& v) { v.clear(); });
    exit.change([](auto& x) { x.reset(); });
    auto q = start({"stubborn"});
    pids("host", 1);
    ::kill(static_cast<pid_t>(q->pid()), SIGINT);
    pids("got", 1);
    ::kill(static_cast<pid_t>(q->pid()), SIGINT);
    EXPECT_EQ(ended(), (exit_reason{exit_kind::exit_code, 128 + SIGKILL, {}}));
}

TEST_F(guardian, O5_no_orphan_is_left_one_second_after_the_hosts_sigkill) {
    auto p = start({"orphans"});
    const auto host = pids("host", 1).at(0);
    const auto orphans = pids("orphan", 3);
    ASSERT_EQ(orphans.size(), 3u);
    ::kill(host, SIGKILL);
    const auto t0 = std::chrono::steady_clock::now();
    for (auto o : orphans) EXPECT_TRUE(gone(o, seconds(1))) << o;
    EXPECT_LT(std::chrono::steady_clock::now() - t0, seconds(1));
    pids("host", 2);  // and it is back
    p->kill();
    ended();
}

TEST_F(guardian, O5_the_host_stops_when_the_guardian_is_killed) {
    auto p = start({"wait"});
    const auto host = pids("host", 1).at(0);
    ::kill(static_cast<pid_t>(p->pid()), SIGKILL);
    EXPECT_TRUE(gone(host, seconds(20)));
    ended();
}

TEST(guardian_options, are_read_from_text) {
    const auto plain = guardian_options_from("");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->intensity.intensity, 5u);
    const auto drill = guardian_options_from("300/60/0");
    ASSERT_TRUE(drill) << drill.error().message;
    EXPECT_EQ(drill->intensity.intensity, 300u);
    EXPECT_EQ(drill->intensity.period, seconds(60));
    EXPECT_FALSE(drill->backoff.applies());
    const auto slower = guardian_options_from("3/60/2.5");
    ASSERT_TRUE(slower) << slower.error().message;
    EXPECT_EQ(slower->backoff.initial, milliseconds(2500));
    for (const char* bad : {"5", "5/", "/60", "5/0", "5/60/", "5/60/1x", "-1/60", "5/60/-1", "five", "5/nan", "50/60/10"})
        EXPECT_FALSE(guardian_options_from(bad)) << bad;
}

TEST(guardian_decision, exit_restart_and_give_up) {
    using what = guardian_decision::verdict::what;
    guardian_options options;
    seeded_random random(1);
    guardian_decision d(options, random);
    const auto crashed = SIGSEGV;             // a wait status: ended by signal 11
    const auto escalated = exit_restart_me << 8;
    steady_time t{};
    EXPECT_EQ(d.on_host_exit(0, false, false, t, t).action, what::exit);
    EXPECT_EQ(d.on_host_exit(2 << 8, false, false, t, t).exit_code, 2);
    EXPECT_EQ(d.on_host_exit(0, true, true, t, t).action, what::exit);
    EXPECT_EQ(d.on_host_exit(escalated, true, false, t, t).action, what::exit);
    EXPECT_EQ(d.on_host_exit(crashed, true, false, t, t).exit_code, 128 + SIGSEGV);
    for (const int unhandled : {SIGTERM, SIGINT}) EXPECT_EQ(d.on_host_exit(unhandled, true, false, t, t).exit_code, 0) << unhandled;
    EXPECT_EQ(d.on_host_exit(SIGINT, false, true, t, t).action, what::exit);
    EXPECT_EQ(d.on_host_exit(SIGINT, false, true, t, t).exit_code, 128 + SIGINT);
    for (int i = 0; i < 5; ++i) {
        const auto v = d.on_host_exit(i == 4 ? 0 : i % 2 ? crashed : escalated, false, i == 4, t, t + seconds(1));
        EXPECT_EQ(v.action, what::restart) << i;
        if (i == 0) { EXPECT_EQ(v.delay, seconds(0)); }
        if (i == 2) { EXPECT_NEAR(static_cast<double>(v.delay.count()) / 1e9, 2.0, 0.4); }
    }
    EXPECT_EQ(d.on_host_exit(crashed, false, false, t, t + seconds(1)).action, what::give_up);
    EXPECT_EQ(d.on_host_exit(crashed, false, false, t + seconds(2), t + seconds(1000)).delay, seconds(0));  // healthy for long: at once again
}
