// Servers as real processes: the set, transport-stdio and the policies as real plugins, over the bundled and the bad server.
#include <gtest/gtest.h>

#include <thread>
#include <signal.h>

#include <condition_variable>
#include <filesystem>

#include "kernel/plugins/plugin_set.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers {
namespace {

constexpr auto patience = seconds(30);
using supervise::await;

class servers_stdio : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string text = (std::filesystem::temp_directory_path() / "hf-servers-XXXXXX").string();
        ASSERT_NE(mkdtemp(text.data()), nullptr);
        dir = text;
        plugins::plugin_set_options o;
        o.rt = &rt;
        o.processes = spawner.get();
        o.bus = &bus;
        o.dog = &dog;
        o.metrics = &metrics;
        o.search_path = {HF_PLUGIN_DIR};
        o.use_environment = false;
        o.runtime_dir = dir + "/run";
        o.data_dir = dir + "/data";
        auto made = plugins::plugin_set::create(std::move(o));
        ASSERT_TRUE(made) << made.error().message;
        loaded = *made;
        server_set_options so;
        so.runtime = &rt;
        so.bus = &bus;
        so.transport = [this](const std::string& name) { return loaded->resolve<hf_transport>("transport-" + name, HF_EXT_TRANSPORT)(); };
        so.breaker = [this](const std::string& name) { return loaded->resolve<hf_breaker>(name, HF_EXT_BREAKER)(); };
        so.health = [this](const std::string& name) { return loaded->resolve<hf_health>(name, HF_EXT_HEALTH)(); };
        servers = server_set::create(so);
        std::vector<supervise::child_spec> children;
        children.push_back(loaded->node());
        children.push_back(servers->supervisor_spec());
        root = supervise::supervisor::start(rt, "root", {}, std::move(children));
        for (const char* id : {"transport-stdio", "breaker-consecutive", "health-threshold"}) {
            plugins::plugin_spec p;
            p.id = p.use = id;
            auto up = await<plugins::plugin_info>(patience, [&](auto done) { loaded->add(std::move(p), std::move(done)); });
            ASSERT_TRUE(up) << id << ": " << up.error().message;
        }
        servers->on_catalogue_changed([this] { news(); });
        changes = bus.subscribe_push("server:*", {}, [](unique_function<void()> f) { f(); }, [this](const events::item&) { news(); });
    }
    /// The news of an exit comes an instant before the zombie is reaped; no event tells of that.
    template <class F>
    static bool gone(F is_gone) {
        const auto deadline = std::chrono::steady_clock::now() + seconds(2);
        while (!is_gone() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
        return is_gone();
    }
    void TearDown() override {
        servers->on_catalogue_changed({});
        changes.unsubscribe();
        EXPECT_TRUE(root->stop_and_wait(seconds(60)));
        EXPECT_TRUE(gone([&] { return spawner->running() == 0; })) << "a server outlived the host";
        root = {};
        servers.reset();
        loaded.reset();
        std::filesystem::remove_all(dir);
    }
    void news() {
        std::lock_guard lock(mutex);
        changed.notify_all();
    }
    template <class F>
    bool until(F f) {
        std::unique_lock lock(mutex);
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!f()) {  // snapshots come a moment after the event that wakes us: look again now and then
            if (std::chrono::steady_clock::now() > end) return false;
            changed.wait_for(lock, milliseconds(20));
        }
        return true;
    }
    json row(const std::string& name) { return *servers->row(name); }
    bool healthy(const std::string& name) {
        return until([&] { return row(name)["status"] == "healthy" && !servers->tool_rows(name)["tools"].empty(); });
    }
    json bad(std::vector<std::string> args) { return {{"command", BAD_MCP_SERVER}, {"args", std::move(args)}, {"stop_grace_s", 1}}; }
    json demo() { return {{"command", HOLDFAST_DEMO_SERVER}, {"stop_grace_s", 1}}; }
    void apply(json all) {
        auto r = servers->apply({{"mcpServers", std::move(all)}});
        ASSERT_TRUE(r) << r.error().message;
    }
    struct outcome {
        result<json> value = fail(errc::internal, "none");
        bool sent = false;
    };
    outcome call(const std::string& server, const std::string& tool, json arguments, milliseconds timeout = milliseconds(20'000)) {
        struct shared {
            std::mutex mutex;
            std::condition_variable arrived;
            std::optional<outcome> value;
        };
        auto s = std::make_shared<shared>();  // second owner: the call
        tool_call_events e;
        e.done = [s](result<json> r, bool sent) {
            std::lock_guard lock(s->mutex);
            s->value = outcome{std::move(r), sent};
            s->arrived.notify_all();
        };
        servers->call({server, tool, std::move(arguments), {}, timeout}, std::move(e));
        std::unique_lock lock(s->mutex);
        EXPECT_TRUE(s->arrived.wait_for(lock, patience, [&] { return s->value.has_value(); }));
        return s->value ? *s->value : outcome{};
    }

    std::string dir;
    supervise::pool_runtime rt;
    events::bus bus;
    supervise::watchdog dog;
    plugins::metrics_registry metrics;
    std::unique_ptr<supervise::process_spawner> spawner = std::make_unique<supervise::process_spawner>(rt);
    std::shared_ptr<plugins::plugin_set> loaded;
    std::shared_ptr<server_set> servers;
    supervise::ref<supervise::supervisor> root;
    std::mutex mutex;
    std::condition_variable changed;
    events::push_subscription changes;
};

TEST_F(servers_stdio, the_demo_server_is_modern_and_a_legacy_one_works_beside_it) {
    apply({{"demo", demo()}, {"old", bad({"--mode", "none"})}});
    ASSERT_TRUE(healthy("demo")) << row("demo");
    ASSERT_TRUE(healthy("old")) << row("old");
    EXPECT_EQ(row("demo")["era"], "modern");
    EXPECT_EQ(row("old")["era"], "legacy");
    auto r = call("old", "echo", {{"text", "hello"}});
    ASSERT_TRUE(r.value) << r.value.error().message;
    EXPECT_EQ((*r.value)["content"][0]["text"], "hello");
}
TEST_F(servers_stdio, a_killed_server_is_back_within_a_second) {
    apply({{"demo", demo()}});
    ASSERT_TRUE(healthy("demo"));
    const auto pid = row("demo")["pid"].get<pid_t>();
    const auto began = std::chrono::steady_clock::now();
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    ASSERT_TRUE(until([&] { return row("demo")["restarts"] == 1 && row("demo")["status"] == "healthy"; }));
    const auto took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
    RecordProperty("recovery_ms", static_cast<int>(took.count()));
    EXPECT_NE(row("demo")["pid"].get<pid_t>(), pid);
}
TEST_F(servers_stdio, one_that_dies_in_a_call_fails_the_call_at_once_and_is_restarted) {
    apply({{"bad", bad({"--mode", "die_on_call"})}});
    ASSERT_TRUE(healthy("bad"));
    auto r = call("bad", "echo", {{"text", "x"}});
    ASSERT_FALSE(r.value);
    EXPECT_EQ(r.value.error().code, errc::transport_lost);
    EXPECT_TRUE(r.sent);
    EXPECT_NE(r.value.error().message.find("SIGKILL"), std::string::npos) << r.value.error().message;
    EXPECT_TRUE(healthy("bad"));
}
TEST_F(servers_stdio, a_grandchild_that_holds_the_pipes_delays_nothing) {
    apply({{"bad", bad({"--mode", "grandchild"})}});
    ASSERT_TRUE(healthy("bad"));
    auto r = call("bad", "echo", {{"text", "x"}});
    EXPECT_EQ(r.value.error().code, errc::transport_lost);
    EXPECT_TRUE(healthy("bad"));
}
TEST_F(servers_stdio, a_line_of_ten_megabytes_fails_its_call_and_not_the_server) {
    apply({{"bad", bad({"--mode", "huge_line"})}});
    ASSERT_TRUE(healthy("bad"));
    auto r = call("bad", "echo", {{"text", "x"}});
    ASSERT_FALSE(r.value);
    EXPECT_EQ(r.value.error().code, errc::protocol_error);
    EXPECT_NE(r.value.error().message.find("max_line_bytes"), std::string::npos);
    EXPECT_EQ(row("bad")["status"], "healthy");
    EXPECT_EQ(row("bad")["restarts"], 0);
}
TEST_F(servers_stdio, misbehaviour_of_each_kind_leaves_the_good_one_alone) {
    apply({{"good", bad({"--mode", "none"})},
           {"exits", bad({"--mode", "exit_at_once"})},
           {"missing", {{"command", "/nonexistent/program"}}},
           {"twice", bad({"--mode", "answer_twice"})},
           {"stderr", bad({"--mode", "fill_stderr"})},
           {"garbage", bad({"--mode", "garbage", "--on", "tools/call"})},
           {"deep", bad({"--mode", "deep_json"})},
           {"foreign", bad({"--mode", "foreign_id", "--on", "tools/call"})}});
    for (const char* name : {"good", "twice", "stderr", "garbage", "deep", "foreign"}) EXPECT_TRUE(healthy(name)) << row(name);
    EXPECT_TRUE(call("twice", "echo", {{"text", "x"}}).value);
    EXPECT_TRUE(call("stderr", "echo", {{"text", "x"}}).value);
    for (const char* name : {"garbage", "deep", "foreign"}) {
        auto r = call(name, "echo", {{"text", "x"}}, milliseconds(300));
        ASSERT_FALSE(r.value) << name;
        EXPECT_EQ(r.value.error().code, errc::timeout) << name;
        EXPECT_EQ(row(name)["status"], "healthy") << name;
    }
    EXPECT_TRUE(until([&] { return row("exits")["consecutive_failures"] >= 1; }));
    EXPECT_NE(row("exits")["reason"].get<std::string>().find("status 3"), std::string::npos) << row("exits");
    EXPECT_NE((*servers->log("exits"))["lines"].dump().find("I do not feel like it"), std::string::npos);
    EXPECT_NE(row("missing")["reason"].get<std::string>().find("command_not_found"), std::string::npos) << row("missing");
    EXPECT_EQ(row("good")["restarts"], 0);
    EXPECT_TRUE(call("good", "echo", {{"text", "x"}}).value);
}
TEST_F(servers_stdio, H3_back_with_no_tools_is_not_healthy) {
    apply({{"bad", bad({"--mode", "zero_tools_after_restart", "--state", dir + "/state"})}});
    ASSERT_TRUE(healthy("bad"));
    ASSERT_EQ(::kill(row("bad")["pid"].get<pid_t>(), SIGKILL), 0);
    EXPECT_TRUE(until([&] { return row("bad")["reason"].get<std::string>().find("0 tools") != std::string::npos; })) << row("bad");
    EXPECT_NE(row("bad")["status"], "healthy");
}
TEST_F(servers_stdio, a_stubborn_server_is_ended_all_the_same) {
    apply({{"bad", bad({"--mode", "stubborn"})}});
    ASSERT_TRUE(healthy("bad"));
    const auto pid = row("bad")["pid"].get<pid_t>();
    auto stopped = await<json>(patience, [&](auto done) { servers->stop("bad", std::move(done)); });
    ASSERT_TRUE(stopped) << stopped.error().message;
    EXPECT_EQ((*stopped)["status"], "disabled");
    EXPECT_TRUE(gone([&] { return ::kill(pid, 0) != 0; })) << "the process outlived the reply";
}
TEST_F(servers_stdio, reloads_of_the_transport_fail_no_call) {
    json once = demo();
    once["move"] = "restart";
    apply({{"demo", demo()}, {"once", once}});
    ASSERT_TRUE(healthy("demo"));
    ASSERT_TRUE(healthy("once"));
    std::atomic<bool> enough{false};
    std::atomic<int> made{0};
    std::mutex failures_mutex;
    std::vector<std::string> failures;
    std::vector<std::thread> callers;
    for (const char* server : {"demo", "once"})
        for (const bool slow : {true, false})
            callers.emplace_back([&, server, slow] {
                while (!enough) {
                    const auto r = slow ? call(server, "slow", {{"duration_ms", 60}, {"steps", 2}}) : call(server, "echo", {{"text", "x"}});
                    ++made;
                    if (r.value) continue;
                    std::lock_guard lock(failures_mutex);
                    failures.push_back(std::string(server) + ": " + r.value.error().message);
                }
            });
    for (int i = 0; i < 10; ++i) {
        const auto pids = std::pair(row("demo")["pid"], row("once")["pid"]);
        auto reloaded = await<plugins::plugin_info>(patience, [&](auto done) { loaded->reload("transport-stdio", {}, std::move(done)); });
        EXPECT_TRUE(reloaded) << reloaded.error().message;
        if (!reloaded) break;
        servers->transport_replaced("stdio");
        const auto moved = [&](const char* name, const json& pid) { return row(name).contains("pid") && row(name)["pid"] != pid; };
        EXPECT_TRUE(until([&] { return moved("demo", pids.first) && moved("once", pids.second); })) << row("demo") << row("once");
    }
    enough = true;
    for (auto& c : callers) c.join();
    EXPECT_EQ(failures, std::vector<std::string>{}) << "of " << made << " calls";
    RecordProperty("calls", made);
    for (const char* name : {"demo", "once"}) {
        EXPECT_EQ(row(name)["status"], "healthy");
        EXPECT_EQ(row(name)["restarts"], 0);
    }
    EXPECT_TRUE(gone([&] { return spawner->running() == 2; })) << "a process before was left behind";
}

}  // namespace
}  // namespace holdfast::servers
