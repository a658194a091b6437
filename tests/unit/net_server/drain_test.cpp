// Handing clients over: a server drains while another one accepts from the same socket.
#include <fcntl.h>

#include "unit/net_server/fixture.hpp"

namespace holdfast::test {
namespace {
using clock = std::chrono::steady_clock;
constexpr std::string_view hello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", late = "GET /late HTTP/1.1\r\nHost: x\r\n\r\n";

std::shared_ptr<const std::string> text_of(std::string s) { return std::make_shared<const std::string>(std::move(s)); }

/// A server that answers with its own name.
class generation {
  public:
    generation(int listener, std::string name) : name_(std::move(name)) {
        handler.request = [this](web::http_request, web::responder reply) { reply(web::http_response::text(200, "text/plain", name_)); };
        auto made = web::http_server::serve({::fcntl(listener, F_DUPFD_CLOEXEC, 0), {}}, handler);
        if (!made) throw std::runtime_error(made.error());
        server = std::move(*made);
        for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { server->run([] { return true; }); });
    }
    ~generation() {
        server->stop(0ms);
        for (auto& t : threads_) t.join();
    }
    scripted_handler handler;
    std::unique_ptr<web::http_server> server;

  private:
    const std::string name_;
    std::vector<std::thread> threads_;
};

class drain : public ::testing::Test {
  protected:
    /// Waits until the drain has begun, on a connection that was open before.
    static void await_begin(raw_client& open) {
        for (std::string last; last != "close";) {
            const auto r = open.ask(hello);
            ASSERT_TRUE(r);
            last = r->headers.at("connection");
        }
    }
    ~drain() override { ::close(listener); }
    const int listener = listening_socket();
    std::unique_ptr<generation> first = std::make_unique<generation>(listener, "first");
    unsigned short port = first->server->port();
};

/// Keeps answers to /late back until they are asked for.
struct holder {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<web::responder> held;
    void hold(generation& g) {
        g.handler.request = [this](web::http_request r, web::responder reply) {
            if (r.path != "/late") return reply(web::http_response::text(200, "text/plain", "first"));
            const std::lock_guard lock(mutex);
            held.push_back(std::move(reply));
            changed.notify_all();
        };
    }
    void answer() {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, raw_client::patience, [&] { return !held.empty(); }));
        held.front()(web::http_response::text(200, "text/plain", "first, late"));
        held.pop_front();
    }
    bool wait() {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, raw_client::patience, [&] { return !held.empty(); });
    }
};

TEST_F(drain, is_over_at_once_when_nobody_is_there) {
    const auto begin = clock::now();
    first->server->drain(begin + 60s);
    EXPECT_LT(clock::now() - begin, 5s);
    raw_client waits(port);  // the socket is the host's: who comes waits
    ASSERT_TRUE(waits.connected());
    generation second(listener, "second");
    EXPECT_EQ(waits.ask(hello)->body, "second");
}

TEST_F(drain, finishes_what_is_under_way_and_answers_those_who_were_idle) {
    raw_client idle(port), silent(port), busy(port), other(port);
    EXPECT_EQ(idle.ask(hello)->headers.at("connection"), "keep-alive");
    holder h;
    h.hold(*first);
    busy.send(late);
    ASSERT_TRUE(h.wait());
    std::thread draining([&] { first->server->drain(clock::now() + 60s); });
    await_begin(other);
    generation second(listener, "second");
    for (std::string who; who != "second";) {  // until the first has closed its duplicate, either may accept
        raw_client newcomer(port);
        const auto r = newcomer.ask(hello);
        ASSERT_TRUE(r);
        who = r->body;
    }
    idle.send(hello);
    silent.send(hello);
    h.answer();
    for (raw_client* c : {&busy, &idle, &silent}) {
        const auto r = c->read_response();
        ASSERT_TRUE(r);
        EXPECT_EQ(r->body, c == &busy ? "first, late" : "first");
        EXPECT_EQ(r->headers.at("connection"), "close");
        EXPECT_TRUE(c->closed_by_peer());
    }
    draining.join();
    EXPECT_EQ(first->server->counters().open, 0u);
}

TEST_F(drain, lets_the_idle_go_before_its_deadline) {
    raw_client idle(port), silent(port);
    EXPECT_EQ(idle.ask(hello)->status, 200);
    const auto begin = clock::now();
    first->server->drain(begin + 8s);
    EXPECT_GE(clock::now() - begin, 900ms);
    EXPECT_LT(clock::now() - begin, 7s);
    EXPECT_TRUE(idle.closed_by_peer());
    EXPECT_TRUE(silent.closed_by_peer());
}

TEST_F(drain, ends_at_its_deadline_whatever_is_under_way) {
    holder h;
    h.hold(*first);
    raw_client busy(port);
    busy.send(late);
    ASSERT_TRUE(h.wait());
    first->server->drain(clock::now() + 100ms);
    EXPECT_EQ(first->server->counters().open, 1u);
    h.answer();  // and what comes between drain and stop is still delivered
    EXPECT_EQ(busy.read_response()->body, "first, late");
}

TEST_F(drain, answers_all_that_was_sent_ahead) {
    holder h;
    h.hold(*first);
    raw_client eager(port), other(port);
    eager.send(std::string(late) + std::string(late) + std::string(late));
    ASSERT_TRUE(h.wait());
    std::thread draining([&] { first->server->drain(clock::now() + 60s); });
    await_begin(other);
    for (int i = 0; i < 3; ++i) {
        h.answer();
        const auto r = eager.read_response();
        ASSERT_TRUE(r) << i;
        EXPECT_EQ(r->headers.at("connection"), i < 2 ? "keep-alive" : "close") << i;
    }
    draining.join();
}

TEST_F(drain, web_sockets_get_what_was_queued_and_are_told_to_connect_again) {
    const auto peer = std::make_shared<recorder>(), busy = std::make_shared<recorder>();
    busy->under_way = true;
    first->handler.upgrade = [&](const web::http_request& r) { return web::upgrade_answer{{}, r.path == "/busy" ? busy : peer, {}}; };
    raw_client c(port), d(port);
    ASSERT_EQ(c.upgrade("/ws"), 101);
    ASSERT_EQ(d.upgrade("/busy"), 101);
    ASSERT_TRUE(peer->wait([](auto& p) { return p.socket != nullptr; }));
    ASSERT_TRUE(busy->wait([](auto& p) { return p.socket != nullptr; }));
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(peer->socket->send(text_of("event " + std::to_string(i))));
    std::thread draining([&] { first->server->drain(clock::now() + 60s); });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(c.read_frame()->payload, "event " + std::to_string(i));
    const auto bye = c.read_frame();
    ASSERT_TRUE(bye);
    EXPECT_EQ(bye->close_code(), 1001);
    EXPECT_NE(bye->payload.find("connect again"), std::string::npos);
    busy->on_text = [&](web::websocket& s, std::string_view) { s.reply(text_of("the answer")), busy->under_way = false; };
    d.send_text("a question");  // still heard, because an answer is under way
    EXPECT_EQ(d.read_frame()->payload, "the answer");
    EXPECT_EQ(d.read_frame()->close_code(), 1001);
    for (raw_client* client : {&c, &d}) client->send_frame(8, std::string("\x03\xe9", 2)), client->half_close();
    draining.join();
    EXPECT_TRUE(peer->wait([](auto& p) { return p.closed; }));
    EXPECT_TRUE(busy->wait([](auto& p) { return p.closed; }));
}

TEST_F(drain, nobody_is_refused_or_cut_off_while_generations_change) {
    std::atomic<bool> over{false};
    std::atomic<int> answers{0}, failures{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i)
        clients.emplace_back([&, i] {
            while (!over) {
                raw_client c(port);
                if (!c.connected()) ++failures;
                while (!over) {
                    const auto r = c.ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
                    if (!r) ++failures;
                    else ++answers;
                    if (!r || r->headers.at("connection") == "close" || (i % 2 == 0 && answers % 7 == 0)) break;
                }
            }
        });
    for (int i = 0; i < 50; ++i) {
        auto next = std::make_unique<generation>(listener, "next");
        const int before = answers;
        first->server->drain(clock::now() + 60s);
        while (answers < before + 50 && failures == 0) std::this_thread::yield();
        first = std::move(next);
    }
    over = true;
    for (auto& t : clients) t.join();
    EXPECT_EQ(failures, 0);
    EXPECT_GE(answers, 50 * 50);
}

}  // namespace
}  // namespace holdfast::test
