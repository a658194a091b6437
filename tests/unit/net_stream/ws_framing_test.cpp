// Handshake, pings and goodbyes in simulated time.
#include "transport-websocket/ws_framing.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "transport-websocket/ws_handshake.hpp"

namespace {
using namespace holdfast::transport_websocket;
using namespace std::chrono_literals;
namespace net = holdfast::net;
namespace sdk = holdfast::sdk;

struct port final : net::framing_port {
    std::vector<std::string> wrote, messages;
    bool is_ready = false, finished = false, is_over = false;
    sdk::status why;
    bool taking = true;  // the server reads
    void write(std::string bytes) override { wrote.push_back(std::move(bytes)); }
    bool idle() const override { return taking; }
    void ready() override { is_ready = true; }
    void message(std::string_view text) override { messages.emplace_back(text); }
    void dropped(const std::string&) override { FAIL() << "WebSocket drops nothing"; }
    void over(const sdk::status& s) override {
        EXPECT_FALSE(is_over);
        is_over = true;
        why = s;
    }
    void finish() override { finished = true; }
};

struct bench {
    net::framing::time_point now{};
    port p;
    ws_framing f{ws_options{read_server(R"({"url":"ws://h:81/mcp","headers":{"Authorization":"Bearer t"}})"), 1000, 30s, 10s, [](std::size_t n) { return std::string(n, '\0'); }}};
    bench() { f.connected(p, now); }
    void answer(const std::string& more = "") {
        const std::string key = "AAAAAAAAAAAAAAAAAAAAAA==";
        f.received(p, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " + accept_value(key) + "\r\n\r\n" + more, now);
        p.wrote.clear();
    }
    void hear(const std::string& bytes) { f.received(p, bytes, now); }
    void pass(std::chrono::milliseconds t) {
        for (; t.count() > 0; t -= 250ms) f.tick(p, now += 250ms);
    }
    static std::string close(std::uint16_t code) { return std::string("\x88\x02", 2) + close_payload(code, ""); }
};

TEST(ws_framing, shakes_hands_and_hears_what_came_with_the_answer) {
    bench b;
    ASSERT_EQ(b.p.wrote.size(), 1u);
    const std::string& q = b.p.wrote[0];
    EXPECT_EQ(q.substr(0, 33), "GET /mcp HTTP/1.1\r\nHost: h:81\r\nUp");
    EXPECT_NE(q.find("\r\nSec-WebSocket-Protocol: mcp\r\n"), std::string::npos);
    EXPECT_NE(q.find("\r\nAuthorization: Bearer t\r\n"), std::string::npos);
    EXPECT_FALSE(b.p.is_ready);
    b.answer(std::string("\x81\x02{}", 4));
    EXPECT_TRUE(b.p.is_ready);
    EXPECT_EQ(b.p.messages, std::vector<std::string>{"{}"});
    EXPECT_EQ(b.f.encode("x"), encode_frame(opcode::text, "x", {}));
}

TEST(ws_framing, refusals_say_what_to_do) {
    for (const auto& [answer, code] : {std::pair{"HTTP/1.1 401 x\r\n\r\n", HF_E_AUTH}, std::pair{"HTTP/1.1 503 x\r\n\r\n", HF_E_UNAVAILABLE}, std::pair{"HTTP/1.1 404 x\r\n\r\n", HF_E_PEER},
                                       std::pair{"220 mail\r\n", HF_E_PROTOCOL}, std::pair{"HTTP/1.1 429 x\r\n\r\n", HF_E_RATE_LIMITED}}) {
        bench b;
        b.hear(answer);
        EXPECT_TRUE(b.p.is_over) << answer;
        EXPECT_EQ(b.p.why.code, code) << answer;
        EXPECT_FALSE(b.p.is_ready);
    }
}

TEST(ws_framing, a_handshake_that_hangs_ends) {
    bench b;
    b.hear("HTTP/1.1 101");
    b.pass(9'750ms);
    EXPECT_FALSE(b.p.is_over);
    b.pass(250ms);
    EXPECT_TRUE(b.p.is_over);
    EXPECT_EQ(b.p.why.code, HF_E_TIMEOUT);
}

TEST(ws_framing, a_silent_server_is_pinged_and_given_up) {
    bench b;
    b.answer();
    b.pass(29'750ms);
    EXPECT_TRUE(b.p.wrote.empty());
    b.pass(250ms);
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::ping, "", {})});
    b.pass(29'000ms);
    b.hear(std::string("\x8a\x00", 2));  // pong: alive
    b.pass(29'750ms);
    EXPECT_EQ(b.p.wrote.size(), 1u);
    b.pass(30'250ms);
    EXPECT_TRUE(b.p.is_over);
    EXPECT_EQ(b.p.why.code, HF_E_TIMEOUT);
    EXPECT_EQ(b.p.wrote.back().substr(0, 1), "\x88") << "a goodbye";
}

TEST(ws_framing, answers_pings) {
    bench b;
    b.answer();
    b.hear(std::string("\x89\x03pig", 5));
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::pong, "pig", {})});
}

TEST(ws_framing, pings_of_a_server_that_does_not_read_wait_as_one) {
    bench b;
    b.answer();
    b.p.taking = false;
    for (int i = 0; i < 1000; ++i) b.hear(std::string("\x89\x01", 2) + static_cast<char>('a' + i % 26));
    EXPECT_TRUE(b.p.wrote.empty());
    b.f.taken(b.p);  // not all
    EXPECT_TRUE(b.p.wrote.empty());
    b.p.taking = true;
    b.f.taken(b.p);
    b.f.taken(b.p);
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::pong, std::string(1, 'a' + 999 % 26), {})});
}

TEST(ws_framing, a_goodbye_of_the_server_is_answered_and_told) {
    bench b;
    b.answer();
    b.hear(b.close(1001));
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::close, close_payload(1001, ""), {})});
    EXPECT_TRUE(b.p.is_over);
    EXPECT_EQ(b.p.why.code, HF_E_TRANSPORT);
    EXPECT_EQ(b.p.why.message, "ws://h:81 closed the connection with code 1001.");
    b.hear(std::string("\x81\x02{}", 4));
    EXPECT_TRUE(b.p.messages.empty());
}

TEST(ws_framing, our_goodbye_ends_with_theirs) {
    bench b;
    b.answer();
    b.f.goodbye(b.p);
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::close, close_payload(1000, ""), {})});
    b.hear(std::string("\x81\x02{}", 4));
    EXPECT_EQ(b.p.messages.size(), 1u) << "what was on its way still counts";
    b.hear(b.close(1000));
    EXPECT_TRUE(b.p.is_over);
    EXPECT_TRUE(b.p.why.ok());
    EXPECT_EQ(b.p.wrote.size(), 1u);
}

TEST(ws_framing, a_broken_rule_closes_with_its_code) {
    bench b;
    b.answer();
    b.hear(std::string("\x82\x01x", 3));
    EXPECT_TRUE(b.p.is_over);
    EXPECT_EQ(b.p.why.code, HF_E_PROTOCOL);
    EXPECT_EQ(b.p.wrote, std::vector<std::string>{encode_frame(opcode::close, close_payload(1003, "a binary message"), {})});
}

TEST(ws_config, refuses_headers_that_are_the_transports_own) {
    EXPECT_THROW(read_server(R"({"url":"ws://h/","headers":{"Sec-WebSocket-Key":"x"}})"), sdk::plugin_error);
    EXPECT_THROW(read_server(R"({"url":"ws://h/","headers":{"X":"a\r\nY: b"}})"), sdk::plugin_error);
    EXPECT_THROW(read_server(R"({"url":"http://h/"})"), sdk::plugin_error);
    EXPECT_THROW(read_server(R"({"url":"ws://user:secret@h/"})"), sdk::plugin_error);
}
}  // namespace
