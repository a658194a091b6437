// A plugin in a process of its own: what the host survives there, and how it says so. What holds wherever a plugin runs is tested by the
// other files, which run a second time with HF_TEST_ISOLATED.
#include <random>

#include "fixture.hpp"
#include "holdfast/ext/breaker.h"

namespace holdfast::plugins::testing {
namespace {

// AddressSanitizer ends a process that damages its heap, and rightly reports it: such a death is not looked for under it.
#if defined(__has_feature)
constexpr bool heap_is_watched = __has_feature(address_sanitizer);
#else
constexpr bool heap_is_watched = false;
#endif

class isolated : public plugin_host {
  protected:
    void SetUp() override {
        where = isolation_mode::process;
        build();
    }
    plugin_spec dies(const std::string& id, const std::string& at = "call", const std::string& how = "ok") {
        auto s = spec(id, "bad_dies", {{"at", at}, {"how", how}});
        s.supervision = quick(20);
        return s;
    }
    static std::size_t descriptors() { return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator{})); }
    static std::size_t threads() { return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator{})); }
};

TEST_F(isolated, says_where_it_runs) {
    auto up = add(dies("d"));
    ASSERT_TRUE(up) << up.error().message;
    const auto info = *set->info("d");
    ASSERT_GT(info.pid, 0);
    EXPECT_EQ(kill(static_cast<pid_t>(info.pid), 0), 0);
    EXPECT_EQ(info.to_json()["isolation"], "process");
    EXPECT_EQ(node("d")["process"]["pid"], info.pid);
    ASSERT_TRUE(stop("d"));
    EXPECT_TRUE(until([&] { return kill(static_cast<pid_t>(info.pid), 0) != 0; })) << "its process goes with it";
    EXPECT_TRUE(until([&] { return fs::is_empty(dir.path + "/run/generations"); })) << "and so does its copy of the file";
}

TEST_F(isolated, every_way_to_die_in_a_call_is_contained_and_named) {
    ASSERT_TRUE(add(dies("neighbour")));
    auto s = dies("d");
    s.limits.memory_mb = 200;
    ASSERT_TRUE(add(s));
    std::vector<std::pair<std::string, std::string>> ways{{"segv", "SIGSEGV"}, {"abort", "SIGABRT"},  {"overflow", "SIGSEGV"},
                                                          {"exit", "exit code 3"}, {"_exit", ""}, {"heap", "signal SIG"}, {"memory", "memory limit of 200 MB"}};
    if (heap_is_watched) std::erase_if(ways, [](const auto& w) { return w.first == "heap"; });
    std::size_t times = 1;
    for (const auto& [how, words] : ways) {
        auto r = call("d", how);
        ASSERT_FALSE(r) << how;
        EXPECT_NE(r.error().message.find("d"), std::string::npos);
        EXPECT_NE(r.error().message.find(words), std::string::npos) << how << ": " << r.error().message;
        ASSERT_TRUE(reached("d", instance_phase::active, ++times)) << how;
        EXPECT_TRUE(call("d", "ok")) << "after " << how;
        EXPECT_TRUE(call("neighbour", "ok"));
    }
    EXPECT_EQ(set->info("neighbour")->restarts, 0u);
    EXPECT_EQ(set->info("d")->restarts, ways.size());
}

TEST_F(isolated, calls_under_way_end_when_the_process_does) {
    ASSERT_TRUE(add(dies("d")));
    auto port = make_call_port(set->resolve<hf_llm>("d", HF_EXT_LLM), rt, "d");
    std::promise<result<json>> got[3];
    for (auto& g : got) port->submit("never", json::object(), milliseconds(0), {}, [&g](result<json> r) { g.set_value(std::move(r)); });
    ASSERT_EQ(kill(static_cast<pid_t>(set->info("d")->pid), SIGKILL), 0);
    for (auto& g : got) {
        auto f = g.get_future();
        ASSERT_EQ(f.wait_for(patience), std::future_status::ready);
        const auto r = f.get();
        ASSERT_FALSE(r);
        EXPECT_NE(r.error().message.find("SIGKILL"), std::string::npos) << r.error().message;
    }
    EXPECT_TRUE(reached("d", instance_phase::active, 2));
}

TEST_F(isolated, dying_in_every_step_of_its_life_is_a_failed_start) {
    for (const char* at : {"create", "init", "start"}) {
        auto s = dies("d", at, "segv");
        s.supervision = quick(1);
        auto r = add(s);
        ASSERT_FALSE(r) << at;
        EXPECT_NE(r.error().message.find("SIGSEGV"), std::string::npos) << r.error().message;
        ASSERT_TRUE(reached("d", instance_phase::quarantined)) << at;
        ASSERT_TRUE(ask([&](auto done) { set->remove("d", std::move(done)); }));
        std::lock_guard lock(mutex);
        changes.clear();
    }
}

TEST_F(isolated, dying_in_stop_is_said_and_leaves_nothing) {
    ASSERT_TRUE(add(dies("d", "stop", "abort")));
    auto r = stop("d");
    ASSERT_TRUE(r);
    EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
}

TEST_F(isolated, a_stop_that_never_returns_is_ended) {
    for (const char* how : {"deadlock", "loop"}) {
        auto s = dies("d", "stop", how);
        s.stop_timeout = milliseconds(100);
        ASSERT_TRUE(add(s));
        auto r = stop("d");
        ASSERT_TRUE(r);
        EXPECT_TRUE(until([&] { return logged("stop did not return within 100 ms"); }));
        EXPECT_NE(r->phase, instance_phase::quarantined) << "nothing of it is left to be afraid of";
        EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
        ASSERT_TRUE(ask([&](auto done) { set->remove("d", std::move(done)); }));
    }
}

TEST_F(isolated, dying_in_a_worker_or_a_timer_restarts_it) {
    for (const char* at : {"worker", "timer"}) {
        auto s = dies("d", at, "segv");
        s.supervision = quick(2);
        (void)add(s);
        ASSERT_TRUE(reached("d", instance_phase::quarantined)) << at;
        EXPECT_NE(set->info("d")->reason.find("SIGSEGV"), std::string::npos) << set->info("d")->reason;
        ASSERT_TRUE(ask([&](auto done) { set->remove("d", std::move(done)); }));
        std::lock_guard lock(mutex);
        changes.clear();
    }
}

TEST_F(isolated, a_start_that_hangs_is_tried_again) {
    auto s = spec("d", "bad_slow", {{"start_ms", 60'000}});
    s.start_timeout = milliseconds(50);
    s.supervision = quick(1);
    auto r = add(s);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("start did not return within 50 ms"), std::string::npos) << r.error().message;
    ASSERT_TRUE(reached("d", instance_phase::quarantined));
    EXPECT_EQ(set->info("d")->incarnation, 2u);
    EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
}

TEST_F(isolated, a_worker_that_stops_beating_is_ended_with_its_process) {
    auto s = spec("t", "bad_workers", {{"heartbeat_ms", 50}, {"shutdown_ms", 200}, {"workers", {{{"name", "w"}, {"mode", "no_beat"}}}}});
    s.supervision = quick(1);
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(reached("t", instance_phase::quarantined));
    EXPECT_NE(set->info("t")->reason.find("worker 'w' is hung"), std::string::npos) << set->info("t")->reason;
}

TEST_F(isolated, a_worker_that_never_stops_is_ended_with_its_process) {
    auto s = spec("t", "bad_workers", {{"heartbeat_ms", 0}, {"shutdown_ms", 100}, {"workers", {{{"name", "w"}, {"mode", "no_stop"}}}}});
    ASSERT_TRUE(add(s));
    auto r = stop("t");
    ASSERT_TRUE(r);
    EXPECT_NE(r->phase, instance_phase::quarantined) << r->reason;
    EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
}

TEST_F(isolated, escape_probes_are_denied_as_far_as_the_level_says) {
    const auto victim = dir.path + "/victim";
    std::ofstream(victim) << "the host's";
    auto s = spec("e", "bad_escapes");
    s.sandbox = {{"network", false}};
    ASSERT_TRUE(add(s));
    const json level = set->info("e")->sandbox;
    auto r = call("e", "probe", milliseconds(0), {{"host", getpid()}, {"file", victim}});
    ASSERT_TRUE(r) << r.error().message;
    std::size_t probes = 0;
    auto denied = [&](const char* group, bool active) {
        for (const auto& [name, rc] : (*r)[group].items()) {
            ++probes;
            if (active) { EXPECT_NE(rc.get<int>(), 0) << name << " worked at level " << level; }
        }
    };
    denied("files", level["files"]);
    denied("calls", level["calls"]);
    denied("network", !level["network"].get<bool>());
    EXPECT_GE(probes, 20u);
    if (level["files"]) {
        EXPECT_EQ(slurp(victim), "the host's");
    }
    EXPECT_EQ(level["level"] == "full", level["missing"].empty()) << level;
    EXPECT_FALSE(fs::exists("/tmp/holdfast-escape") && level["files"]);
    EXPECT_TRUE(call("e", "probe", milliseconds(0), {{"host", getpid()}, {"file", victim}})) << "and it still answers";
}

TEST_F(isolated, without_a_sandbox_it_says_off) {
    auto s = dies("d");
    s.sandbox = {{"on", false}};
    ASSERT_TRUE(add(s));
    EXPECT_EQ(set->info("d")->sandbox["level"], "off");
}

TEST_F(isolated, a_megabyte_goes_there_and_back) {
    ASSERT_TRUE(add(spec("p", "plugins_probe")));
    const std::string big(3u << 20, 'x');
    auto r = call("p", "echo", milliseconds(0), {{"text", big}});
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["text"].get<std::string>().size(), big.size());
}

TEST_F(isolated, deaths_leak_nothing) {
    ASSERT_TRUE(add(dies("d")));
    (void)call("d", "segv");
    ASSERT_TRUE(reached("d", instance_phase::active, 2));
    ASSERT_TRUE(call("d", "ok"));
    const auto fds = descriptors();
    std::size_t times = 2;
    for (int i = 0; i < 10; ++i) {
        (void)call("d", i % 2 ? "segv" : "exit");
        ASSERT_TRUE(reached("d", instance_phase::active, ++times));
    }
    ASSERT_TRUE(call("d", "ok"));
    EXPECT_LE(descriptors(), fds + 2);
    EXPECT_TRUE(until([&] { return spawner->running() == 1; }));
    shut_down();
    EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
}

TEST_F(isolated, a_destroy_that_throws_leaks_nothing) {
    auto once = [&] {
        auto s = spec("t", "bad_throws", {{"throw_in", "destroy"}});
        s.supervision.restart = supervise::restart_type::temporary;
        ASSERT_TRUE(add(s));
        auto r = stop("t");
        ASSERT_TRUE(r);
        EXPECT_NE(r->reason.find("destroy threw"), std::string::npos) << r->reason;
        ASSERT_TRUE(ask([&](auto done) { set->remove("t", std::move(done)); }));
        EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
    };
    once();
    const auto fds = descriptors();
    for (int i = 0; i < 5; ++i) once();
    EXPECT_TRUE(until([&] { return descriptors() <= fds + 2; })) << descriptors() << " descriptors, " << fds << " before";
}

TEST_F(isolated, a_process_that_ends_as_asked_has_not_crashed) {
    // The host hears the plugin's last words only when its process is gone already.
    before_logging = [this](const log_line& l) {
        if (l.message != "goodbye") return;
        EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
    };
    ASSERT_TRUE(add(spec("p", "plugins_probe", {{"say", "goodbye"}})));
    ASSERT_TRUE(stop("p"));
    EXPECT_TRUE(logged("goodbye"));
    shut_down();
    EXPECT_FALSE(logged("ended by itself"));
}

/// Deaths at random under load. HF_TEST_DEATHS sets how many: a few in ./test, 1,000 in tests/isolation/run.sh.
TEST_F(isolated, random_deaths_disturb_nobody_and_leak_nothing) {
    const char* wanted = std::getenv("HF_TEST_DEATHS");
    const int deaths = wanted ? std::atoi(wanted) : 30;
    const auto seed = static_cast<unsigned>(std::chrono::steady_clock::now().time_since_epoch().count());
    std::mt19937 random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed));
    auto s = dies("d");
    s.supervision.limit = {100'000, seconds(1)};
    s.limits.memory_mb = 150;
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(add(spec("n", "plugins_probe")));
    auto neighbour = make_call_port(set->resolve<hf_llm>("n", HF_EXT_LLM), rt, "n");
    (void)call("d", "segv");
    ASSERT_TRUE(until([&] { return bool(call("d", "ok")); }));
    const auto fds = descriptors(), running = threads();

    // The load: calls to the neighbour, one after the other, all of which must succeed.
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> answered{0}, failed{0};
    std::thread load([&] {
        while (!over) {
            auto r = await<json>(patience, [&](auto done) { neighbour->submit("echo", {{"n", 1}}, milliseconds(0), {}, std::move(done)); });
            ++(r ? answered : failed);
        }
    });
    std::vector<std::string> ways{"segv", "abort", "overflow", "exit", "_exit", "heap", "memory", "loop", "deadlock"};
    if (heap_is_watched) std::erase(ways, "heap");
    auto victim = make_call_port(set->resolve<hf_llm>("d", HF_EXT_LLM), rt, "d");
    for (int i = 0; i < deaths; ++i) {
        const auto& how = ways[random() % ways.size()];
        if (how == "loop" || how == "deadlock") {  // does not end by itself within the call's patience: from outside, in the middle
            victim->submit("never", json::object(), milliseconds(0), {}, [](result<json>) {});
            if (const auto pid = static_cast<pid_t>(set->info("d")->pid); pid > 0) kill(pid, SIGKILL);
        } else {
            (void)call("d", how);
        }
        ASSERT_TRUE(until([&] { return bool(call("d", "ok")); })) << how << ": " << set->info("d")->reason;
    }
    over = true;
    load.join();
    EXPECT_EQ(failed, 0u);
    EXPECT_GT(answered, 0u);
    EXPECT_EQ(set->info("n")->restarts, 0u);
    EXPECT_TRUE(until([&] { return descriptors() <= fds + 2; })) << descriptors() << " descriptors, " << fds << " at first";
    EXPECT_TRUE(until([&] { return threads() <= running + 2; })) << threads() << " threads, " << running << " at first";
    EXPECT_TRUE(until([&] { return spawner->running() == 2; }));
    EXPECT_TRUE(until([&] { return std::distance(fs::directory_iterator(dir.path + "/run/generations"), fs::directory_iterator{}) == 2; }));
    std::printf("%d deaths; the neighbour answered %llu calls meanwhile\n", deaths, static_cast<unsigned long long>(answered.load()));
}

TEST_F(isolated, a_host_without_processes_says_so) {
    shut_down();
    plugin_set_options o;
    o.rt = &rt;
    o.search_path = {HF_TEST_PLUGINS};
    o.use_environment = false;
    o.runtime_dir = dir.path + "/run2";
    set = plugin_set::create(std::move(o)).value();
    std::vector<supervise::child_spec> children;
    children.push_back(set->node());
    root = supervise::supervisor::start(rt, "root", {}, std::move(children));
    auto s = dies("d");
    s.supervision = quick(0);
    auto r = add(s);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("starts no processes"), std::string::npos) << r.error().message;
}

}  // namespace
}  // namespace holdfast::plugins::testing
