// What the MCP endpoint refuses, and that it refuses it before the gateway hears of it.
#include "ui-http/json_check.hpp"
#include "unit/ui_http/mcp_fixture.hpp"

namespace holdfast::test {
namespace {

using holdfast::ui_http::json_problem;

TEST_F(mcp_http, foreign_origins_and_hosts_are_refused_and_allowed_ones_may_read) {
    start({{"allowed_origins", {"https://chat.example"}}});
    const auto evil = post(ping, "Origin: https://evil.example\r\n");
    EXPECT_EQ(evil.status, 403);
    EXPECT_NE(error_of(evil), "");
    EXPECT_EQ(ask(request("POST", "/mcp", bearer() + json_type() + accept(), ping, "evil.example")).status, 403);
    EXPECT_EQ(host.calls("mcp.post").size(), 0u);
    const auto good = post(ping, "Origin: https://chat.example\r\n");
    EXPECT_EQ(good.status, 200);
    EXPECT_EQ(good.headers.at("access-control-allow-origin"), "https://chat.example");
    EXPECT_NE(good.headers.at("access-control-expose-headers").find("Mcp-Session-Id"), std::string::npos);
    const auto flight = ask(request("OPTIONS", "/mcp", "Origin: https://chat.example\r\nAccess-Control-Request-Method: POST\r\n"));
    EXPECT_EQ(flight.status, 204);
    EXPECT_NE(flight.headers.at("access-control-allow-headers").find("mcp-session-id"), std::string::npos);
    EXPECT_EQ(flight.headers.at("access-control-allow-origin"), "https://chat.example");
    EXPECT_EQ(ask(request("OPTIONS", "/mcp", "Origin: https://evil.example\r\n")).status, 403);
}

TEST_F(mcp_http, a_token_is_needed_unless_the_configuration_says_none) {
    start();
    const auto r = ask(request("POST", "/mcp", json_type() + accept(), ping));
    EXPECT_EQ(r.status, 401);
    EXPECT_EQ(r.headers.at("www-authenticate").substr(0, 6), "Bearer");
    EXPECT_EQ(ask(request("POST", "/mcp", "Authorization: Bearer wrong\r\n" + json_type() + accept(), ping)).status, 401);
    host.stop();
    start({{"auth", {{"mode", "none"}}}});
    EXPECT_EQ(ask(request("POST", "/mcp", json_type() + accept(), ping)).status, 200);
    EXPECT_EQ(ask(request("POST", "/mcp", "Sec-Fetch-Site: cross-site\r\n" + json_type() + accept(), ping)).status, 403) << "a page of another site";
}

TEST_F(mcp_http, types_must_be_those_of_the_protocol) {
    start();
    EXPECT_EQ(ask(request("POST", "/mcp", bearer() + accept() + "Content-Type: text/plain\r\n", ping)).status, 415);
    EXPECT_EQ(ask(request("POST", "/mcp", bearer() + accept(), ping)).status, 415);
    const auto with = [&](const std::string& types) { return ask(request("POST", "/mcp", bearer() + json_type() + "Accept: " + types + "\r\n", ping)).status; };
    EXPECT_EQ(with("application/json"), 406);
    EXPECT_EQ(with("text/event-stream"), 406);
    EXPECT_EQ(with("text/html, image/png"), 406);
    EXPECT_EQ(with("*/*"), 200);
    EXPECT_EQ(with("Text/Event-Stream;q=0.5 ,application/*"), 200);
    EXPECT_EQ(ask(request("GET", "/mcp", bearer() + "Accept: application/json\r\nMcp-Session-Id: s\r\n")).status, 406);
}

TEST_F(mcp_http, bodies_beyond_the_limit_are_refused) {
    start();
    raw_client c(host.port());
    c.send("POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n" + bearer() + json_type() + accept() + "Content-Length: 4194305\r\n\r\n");
    const auto r = c.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 413);
    const std::string most = "\"" + std::string(4 * 1024 * 1024 - 2, 'x') + "\"";
    EXPECT_EQ(post(most).status, 200);
}

TEST_F(mcp_http, text_that_is_not_one_message_is_never_handed_on_as_one) {
    answer = [](auto c) {
        c.chunk(R"({"status":400,"stream":false})");
        c.chunk("\n{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"parse error\"}}");
        c.done(json::object());
    };
    start();
    const std::string deep = std::string(61, '[') + std::string(61, ']');
    for (const std::string& body : {std::string(), std::string("{}}"), std::string("{},\"via\":\"stdio\""), std::string("{\"a\":1,\"a\":2}"), deep, std::string("\"\xC0\xAF\"")}) {
        const auto r = post(body);
        EXPECT_EQ(r.status, 400) << body;
        EXPECT_FALSE(params_of_last().contains("message")) << body;
        EXPECT_NE(params_of_last().value("parse_error", ""), "") << body;
        EXPECT_EQ(params_of_last()["via"], "http");
    }
}

TEST_F(mcp_http, keys_that_are_there_twice_are_refused_at_any_depth_and_in_any_spelling) {
    answer = [](auto c) {
        c.chunk(R"({"status":400,"stream":false})");
        c.chunk("\n{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":\"parse error\"}}");
        c.done(json::object());
    };
    start();
    for (const char* body : {R"({"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"})", R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}})",
                             R"({"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":[{"x":{"path":"/a","p\u0061th":"/b"}}]}})"}) {
        EXPECT_EQ(post(body).status, 400) << body;
        EXPECT_FALSE(params_of_last().contains("message")) << body;
        EXPECT_NE(params_of_last().value("parse_error", "").find("twice"), std::string::npos) << params_of_last();
    }
}

TEST_F(mcp_http, a_key_in_another_case_is_another_key) {
    start();
    EXPECT_EQ(post(R"({"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","ID":2,"params":{"a":1,"A":2}})").status, 200);
    const json m = params_of_last()["message"];
    EXPECT_EQ(m["method"], "ping");
    EXPECT_EQ(m["id"], 1);
    EXPECT_EQ(m["params"], (json{{"a", 1}, {"A", 2}}));
    post(R"({"jsonrpc":"2.0","id":3,"METHOD":"tools/call"})");
    EXPECT_FALSE(params_of_last()["message"].contains("method")) << "nobody reads one for the other";
}

TEST_F(mcp_http, headers_sent_twice_or_too_long_are_refused) {
    start();
    for (const char* name : {"Mcp-Session-Id", "MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Param-A", "Last-Event-ID"}) {
        EXPECT_EQ(post(ping, std::string(name) + ": a\r\n" + name + ": b\r\n").status, 400) << name;
        EXPECT_EQ(post(ping, std::string(name) + ": " + std::string(9000, 'x') + "\r\n").status, 431) << name;
    }
    EXPECT_EQ(post(ping, "Mcp-Name: " + std::string(20'000, 'x') + "\r\n").status, 431);
    EXPECT_EQ(host.calls("mcp.post").size(), 0u);
}

TEST_F(mcp_http, a_rate_is_kept_per_user_when_there_is_one) {
    start({{"mcp", {{"rate", 1}}}});
    int refused = 0;
    for (int i = 0; i < 10; ++i) {
        const auto r = post(ping);
        refused += r.status == 429;
        EXPECT_EQ(r.headers.count("retry-after"), r.status == 429 ? 1u : 0u);
    }
    EXPECT_GE(refused, 4);
    EXPECT_LE(host.calls("mcp.post").size(), 6u);
}

TEST_F(mcp_http, whoever_does_not_read_is_cut_and_the_call_cancelled) {
    std::mutex mutex;
    std::optional<scripted_host::call> kept;
    answer = [&](auto c) {
        const std::lock_guard lock(mutex);
        kept.emplace(std::move(c));
        kept->chunk(R"({"status":200,"stream":true})");
    };
    start();
    raw_client slow(host.port(), 4096);
    slow.send(post_text(ping));
    ASSERT_TRUE(slow.read_response());
    const std::string large = "\n\"" + std::string(3'000'000, 'x') + "\"";
    {
        const std::lock_guard lock(mutex);
        for (int i = 0; i < 4; ++i) kept->chunk(large);  // 12 MB, and 8 may wait
    }
    EXPECT_TRUE(host.was_cancelled());
}

TEST_F(mcp_http, the_size_of_a_body_is_a_setting) {
    start({{"limits", {{"body_bytes", 2000}}}});
    EXPECT_EQ(post("\"" + std::string(1998, 'x') + "\"").status, 200);
    EXPECT_EQ(post("\"" + std::string(1999, 'x') + "\"").status, 413);
}

TEST_F(mcp_http, the_size_of_headers_is_a_setting) {
    start({{"limits", {{"header_bytes", 2000}}}});
    EXPECT_EQ(post(ping, "X-A: " + std::string(1000, 'x') + "\r\n").status, 200);
    EXPECT_EQ(post(ping, "X-A: " + std::string(2000, 'x') + "\r\n").status, 431);
}

constexpr std::chrono::seconds not_yet_by_default{4};

TEST_F(mcp_http, the_time_for_headers_is_a_setting) {
    start({{"limits", {{"header_ms", 100}}}});
    const auto begin = std::chrono::steady_clock::now();
    raw_client c(host.port());
    c.send("GET / HTTP/1.1\r\nHo");
    EXPECT_TRUE(c.closed_by_peer());
    EXPECT_LT(std::chrono::steady_clock::now() - begin, not_yet_by_default);
}

TEST_F(mcp_http, the_time_a_reader_may_be_stuck_is_a_setting) {
    std::mutex mutex;
    std::optional<scripted_host::call> kept;
    answer = [&](auto c) {
        const std::lock_guard lock(mutex);
        kept.emplace(std::move(c));
        kept->chunk(R"({"status":200,"stream":true})");
    };
    start({{"limits", {{"stuck_ms", 100}}}});
    raw_client slow(host.port(), 4096);
    slow.send(post_text(ping));
    ASSERT_TRUE(slow.read_response());
    const auto begin = std::chrono::steady_clock::now();
    {
        const std::lock_guard lock(mutex);
        kept->chunk("\n\"" + std::string(7'500'000, 'x') + "\"");  // more than the kernel takes, and less than may wait
    }
    EXPECT_TRUE(host.was_cancelled());
    EXPECT_LT(std::chrono::steady_clock::now() - begin, not_yet_by_default);
}

TEST(JsonCheck, takes_what_is_one_value) {
    for (const char* good : {"{}", " [1, -0, 2.5e-3, true,false ,null, \"\"] ", R"({"a":{"a":1},"b":[{"a":1},{"a":2}]})", "\"\\u00e9\\ud83d\\ude00\\n\"", "\"\xF0\x9F\x98\x80\"", "0"})
        EXPECT_EQ(json_problem(good, 8), "") << good;
}
TEST(JsonCheck, refuses_everything_else) {
    for (const char* bad : {"", " ", "{", "}", "{}{}", "{} x", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "01", "1.", "-", "+1", ".5", "1e", "nul", "'a'", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"",
                            "\"\\udc00\"", "\"\t\"", "\"\xFF\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"", "\"\xF4\x90\x80\x80\"", "\"\xE2\x82\"", "[1 2]", "NaN", "{\"a\":1,}", "\xEF\xBB\xBF{}"})
        EXPECT_NE(json_problem(bad, 8), "") << bad;
}
TEST(JsonCheck, counts_levels_and_keys) {
    EXPECT_EQ(json_problem("[[[]]]", 3), "");
    EXPECT_NE(json_problem("[[[]]]", 2).find("too deep"), std::string::npos);
    EXPECT_NE(json_problem(R"({"a":1,"\u0061":2})", 3).find("twice"), std::string::npos) << "however it is written";
    EXPECT_EQ(json_problem(R"({"a":{"a":1},"b":{"a":1}})", 3), "");
    std::string many = "{";
    for (int i = 0; i < 1000; ++i) many += "\"k" + std::to_string(i) + "\":0,";
    EXPECT_EQ(json_problem(many + "\"last\":0}", 2), "");
    EXPECT_NE(json_problem(many + "\"k500\":0}", 2), "");
    EXPECT_NE(json_problem(std::string(1'000'000, '['), 60), "");
}

}  // namespace
}  // namespace holdfast::test
