// The MCP endpoint: HTTP on one side, the gateway's methods on the other.
#include "ui-http/mcp_exchange.hpp"
#include "unit/ui_http/mcp_fixture.hpp"

namespace holdfast::test {
namespace {

TEST_F(mcp_http, one_message_is_answered_as_json_and_the_message_goes_on_as_it_came) {
    start();
    const std::string message = R"({ "jsonrpc":"2.0", "id":"a\u00e9\"", "method":"tools/call", "params":{"name":"x","arguments":{"n":1.50}} })";
    const auto r = post(message);
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.headers.at("content-type"), "application/json");
    EXPECT_EQ(r.headers.at("cache-control"), "no-store");
    EXPECT_EQ(r.body, R"({"jsonrpc":"2.0","id":1,"result":{}})");
    EXPECT_EQ(params_of_last()["message"], json::parse(message));
    EXPECT_EQ(params_of_last()["via"], "http");
    EXPECT_EQ(host.calls("mcp.post")[0]["identity"]["role"], "admin");
    EXPECT_FALSE(params_of_last().contains("headers"));
}

TEST_F(mcp_http, headers_that_mean_something_are_handed_on) {
    start();
    post(ping, "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: =?base64?eA==?=\r\nMcp-Param-Region: us \"west\"\r\n"
               "mcp-session-id: s-1\r\nLast-Event-ID: 7\r\nX-Other: no\r\n");
    EXPECT_EQ(params_of_last()["headers"], (json{{"protocol_version", "2026-07-28"}, {"method", "tools/call"}, {"name", "=?base64?eA==?="},
                                                 {"params", {{"mcp-param-region", "us \"west\""}}}}));
    EXPECT_EQ(params_of_last()["session"], "s-1");
    EXPECT_EQ(params_of_last()["last_event_id"], "7");
}

TEST_F(mcp_http, the_gateways_status_and_session_reach_the_client) {
    answer = [](auto c) {
        c.chunk(R"({"status":404,"stream":false,"session":"abc"})");
        c.chunk("\n{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32601,\"message\":\"no\"}}");
        c.done(json::object());
    };
    start();
    const auto r = post(ping);
    EXPECT_EQ(r.status, 404);
    EXPECT_EQ(r.headers.at("mcp-session-id"), "abc");
    EXPECT_EQ(error_of(r), "no");
}

TEST_F(mcp_http, a_notification_is_accepted_without_a_body) {
    answer = [](auto c) {
        c.chunk(R"({"status":202,"stream":false})");
        c.done(json::object());
    };
    start();
    const auto r = post(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
    EXPECT_EQ(r.status, 202);
    EXPECT_EQ(r.body, "");
    EXPECT_EQ(r.headers.count("content-type"), 0u);
}

TEST_F(mcp_http, a_stream_is_server_sent_events_and_the_connection_goes_on) {
    std::optional<scripted_host::call> kept;
    answer = [&](auto c) {
        if (kept) return c.fail(HF_E_UNAVAILABLE, {{"code", "unavailable"}, {"message", "the second"}});
        kept.emplace(std::move(c));
        kept->chunk(R"({"status":200,"stream":true})");
        kept->chunk("e1 500\n");
        kept->chunk("e2\n{\"n\":1}");
    };
    start();
    raw_client c(host.port());
    c.send(post_text(ping));
    const auto r = c.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(r->headers.at("content-type"), "text/event-stream");
    EXPECT_EQ(r->headers.at("x-accel-buffering"), "no");
    std::string text;
    while (text.find("n\":1") == text.npos) {
        const auto piece = c.read_chunk();
        ASSERT_TRUE(piece && !piece->empty()) << text;
        text += *piece;
    }
    EXPECT_EQ(text, "id: e1\nretry: 500\ndata: \n\nid: e2\ndata: {\"n\":1}\n\n");
    kept->chunk("\n{\"last\":true}");
    kept->done(json::object());
    EXPECT_EQ(c.read_chunk(), "data: {\"last\":true}\n\n");
    EXPECT_EQ(c.read_chunk(), "");
    EXPECT_EQ(c.ask(post_text(ping))->status, 503);
}

TEST_F(mcp_http, a_client_that_leaves_cancels_what_it_asked_for) {
    std::mutex mutex;
    std::deque<scripted_host::call> kept;
    answer = [&](auto c) {
        const std::lock_guard lock(mutex);
        if (kept.empty()) c.chunk(R"({"status":200,"stream":true})");
        kept.push_back(std::move(c));
    };
    start();
    {
        raw_client streams(host.port()), waits(host.port());
        streams.send(post_text(ping));
        ASSERT_TRUE(streams.read_response());
        waits.send(post_text(ping));
        ASSERT_TRUE(host.was_called("mcp.post", 2));
    }
    EXPECT_TRUE(host.was_cancelled(2));
}

TEST_F(mcp_http, a_session_is_listened_to_and_ended) {
    std::optional<scripted_host::call> kept;
    host.on("mcp.listen", [&](auto c) {
        kept.emplace(std::move(c));
        kept->chunk(R"({"status":200,"stream":true})");
        kept->chunk("\n{\"method\":\"notifications/tools/list_changed\"}");
    });
    host.on("mcp.close", [](auto c) {
        c.params["session"] == "s" ? c.done(json::object()) : c.fail(HF_E_NOT_FOUND, {{"code", "not_found"}, {"message", "no such session"}});
    });
    start();
    {
        raw_client c(host.port());
        c.send(request("GET", "/mcp", bearer() + "Accept: text/event-stream\r\nMcp-Session-Id: s\r\nLast-Event-ID: 3\r\n"));
        const auto r = c.read_response();
        ASSERT_TRUE(r);
        EXPECT_EQ(r->status, 200);
        EXPECT_EQ(c.read_chunk(), "data: {\"method\":\"notifications/tools/list_changed\"}\n\n");
        EXPECT_EQ(host.calls("mcp.listen")[0]["params"], (json{{"session", "s"}, {"last_event_id", "3"}}));
    }
    EXPECT_TRUE(host.was_cancelled());
    EXPECT_EQ(ask(request("DELETE", "/mcp", bearer() + "Mcp-Session-Id: s\r\n")).status, 204);
    EXPECT_EQ(ask(request("DELETE", "/mcp", bearer() + "Mcp-Session-Id: t\r\n")).status, 404);
}

TEST_F(mcp_http, without_a_session_there_is_only_post) {
    start();
    for (const char* method : {"GET", "DELETE", "PUT", "HEAD"}) {
        raw_client c(host.port());
        c.send(request(method, "/mcp", bearer() + accept()));
        const auto r = c.read_response(std::string_view(method) == "HEAD");
        ASSERT_TRUE(r) << method;
        EXPECT_EQ(r->status, 405) << method;
        EXPECT_NE(r->headers.at("allow").find("POST"), std::string::npos);
    }
}

TEST_F(mcp_http, replaced_while_somebody_listens_the_stream_ends_and_the_call_with_it) {
    std::optional<scripted_host::call> kept;
    host.on("mcp.listen", [&](auto c) {
        kept.emplace(std::move(c));
        kept->chunk(R"({"status":200,"stream":true})");
    });
    start();
    raw_client c(host.port());
    c.send(request("GET", "/mcp", bearer() + "Accept: text/event-stream\r\nMcp-Session-Id: s\r\n"));
    ASSERT_TRUE(c.read_response());
    std::thread leaving([&] { host.quiesce(std::chrono::duration_cast<std::chrono::milliseconds>(raw_client::patience)); });
    EXPECT_EQ(c.read_chunk(), "");
    EXPECT_TRUE(host.was_cancelled());
    EXPECT_TRUE(c.closed_by_peer());
    leaving.join();
}

TEST_F(mcp_http, it_can_be_elsewhere_or_nowhere) {
    start({{"mcp", {{"path", "/tools"}}}});
    EXPECT_EQ(ask(request("POST", "/tools", bearer() + json_type() + accept(), ping)).status, 200);
    EXPECT_EQ(post(ping).status, 404);
    host.stop();
    start({{"mcp", {{"enabled", false}}}});
    EXPECT_EQ(post(ping).status, 404);
    host.stop();
    EXPECT_THROW(start({{"mcp", {{"path", "/api/v1/mcp"}}}}), sdk::plugin_error);
    EXPECT_THROW(start({{"mcp", {{"path", "mcp"}}}}), sdk::plugin_error);
}

TEST(McpEvent, every_line_of_a_message_is_a_field) {
    EXPECT_EQ(holdfast::ui_http::event_text("\n{}"), "data: {}\n\n");
    EXPECT_EQ(holdfast::ui_http::event_text("7 retry:20\n"), "id: 7\nretry: 20\ndata: \n\n");
    EXPECT_EQ(holdfast::ui_http::event_text("\na\nid: forged"), "data: a\ndata: id: forged\n\n");
}

}  // namespace
}  // namespace holdfast::test
