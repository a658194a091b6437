// The misbehaving server misbehaves as announced; otherwise the tests built on it would prove nothing.
#include <gtest/gtest.h>

#include <fstream>

#include "integration/demo_server_process.hpp"

namespace holdfast::test {
namespace {

const json hello = {{"protocolVersion", "2025-11-25"}, {"capabilities", json::object()}, {"clientInfo", {{"name", "t"}, {"version", "1"}}}};
const json echo = {{"name", "echo"}, {"arguments", {{"text", "hi"}}}};

std::vector<std::string> mode(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {BAD_MCP_SERVER, "--mode"});
    return arguments;
}

std::string temporary(const char* name) { return "/tmp/holdfast-" + std::string(name) + "-" + std::to_string(::getpid()); }

TEST(bad_mcp_server, behaves_when_told_so) {
    server_process s(mode({"none"}));
    EXPECT_EQ(s.request(1, "initialize", hello)["result"]["protocolVersion"], "2025-11-25");
    EXPECT_EQ(s.request(2, "tools/list")["result"]["tools"].size(), 1u);
    EXPECT_EQ(s.request(3, "tools/call", echo)["result"]["content"][0]["text"], "hi");
    EXPECT_EQ(s.request(4, "server/discover")["error"]["code"], -32601);
    s.close_input();
    EXPECT_EQ(s.wait_for_exit(), 0);
}

TEST(bad_mcp_server, ends_when_told_so) {
    EXPECT_EQ(server_process(mode({"exit_at_once"})).wait_for_exit(), 3);
    server_process dies(mode({"die_on_call"}));
    EXPECT_FALSE(dies.request(1, "initialize", hello).is_null());
    EXPECT_TRUE(dies.request(2, "tools/call", echo).is_null());
    EXPECT_EQ(dies.wait_for_exit(), -SIGKILL);
    server_process crashes(mode({"crash_after", "2"}));
    EXPECT_FALSE(crashes.request(1, "initialize", hello).is_null());
    EXPECT_FALSE(crashes.request(2, "ping").is_null());
    EXPECT_TRUE(crashes.request(3, "ping").is_null());
    EXPECT_LT(crashes.wait_for_exit().value_or(0), 0);
}

TEST(bad_mcp_server, breaks_its_answers) {
    server_process garbage(mode({"garbage"}));
    garbage.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "ping"}});
    EXPECT_TRUE(garbage.receive().contains("not_json"));
    server_process twice(mode({"answer_twice"}));
    json once = twice.request(1, "ping");
    EXPECT_EQ(twice.receive(), once);
    server_process foreign(mode({"foreign_id", "--on", "tools/call"}));
    EXPECT_EQ(foreign.request(1, "ping")["result"], json::object());
    foreign.send({{"jsonrpc", "2.0"}, {"id", 2}, {"method", "tools/call"}, {"params", echo}});
    EXPECT_EQ(foreign.receive()["id"], "nobody-asked-this");
    server_process silent(mode({"never_answer", "--on", "tools/call"}));
    silent.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", echo}});
    EXPECT_EQ(silent.request(2, "ping")["result"], json::object());
    EXPECT_TRUE(silent.others.empty());
    server_process flaky(mode({"flaky"}));
    EXPECT_TRUE(flaky.request(1, "tools/call", echo).contains("error"));
    EXPECT_TRUE(flaky.request(2, "tools/call", echo).contains("result"));
}

TEST(bad_mcp_server, floods) {
    server_process huge(mode({"huge_line"}));
    huge.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", echo}});
    EXPECT_GT(huge.line().value_or("").size(), 10u * 1024 * 1024);
    server_process deep(mode({"deep_json"}));
    deep.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", echo}});
    const auto text = deep.line().value_or("");
    EXPECT_EQ(std::count(text.begin(), text.end(), '['), 100'000);
    EXPECT_FALSE(parse_json(text).has_value());
    server_process noisy(mode({"fill_stderr", "--on", "ping"}));
    noisy.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "ping"}});
    EXPECT_FALSE(noisy.line(std::chrono::milliseconds(200)).has_value()) << "nobody reads its stderr, so it must be stuck";
}

TEST(bad_mcp_server, leaves_a_grandchild_that_holds_the_pipes) {
    const auto state = temporary("grandchild");
    server_process s(mode({"grandchild", "--state", state}));
    s.send({{"jsonrpc", "2.0"}, {"id", 1}, {"method", "tools/call"}, {"params", echo}});
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(s.pid()), &info, WEXITED | WNOWAIT), 0);
    EXPECT_FALSE(s.line(std::chrono::milliseconds(100)).has_value());
    pid_t grandchild = 0;
    std::ifstream(state) >> grandchild;
    ASSERT_GT(grandchild, 0);
    EXPECT_EQ(::kill(grandchild, 0), 0) << "the grandchild outlives its parent";
    ::kill(grandchild, SIGKILL);
    EXPECT_EQ(s.wait_for_exit(), 4);
    ::unlink(state.c_str());
}

TEST(bad_mcp_server, forgets_its_tools) {
    const auto state = temporary("tools");
    ::unlink(state.c_str());
    EXPECT_EQ(server_process(mode({"zero_tools_after_restart", "--state", state})).request(1, "tools/list")["result"]["tools"].size(), 1u);
    EXPECT_EQ(server_process(mode({"zero_tools_after_restart", "--state", state})).request(1, "tools/list")["result"]["tools"].size(), 0u);
    ::unlink(state.c_str());
}

TEST(bad_mcp_server, takes_its_time) {
    const auto before = std::chrono::steady_clock::now();
    EXPECT_FALSE(server_process(mode({"slow_start", "150"})).request(1, "ping").is_null());
    EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(150));
    server_process stubborn(mode({"stubborn"}));
    stubborn.request(1, "ping");
    ::kill(stubborn.pid(), SIGTERM);
    EXPECT_FALSE(stubborn.request(2, "ping").is_null());
}

}  // namespace
}  // namespace holdfast::test
