// Servers as real processes: the set, transport-stdio and the policies as real plugins, over the bundled and the bad server.
#include <signal.h>

#include "integration/server_plugins.hpp"

namespace holdfast::servers {
namespace {

using namespace test;

class servers_stdio : public server_plugins {
  protected:
    servers_stdio() : server_plugins("transport-stdio") {}
    json bad(std::vector<std::string> args) { return {{"command", BAD_MCP_SERVER}, {"args", std::move(args)}, {"stop_grace_s", 1}}; }
    json demo() { return {{"command", HOLDFAST_DEMO_SERVER}, {"stop_grace_s", 1}}; }
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
