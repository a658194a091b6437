// The MCP endpoint over connections that carry messages both ways: WebSocket, and HTTP with SSE.
#include "unit/ui_http/mcp_fixture.hpp"

namespace holdfast::test {
namespace {

/// Answers initialize with a session, everything else with what it was asked; mcp.listen says one thing and goes on.
class mcp_channels : public mcp_http {
  protected:
    void SetUp() override {
        mcp_http::SetUp();
        answer = [this](scripted_host::call c) {
            const json m = c.params.value("message", json());
            const std::string method = m.is_object() ? m.value("method", "") : "";
            if (method == "hang") {
                const std::lock_guard lock(mutex_);
                kept_.push_back(std::move(c));
                return;
            }
            json head{{"status", 200}, {"stream", false}};
            if (method == "initialize") head["session"] = "s-1";
            c.chunk(head.dump());
            if (c.params.contains("parse_error")) c.chunk("\n" + json{{"jsonrpc", "2.0"}, {"error", {{"code", -32700}, {"message", c.params["parse_error"]}}}}.dump());
            else if (m.contains("id") && method != "nothing") c.chunk("\n" + json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"heard", c.params}, {"who", c.identity}}}}.dump());
            c.done(json::object());
        };
        host.on("mcp.listen", [this](auto c) {
            c.chunk(R"({"status":200,"stream":true})");
            c.chunk("3\n{\"method\":\"notifications/tools/list_changed\"}");
            const std::lock_guard lock(mutex_);
            kept_.push_back(std::move(c));
        });
        host.on("mcp.close", [](auto c) { c.done(json::object()); });
    }
    void TearDown() override {
        host.stop();
        kept_.clear();
    }
    static std::string message(const json& id, const std::string& method) { return json{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}}.dump(); }
    std::mutex mutex_;
    std::vector<scripted_host::call> kept_;
};

TEST_F(mcp_channels, are_off_unless_switched_on) {
    start();
    raw_client c(host.port());
    EXPECT_EQ(c.upgrade("/mcp/ws", bearer()), 404);
    EXPECT_EQ(ask(request("GET", "/mcp/sse", bearer())).status, 404);
    EXPECT_EQ(ask(request("POST", "/mcp/messages?sessionId=x", bearer() + json_type(), ping)).status, 404);
}

TEST_F(mcp_channels, websocket_carries_messages_both_ways) {
    start({{"mcp", {{"websocket", true}}}});
    {
        raw_client stranger(host.port());
        EXPECT_EQ(stranger.upgrade("/mcp/ws"), 401);
        raw_client page(host.port());
        EXPECT_EQ(page.upgrade("/mcp/ws", bearer() + "Origin: https://evil.example\r\n"), 403);
        raw_client c(host.port());
        ASSERT_EQ(c.upgrade("/mcp/ws", bearer() + "Sec-WebSocket-Protocol: mcp\r\n"), 101);
        c.send_text(message(1, "tools/list"));
        const json modern = frame_json(c);
        EXPECT_EQ(modern["result"]["heard"]["via"], "stdio");
        EXPECT_FALSE(modern["result"]["heard"].contains("session"));
        EXPECT_EQ(modern["result"]["who"]["role"], "admin");

        c.send_text(message("a", "initialize"));
        std::vector<json> said{frame_json(c), frame_json(c)};  // the answer, and what the session says of its own accord
        if (said[0].contains("method")) std::swap(said[0], said[1]);
        EXPECT_EQ(said[0]["id"], "a");
        EXPECT_EQ(said[1]["method"], "notifications/tools/list_changed");
        c.send_text(message(2, "tools/list"));
        EXPECT_EQ(frame_json(c)["result"]["heard"]["session"], "s-1");

        c.send_text("{\"a\":1,\"a\":2}");
        EXPECT_EQ(frame_json(c)["error"]["code"], -32700);
        c.send_text(message(3, "nothing"));
        EXPECT_EQ(frame_json(c)["error"]["message"], "the gateway gave no answer");
    }
    EXPECT_TRUE(host.was_cancelled()) << "the session is listened to no longer";
    ASSERT_TRUE(host.was_called("mcp.close"));
    EXPECT_EQ(host.calls("mcp.close")[0]["params"]["session"], "s-1");
}

TEST_F(mcp_channels, a_client_that_leaves_or_cancels_ends_its_requests) {
    start({{"mcp", {{"websocket", true}}}});
    raw_client c(host.port());
    ASSERT_EQ(c.upgrade("/mcp/ws", bearer()), 101);
    c.send_text(message(7, "hang"));
    ASSERT_TRUE(host.was_called("mcp.post"));
    c.send_text(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}})");
    EXPECT_TRUE(host.was_cancelled());
    EXPECT_EQ(host.calls("mcp.post").size(), 1u) << "the newest era's requests are ended, not told about it";
}

TEST_F(mcp_channels, http_with_sse_names_where_to_post) {
    start({{"mcp", {{"sse", true}}}});
    std::string where;
    {
        raw_client c(host.port());
        c.send(request("GET", "/mcp/sse", bearer() + "Accept: text/event-stream\r\n"));
        const auto r = c.read_response();
        ASSERT_TRUE(r);
        EXPECT_EQ(r->status, 200);
        EXPECT_EQ(r->headers.at("content-type"), "text/event-stream");
        const std::string first = c.read_chunk().value_or("");
        ASSERT_EQ(first.rfind("event: endpoint\ndata: /mcp/messages?sessionId=", 0), 0u) << first;
        where = first.substr(first.find('/'), first.find("\n\n") - first.find('/'));
        EXPECT_EQ(ask(request("POST", where, json_type(), ping)).status, 401);
        EXPECT_EQ(ask(request("POST", where, bearer(), ping)).status, 415);
        EXPECT_EQ(ask(request("POST", where.substr(0, where.size() - 1) + "x", bearer() + json_type(), ping)).status, 404);
        EXPECT_EQ(ask(request("GET", where, bearer())).status, 405);
        EXPECT_EQ(ask(request("POST", where, bearer() + json_type(), message(1, "tools/list"))).status, 202);
        const std::string event = c.read_chunk().value_or("");
        ASSERT_EQ(event.rfind("event: message\ndata: {", 0), 0u) << event;
        EXPECT_EQ(json::parse(event.substr(event.find('{')))["id"], 1);
        ask(request("POST", where, bearer() + json_type(), message(2, "initialize")));
        std::string both = c.read_chunk().value_or("");
        both += c.read_chunk().value_or("");
        EXPECT_NE(both.find("list_changed"), std::string::npos);
        EXPECT_NE(both.find("\"id\":2"), std::string::npos);
    }
    ASSERT_TRUE(host.was_called("mcp.close")) << "the session ends with the stream";
    EXPECT_EQ(ask(request("POST", where, bearer() + json_type(), ping)).status, 404);
}
TEST_F(mcp_channels, a_request_that_its_client_cancelled_is_not_answered) {
    start({{"mcp", {{"websocket", true}}}});
    for (const bool session : {false, true}) {
        raw_client c(host.port());
        ASSERT_EQ(c.upgrade("/mcp/ws", bearer()), 101);
        if (session) {
            c.send_text(message("a", "initialize"));
            (void)frame_json(c), (void)frame_json(c);
        }
        const auto posts = host.calls("mcp.post").size();
        c.send_text(message("b\u00e9", "hang"));
        ASSERT_TRUE(host.was_called("mcp.post", posts + 1));
        c.send_text(R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"b\u00e9"}})");
        if (session) {  // the gateway ends it when the session is told
            ASSERT_TRUE(host.was_called("mcp.post", posts + 2));
            const std::lock_guard lock(mutex_);
            for (auto& k : kept_)
                if (k.params.contains("message")) k.done(json::object());
            std::erase_if(kept_, [](const auto& k) { return k.params.contains("message"); });
        } else {
            ASSERT_TRUE(host.was_cancelled());
        }
        c.send_text(message(2, "tools/list"));
        EXPECT_EQ(frame_json(c)["id"], 2) << "what comes next is the answer to the next request";
    }
}

TEST_F(mcp_channels, an_id_is_the_same_however_it_is_written) {
    start({{"mcp", {{"websocket", true}}}});
    raw_client c(host.port());
    ASSERT_EQ(c.upgrade("/mcp/ws", bearer()), 101);
    for (const char* id : {R"("\u00e9")", R"("a\/b")", R"("\ud83d\ude00\n")"}) {
        c.send_text(std::string(R"({"jsonrpc":"2.0","method":"x","id":)") + id + "}");
        EXPECT_TRUE(frame_json(c).contains("result")) << id;
    }
    c.send_text(message(9, "x"));
    EXPECT_EQ(frame_json(c)["id"], 9) << "each had one answer";
}

TEST_F(mcp_channels, a_second_initialize_goes_into_the_session) {
    start({{"mcp", {{"websocket", true}}}});
    raw_client c(host.port());
    ASSERT_EQ(c.upgrade("/mcp/ws", bearer()), 101);
    c.send_text(message("a", "initialize"));
    (void)frame_json(c), (void)frame_json(c);
    c.send_text(message("b", "initialize"));
    EXPECT_EQ(frame_json(c)["result"]["heard"]["session"], "s-1") << "where it is refused";
}

}  // namespace
}  // namespace holdfast::test
