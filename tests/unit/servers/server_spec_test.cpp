#include "servers/server_spec.hpp"

#include <gtest/gtest.h>

namespace holdfast::servers {
namespace {

TEST(server_spec, a_claude_desktop_entry_works_as_it_is) {
    auto s = make_spec("files", json::parse(R"({"command":"npx","args":["-y","x"],"env":{"A":"b"},"alwaysAllow":["read"]})"), {}, {});
    ASSERT_TRUE(s) << s.error().message;
    EXPECT_EQ((*s)->transport, "stdio");
    EXPECT_FALSE((*s)->http);
    EXPECT_EQ((*s)->connection["command"], "npx");
    EXPECT_EQ((*s)->breaker_use, "breaker-consecutive");
    EXPECT_EQ((*s)->health_use, "health-threshold");
    EXPECT_TRUE((*s)->enabled);
}
TEST(server_spec, vs_code_and_cursor_words_for_transports) {
    for (const char* type : {"http", "streamable-http", "streamableHttp", "sse"}) {
        auto s = make_spec("r", {{"type", type}, {"url", "https://example.com/mcp"}}, {}, {});
        ASSERT_TRUE(s) << type;
        EXPECT_EQ((*s)->transport, "http") << type;
        EXPECT_TRUE((*s)->http);
    }
    EXPECT_EQ((*make_spec("r", {{"type", "stdio"}, {"command", "x"}}, {}, {}))->transport, "stdio");
    EXPECT_EQ((*make_spec("r", {{"transport", "my-own"}, {"anything", 1}}, {}, {}))->transport, "my-own");
}
TEST(server_spec, the_scheme_says_which_transport) {
    for (const auto& [url, transport] : {std::pair{"http://h/mcp", "http"}, std::pair{"https://h/mcp", "http"}, std::pair{"ws://h/", "websocket"}, std::pair{"wss://h/", "websocket"},
                                         std::pair{"tcp://h:1", "socket"}, std::pair{"tls://h:1", "socket"}, std::pair{"unix:/run/s", "socket"}}) {
        auto s = make_spec("r", {{"url", url}}, {}, {});
        ASSERT_TRUE(s) << url;
        EXPECT_EQ((*s)->transport, transport) << url;
        EXPECT_EQ((*s)->http, std::string(transport) == "http") << "one connection for all is cancelled by a notification";
        EXPECT_EQ(transport_of({{"url", url}}), transport);
    }
    for (const auto& [type, transport] : {std::pair{"ws", "websocket"}, std::pair{"websocket", "websocket"}, std::pair{"tcp", "socket"}, std::pair{"unix", "socket"}, std::pair{"socket", "socket"}}) {
        EXPECT_EQ((*make_spec("r", {{"type", type}, {"url", "x"}}, {}, {}))->transport, transport) << type;
        EXPECT_FALSE(make_spec("r", {{"type", type}}, {}, {})) << "no url";
    }
    EXPECT_EQ((*make_spec("r", {{"type", "sse"}, {"url", "http://h/sse"}}, {}, {}))->connection["type"], "sse") << "for the transport to read";
    EXPECT_EQ(transport_of({{"command", "x"}}), "stdio");
    EXPECT_EQ(transport_of(json::object()), "");
}
TEST(server_spec, how_it_moves_to_a_new_transport) {
    EXPECT_FALSE((*make_spec("r", {{"command", "x"}}, {}, {}))->restarts_to_move);
    EXPECT_FALSE((*make_spec("r", {{"command", "x"}, {"move", "overlap"}}, {}, {}))->restarts_to_move);
    const auto s = *make_spec("r", {{"command", "x"}, {"move", "restart"}}, {}, {});
    EXPECT_TRUE(s->restarts_to_move);
    EXPECT_FALSE(s->connection.contains("move")) << "not the transport's";
    auto wrong = make_spec("r", {{"command", "x"}, {"move", "jump"}}, {}, {});
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("mcpServers.r.move"), std::string::npos) << wrong.error().message;
}
TEST(server_spec, own_settings_override_the_global_ones_key_by_key) {
    const json breaker{{"use", "breaker-window"}, {"failure_threshold", 7}, {"recovery_timeout_s", 10}};
    const json health{{"interval_s", 10}, {"timeout_s", 2}};
    auto s = make_spec("a", json::parse(R"({"command":"x","breaker":{"failure_threshold":3},"health":{"use":"health-phi","interval_s":1}})"), breaker, health);
    ASSERT_TRUE(s);
    EXPECT_EQ((*s)->rules.attempts, 3u);
    EXPECT_EQ((*s)->rules.open_initial, seconds(10));
    EXPECT_EQ((*s)->breaker_use, "breaker-window");
    EXPECT_EQ((*s)->health_use, "health-phi");
    EXPECT_EQ((*s)->health, (json{{"interval_s", 1}})) << "another policy starts from scratch: it may not know the other's keys";
}
TEST(server_spec, equal_settings_have_equal_fingerprints_whatever_the_order_of_keys) {
    auto a = make_spec("a", json::parse(R"({"command":"x","args":["1"]})"), {}, {});
    auto b = make_spec("a", json::parse(R"({"args":["1"],"command":"x"})"), {}, {});
    auto c = make_spec("a", json::parse(R"({"command":"x","args":["2"]})"), {}, {});
    auto d = make_spec("a", json::parse(R"({"command":"x","args":["1"]})"), {{"jitter", 0}}, {});
    EXPECT_EQ(**a, **b);
    EXPECT_FALSE(**a == **c);
    EXPECT_FALSE(**a == **d);
}
TEST(server_spec, says_what_is_wrong_and_where) {
    const auto wrong = [](const char* text) {
        auto s = make_spec("s", json::parse(text), {}, {});
        EXPECT_FALSE(s) << text;
        return s ? std::string() : std::string(to_string(s.error().code)) + " " + s.error().message;
    };
    EXPECT_NE(wrong("{}").find("config_invalid mcpServers.s.command is missing"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":"x","url":"y"})").find("url"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":5})").find("command must be a string"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":"x","args":"-y"})").find("args must be a list"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":"x","env":{"A":1}})").find("env must hold strings"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":"x","breaker":{"failure_threshold":0}})").find("s.breaker.failure_threshold"), std::string::npos);
    EXPECT_NE(wrong(R"({"command":"x","breaker":{"max_timeout_s":1}})").find("max_timeout_s"), std::string::npos);
    EXPECT_NE(wrong(R"({"type":"http"})").find("url"), std::string::npos);
    EXPECT_NE(wrong(R"([])").find("object"), std::string::npos);
    EXPECT_FALSE(make_spec("a/b", {{"command", "x"}}, {}, {}));
    EXPECT_FALSE(make_spec("", {{"command", "x"}}, {}, {}));
}
TEST(server_spec, disabled_in_either_spelling) {
    EXPECT_FALSE((*make_spec("a", {{"command", "x"}, {"disabled", true}}, {}, {}))->enabled);
    EXPECT_FALSE((*make_spec("a", {{"command", "x"}, {"enabled", false}}, {}, {}))->enabled);
}
TEST(server_spec, a_tool_can_be_the_health_probe) {
    auto s = make_spec("a", json::parse(R"({"command":"x","health":{"probe":{"tool":"echo","arguments":{"text":"hi"}}}})"), {}, {});
    ASSERT_TRUE(s);
    EXPECT_EQ((*s)->probe.request["method"], "tools/call");
    EXPECT_EQ((*s)->probe.request["params"]["name"], "echo");
    EXPECT_FALSE(make_spec("a", json::parse(R"({"command":"x","health":{"probe":{}}})"), {}, {}));
}

}  // namespace
}  // namespace holdfast::servers
