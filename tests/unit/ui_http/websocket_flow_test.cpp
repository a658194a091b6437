#include <future>

#include "unit/ui_http/fixture.hpp"

namespace holdfast::test {
namespace {
class web_socket_api : public ui_http {
  protected:
    void open(raw_client& c, const std::string& more = "Sec-WebSocket-Protocol: holdfast.v1\r\n") { ASSERT_EQ(c.upgrade("/ws", bearer() + more), 101); }
    bool eventually(const std::function<bool()>& holds) {
        const auto deadline = std::chrono::steady_clock::now() + raw_client::patience;
        while (!holds() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
        return holds();
    }
};

TEST_F(web_socket_api, requests_are_answered_by_id) {
    host.start();
    raw_client c(host.port());
    open(c);
    EXPECT_EQ(c.last().headers.at("sec-websocket-protocol"), "holdfast.v1");
    c.send_text(R"({"id":1,"method":"echo","params":{"x":[true]}})");
    const auto a = frame_json(c);
    EXPECT_EQ(a["id"], 1);
    EXPECT_EQ(a["result"]["params"]["x"][0], true);
    EXPECT_EQ(a["result"]["identity"]["ui"], "web");
    c.send_text(R"({"id":"two","method":"nothing"})");
    const auto b = frame_json(c);
    EXPECT_EQ(b["id"], "two");
    EXPECT_EQ(b["error"]["code"], "not_found");
}

TEST_F(web_socket_api, nonsense_is_answered_and_the_connection_stays) {
    host.start();
    raw_client c(host.port());
    open(c);
    for (const std::string bad : {"", "nonsense", "[]", "{}", R"({"id":1})", R"({"id":{},"method":"echo"})", R"({"id":1,"method":"echo","params":[]})", R"({"id":1,"subscribe":{}})",
                                  R"({"id":1,"subscribe":{"topic":5}})", R"({"id":1,"unsubscribe":99})", R"({"id":1,"unsubscribe":"x"})", R"({"id":1,"subscribe":{"topic":"t","policy":"nonsense"}})"}) {
        c.send_text(bad);
        EXPECT_TRUE(frame_json(c).contains("error")) << bad;
    }
    c.send_text(std::string(100'000, '['));
    EXPECT_EQ(frame_json(c)["error"]["code"], "invalid_argument");
    c.send_text(R"({"id":2,"method":"echo"})");
    EXPECT_EQ(frame_json(c)["id"], 2);
}

TEST_F(web_socket_api, what_is_handed_on_is_written_anew_and_each_key_once) {
    host.start();
    raw_client c(host.port());
    open(c);
    c.send_text(R"({"id":1,"method":"host.info","method":"echo","Method":"host.health","params":{"a":1,"A":3,"\u0061":2}})");
    const json answer = frame_json(c);
    EXPECT_EQ(answer["id"], 1);
    EXPECT_EQ(answer["result"]["params"], (json{{"a", 2}, {"A", 3}})) << answer;
    EXPECT_TRUE(host.calls("host.info").empty() && host.calls("host.health").empty());
}

TEST_F(web_socket_api, subscriptions_replay_and_follow_in_order) {
    host.start();
    for (int i = 1; i <= 3; ++i) host.publish("session:s", {{"type", "MessageAdded"}, {"n", i}});
    raw_client c(host.port());
    open(c);
    c.send_text(R"({"id":1,"subscribe":{"topic":"session:s","from":2}})");
    const auto a = frame_json(c);
    EXPECT_EQ(a["result"]["seq"], 3);
    EXPECT_EQ(a["result"]["epoch"], 1);
    const auto number = a["result"]["subscription"];
    for (int i = 2; i <= 3; ++i) {
        const auto e = frame_json(c);
        EXPECT_EQ(e["subscription"], number);
        EXPECT_EQ(e["event"]["n"], i);
    }
    host.publish("session:s", {{"type", "MessageAdded"}, {"n", 4}});
    host.publish("session:other", {{"type", "MessageAdded"}, {"n", 99}});
    EXPECT_EQ(frame_json(c)["event"]["n"], 4);
    c.send_text(json{{"id", 2}, {"unsubscribe", number}}.dump());
    EXPECT_EQ(frame_json(c)["id"], 2);
    EXPECT_EQ(host.subscriptions(), 0u);
    host.publish("session:s", {{"type", "MessageAdded"}, {"n", 5}});
    c.send_text(R"({"id":3,"method":"echo"})");
    EXPECT_EQ(frame_json(c)["id"], 3) << "nothing of the ended subscription came in between";
}

TEST_F(web_socket_api, events_reach_the_client_while_others_publish) {
    host.start();
    raw_client c(host.port());
    open(c);
    std::atomic<bool> go{true};
    std::thread publisher([&] {
        for (int i = 0; i < 2000 && go; ++i) host.publish("session:s", {{"type", "StreamChunkReceived"}, {"chunk", "x"}});
    });
    c.send_text(R"({"id":1,"subscribe":{"topic":"session:s","from":1}})");
    const auto a = frame_json(c);
    ASSERT_TRUE(a.contains("result")) << a;
    std::uint64_t seen = 0;
    while (seen < 2000) {
        const auto e = frame_json(c);
        ASSERT_TRUE(e.contains("event")) << e;
        if (e["event"]["type"] == "closed") {  // overrun: attach again where it says, as the page does
            EXPECT_EQ(e["event"]["reason"], "overrun");
            ASSERT_EQ(e["event"]["seq"], seen);
            c.send_text(json{{"id", 2}, {"subscribe", {{"topic", "session:s"}, {"from", seen + 1}}}}.dump());
            ASSERT_TRUE(frame_json(c).contains("result"));
            continue;
        }
        ASSERT_EQ(e["event"]["seq"], seen + 1) << "no gap, nothing twice";
        ++seen;
    }
    go = false;
    publisher.join();
}

TEST_F(web_socket_api, a_client_that_never_reads_is_told_to_attach_again_and_loses_nothing) {
    host.start();
    raw_client c(host.port(), 4096);
    open(c);
    c.send_text(R"({"id":1,"subscribe":{"topic":"session:s"}})");
    ASSERT_TRUE(frame_json(c).contains("result"));
    const std::string large(60'000, 'x');
    const auto begin = std::chrono::steady_clock::now();
    while (host.subscriptions() == 1 && std::chrono::steady_clock::now() - begin < raw_client::patience) host.publish("session:s", {{"type", "MessageAdded"}, {"text", large}});
    for (int more_than_fits_its_queue = 0; more_than_fits_its_queue < 200; ++more_than_fits_its_queue) host.publish("session:s", {{"type", "MessageAdded"}, {"text", large}});
    EXPECT_EQ(host.subscriptions(), 0u) << "the host no longer feeds it";
    std::uint64_t last = 0;
    for (;;) {
        const auto e = frame_json(c);
        ASSERT_TRUE(e.contains("event")) << e.dump().substr(0, 200);
        if (e["event"]["type"] == "closed") {
            EXPECT_EQ(e["event"]["reason"], "overrun");
            EXPECT_EQ(e["event"]["seq"], last);
            break;
        }
        EXPECT_EQ(e["event"]["seq"], last + 1);
        last = e["event"]["seq"];
    }
    EXPECT_LT(last, host.last_seq("session:s"));
    c.send_text(json{{"id", 2}, {"subscribe", {{"topic", "session:s"}, {"from", last + 1}}}}.dump());
    EXPECT_EQ(frame_json(c)["id"], 2);
    EXPECT_EQ(frame_json(c)["event"]["seq"], last + 1);
}

TEST_F(web_socket_api, the_size_of_a_message_is_a_setting) {
    host.start({{"listen", "127.0.0.1:0"}, {"limits", {{"websocket_message_bytes", 2000}}}});
    raw_client c(host.port());
    open(c);
    const std::string head = R"({"id":1,"method":"echo","params":{"a":")", tail = "\"}}";
    c.send_text(head + std::string(2000 - head.size() - tail.size(), 'x') + tail);
    EXPECT_EQ(frame_json(c)["id"], 1);
    c.send_text(head + std::string(2001 - head.size() - tail.size(), 'x') + tail);
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->close_code(), 1009);
}

TEST_F(web_socket_api, more_than_the_rate_is_refused_with_a_delay) {
    host.start();
    raw_client c(host.port());
    open(c);
    int limited = 0;
    for (int i = 0; i < 60; ++i) c.send_text(json{{"id", i}, {"method", "echo"}}.dump());
    for (int i = 0; i < 60; ++i) {
        const auto a = frame_json(c);
        if (a.contains("error")) {
            EXPECT_EQ(a["error"]["code"], "rate_limited");
            EXPECT_GT(a["error"]["retry_after_ms"], 0);
            ++limited;
        }
    }
    EXPECT_GT(limited, 5);
    EXPECT_LT(limited, 25);
}

TEST_F(web_socket_api, a_listening_client_gets_flat_status_messages_until_it_asks) {
    host.start();
    raw_client c(host.port());
    open(c, "");
    ASSERT_TRUE(eventually([&] { return host.subscriptions() == 1; }));
    host.publish("session:admin_dashboard", {{"type", "mcp_status_change"}, {"mcp_name", "demo"}, {"old_status", "healthy"}, {"new_status", "disconnected"}, {"reason", "connection_timeout"}, {"recovery_eta", "30s"}});
    const auto e = frame_json(c);
    for (const char* key : {"type", "timestamp", "mcp_name", "old_status", "new_status", "reason", "recovery_eta"}) EXPECT_TRUE(e.contains(key)) << key;
    c.send_text(R"({"id":1,"method":"echo"})");
    EXPECT_EQ(frame_json(c)["id"], 1);
    EXPECT_EQ(host.subscriptions(), 0u);
}

TEST_F(web_socket_api, closing_ends_every_subscription) {
    host.start();
    {
        raw_client c(host.port());
        open(c);
        for (int i = 0; i < 5; ++i) {
            c.send_text(json{{"id", i}, {"subscribe", {{"topic", "t" + std::to_string(i)}}}}.dump());
            frame_json(c);
        }
        EXPECT_EQ(host.subscriptions(), 5u);
        EXPECT_EQ(host.describe()["clients"], 1);
    }
    EXPECT_TRUE(eventually([&] { return host.subscriptions() == 0; }));
    EXPECT_TRUE(eventually([&] { return host.describe()["clients"] == 0; }));
}

TEST_F(web_socket_api, signing_out_ends_the_connection_at_its_next_message) {
    host.start();
    const std::string own = "127.0.0.1:" + std::to_string(host.port());
    const std::string origin = "Origin: http://" + own + "\r\n", cookie = sign_in();
    raw_client c(host.port());
    ASSERT_EQ(c.upgrade("/ws", cookie + origin, own), 101);
    EXPECT_EQ(ask(request("POST", "/auth/logout", cookie + origin + json_type(), "{}", own)).status, 200);
    c.send_text(R"({"id":1,"method":"echo"})");
    EXPECT_EQ(frame_json(c)["no_frame"], 4401);
}

TEST_F(web_socket_api, quiescing_finishes_calls_before_it_says_goodbye) {
    std::promise<scripted_host::call> asked, posted;
    host.on("slow", [&](auto c) { asked.set_value(std::move(c)); });
    host.on("slow.too", [&](auto c) { posted.set_value(std::move(c)); });
    host.start();
    raw_client c(host.port()), http(host.port()), other(host.port()), signed_out(host.port());
    open(c);
    c.send_text(R"({"id":1,"method":"slow"})");
    http.send(request("POST", "/api/v1/call/slow.too", bearer() + json_type(), "{}"));
    auto first = asked.get_future().get(), second = posted.get_future().get();
    const auto port = host.port();
    std::thread quiescing([&] { host.quiesce(std::chrono::seconds(60)); });
    for (std::string last; last != "close";) {  // it has begun
        const auto r = other.ask(request("GET", "/healthz"));
        ASSERT_TRUE(r);
        last = r->headers.at("connection");
    }
    EXPECT_EQ(signed_out.ask(request("POST", "/auth/logout", bearer() + json_type(), "{}"))->status, 503) << "the next generation has the logins";
    first.done({{"late", 1}});
    second.done({{"late", 2}});
    EXPECT_EQ(frame_json(c), json({{"id", 1}, {"result", {{"late", 1}}}}));
    EXPECT_EQ(frame_json(c)["no_frame"], 1001);
    c.half_close();
    const auto r = http.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(json::parse(r->body), json({{"late", 2}}));
    EXPECT_EQ(r->headers.at("connection"), "close");
    quiescing.join();
    raw_client waits(port);
    ASSERT_TRUE(waits.connected());
    host.stop();
    host.start();
    EXPECT_EQ(waits.ask(request("GET", "/healthz"))->status, 200) << "who came too late for the one is the other's";
}

TEST_F(web_socket_api, stopping_says_goodbye) {
    host.start();
    raw_client c(host.port());
    open(c);
    c.send_text(R"({"id":1,"subscribe":{"topic":"t"}})");
    frame_json(c);
    std::thread stopping([&] { host.stop(); });
    EXPECT_EQ(frame_json(c)["no_frame"], 1001);
    c.half_close();
    stopping.join();
    EXPECT_EQ(host.subscriptions(), 0u);
}
}  // namespace
}  // namespace holdfast::test
