#include "unit/net_server/fixture.hpp"

namespace holdfast::test {
namespace {
std::shared_ptr<const std::string> text_of(std::string s) { return std::make_shared<const std::string>(std::move(s)); }

class web_socket : public net_server {
  protected:
    void open_server(web::server_limits limits = {}) {
        handler.upgrade = [this](const web::http_request& r) {
            web::upgrade_answer a;
            a.handler = peer;
            if (r.header("sec-websocket-protocol") == "chosen.v1") a.protocol = "chosen.v1";
            return a;
        };
        serve(limits);
    }
    std::shared_ptr<recorder> peer = std::make_shared<recorder>();
};

TEST_F(web_socket, echoes_and_closes) {
    peer->on_text = [](web::websocket& s, std::string_view text) { s.reply(text_of("echo " + std::string(text))); };
    open_server();
    raw_client c(port());
    ASSERT_EQ(c.upgrade("/ws", "Sec-WebSocket-Protocol: chosen.v1\r\n"), 101);
    EXPECT_EQ(c.last().headers.at("sec-websocket-protocol"), "chosen.v1");
    for (const std::string text : {"a", "bb"}) {
        c.send_text(text);
        const auto f = c.read_frame();
        ASSERT_TRUE(f);
        EXPECT_EQ(f->payload, "echo " + text);
    }
    c.send_frame(8, std::string("\x03\xe8", 2));
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->opcode, 8);
    c.half_close();
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed; }));
}

TEST_F(web_socket, refusals_are_plain_http) {
    serve();
    raw_client c(port());
    EXPECT_EQ(c.upgrade(), 404);
    EXPECT_NE(c.last().body.find("\"code\":\"not_found\""), std::string::npos);
}

TEST_F(web_socket, large_messages_arrive_whole_in_both_directions) {
    peer->on_text = [](web::websocket& s, std::string_view text) { s.reply(text_of(std::string(text))); };
    open_server();
    raw_client c(port());
    ASSERT_EQ(c.upgrade(), 101);
    const std::string large(1024 * 1024, 'm');
    c.send_text(large);
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->payload, large);
}

TEST_F(web_socket, oversized_binary_and_unmasked_messages_end_the_connection) {
    open_server();
    {
        raw_client c(port());
        ASSERT_EQ(c.upgrade(), 101);
        c.send_text(std::string(1024 * 1024 + 1, 'm'));
        EXPECT_TRUE(c.closed_by_peer());
    }
    {
        raw_client c(port());
        ASSERT_EQ(c.upgrade(), 101);
        c.send_frame(2, "binary");
        const auto f = c.read_frame();
        ASSERT_TRUE(f);
        EXPECT_EQ(f->close_code(), 1003);
    }
    {
        raw_client c(port());
        ASSERT_EQ(c.upgrade(), 101);
        c.send(std::string("\x81\x02hi", 4));  // clients must mask
        EXPECT_TRUE(c.closed_by_peer());
    }
    {
        raw_client c(port());
        ASSERT_EQ(c.upgrade(), 101);
        c.send_text("\xC3\x28");  // not UTF-8
        EXPECT_TRUE(c.closed_by_peer());
    }
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed && p.messages.empty(); }));
}

TEST_F(web_socket, a_full_queue_refuses_events_and_a_stuck_reader_is_cut) {
    web::server_limits limits;
    limits.stuck_time = 200ms;
    open_server(limits);
    raw_client c(port(), 4096);
    ASSERT_EQ(c.upgrade(), 101);
    ASSERT_TRUE(peer->wait([](auto& p) { return p.socket != nullptr; }));
    const auto socket = peer->socket;
    const auto event = text_of(std::string(64 * 1024, 'e'));
    std::size_t refused = 0;
    const auto deadline = std::chrono::steady_clock::now() + raw_client::patience;
    while (server->counters().slow_cut == 0 && std::chrono::steady_clock::now() < deadline) {  // the kernel takes some, then nobody
        if (!socket->send(event)) ++refused, std::this_thread::yield();
        ASSERT_LE(socket->queued(), limits.queue_bytes + event->size());
    }
    EXPECT_GT(refused, 0u);
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed; }));
    EXPECT_EQ(server->counters().slow_cut, 1u);
    EXPECT_FALSE(socket->send(event));
}

TEST_F(web_socket, a_client_that_asks_without_reading_is_not_read_either) {
    web::server_limits limits;
    limits.stuck_time = 30s;
    std::atomic<int> asked{0};
    peer->on_text = [&](web::websocket& s, std::string_view) {
        ++asked;
        s.reply(text_of(std::string(512 * 1024, 'r')));
    };
    open_server(limits);
    raw_client c(port(), 4096);
    ASSERT_EQ(c.upgrade(), 101);
    for (int i = 0; i < 64; ++i) c.send_text("more");
    ASSERT_TRUE(peer->wait([](auto& p) { return !p.messages.empty() && p.socket->queued() >= 256 * 1024; }));
    const int before = asked;
    EXPECT_LT(before, 64);
    for (int i = 0; i < 64; ++i) {  // reading again wakes it
        const auto f = c.read_frame();
        ASSERT_TRUE(f) << i;
        EXPECT_EQ(f->payload.size(), 512u * 1024);
    }
    EXPECT_EQ(asked, 64);
}

TEST_F(web_socket, handler_that_throws_loses_its_client_only) {
    peer->on_text = [](web::websocket&, std::string_view) { throw std::runtime_error("boom"); };
    open_server();
    raw_client c(port());
    ASSERT_EQ(c.upgrade(), 101);
    c.send_text("x");
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->close_code(), 1011);
    raw_client other(port());
    EXPECT_EQ(other.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n")->status, 200);
}

TEST_F(web_socket, silent_peers_are_pinged_then_cut) {
    web::server_limits limits;
    limits.ping_time = 300ms;
    open_server(limits);
    raw_client c(port());
    ASSERT_EQ(c.upgrade(), 101);
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->opcode, 9);
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed; }));  // it never answered with a pong
}

TEST_F(web_socket, stop_says_going_away_after_what_was_queued) {
    open_server();
    raw_client c(port());
    ASSERT_EQ(c.upgrade(), 101);
    ASSERT_TRUE(peer->wait([](auto& p) { return p.socket != nullptr; }));
    EXPECT_TRUE(peer->socket->send(text_of("last words")));
    std::thread stopping([&] { server->stop(20s); });
    EXPECT_EQ(c.read_frame()->payload, "last words");
    const auto f = c.read_frame();
    ASSERT_TRUE(f);
    EXPECT_EQ(f->close_code(), 1001);
    c.send_frame(8, f->payload);
    c.half_close();
    stopping.join();
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed; }));
}

TEST_F(web_socket, stopping_while_handshakes_are_under_way_is_orderly) {
    for (int round = 0; round < 20; ++round) {
        open_server();
        std::vector<std::unique_ptr<raw_client>> clients;
        for (int i = 0; i < 10; ++i) {
            clients.push_back(std::make_unique<raw_client>(port()));
            clients.back()->send("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        }
        stop(0ms);
        for (auto& c : clients) EXPECT_TRUE(c->closed_by_peer());
        server.reset();
    }
}

TEST_F(web_socket, messages_from_many_threads_all_arrive) {
    open_server();
    raw_client c(port());
    ASSERT_EQ(c.upgrade(), 101);
    ASSERT_TRUE(peer->wait([](auto& p) { return p.socket != nullptr; }));
    const auto socket = peer->socket;
    std::vector<std::thread> senders;
    for (int t = 0; t < 4; ++t)
        senders.emplace_back([&, t] {
            for (int i = 0; i < 500; ++i) EXPECT_TRUE(socket->send(text_of(std::to_string(t) + ":" + std::to_string(i))));
        });
    int next[4] = {};
    for (int n = 0; n < 2000; ++n) {
        const auto f = c.read_frame();
        ASSERT_TRUE(f);
        const int t = f->payload[0] - '0';
        EXPECT_EQ(f->payload, std::to_string(t) + ":" + std::to_string(next[t]++));
    }
    for (auto& t : senders) t.join();
}
}  // namespace
}  // namespace holdfast::test
