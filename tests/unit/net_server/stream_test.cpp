// Answers in pieces, and clients that go away while they wait.
#include "unit/net_server/fixture.hpp"

namespace holdfast::test {
namespace {

constexpr std::string_view hello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", ask_for_stream = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";

/// /stream is answered by the test, anything else at once.
class streams : public net_server {
  protected:
    void SetUp() override {
        handler.request = [this](web::http_request r, web::responder reply) {
            if (r.path != "/stream") return reply(web::http_response::text(200, "text/plain", "now"));
            reply.on_gone([this] {
                const std::lock_guard lock(mutex);
                ++gone;
                changed.notify_all();
            });
            const std::lock_guard lock(mutex);
            pending.push_back(std::move(reply));
            changed.notify_all();
        };
    }
    web::responder& asked(std::size_t nth = 0) {
        std::unique_lock lock(mutex);
        EXPECT_TRUE(changed.wait_for(lock, raw_client::patience, [&] { return pending.size() > nth; }));
        return pending.at(nth);
    }
    bool told_gone(int n = 1) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, raw_client::patience, [&] { return gone == n; });
    }
    static web::http_response head() {
        web::http_response r;
        r.headers = {{"Content-Type", "text/event-stream"}};
        return r;
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<web::responder> pending;
    int gone = 0;
};

TEST_F(streams, pieces_arrive_as_they_are_written_and_the_connection_goes_on) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    auto stream = asked().stream(head());
    const auto r = c.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 200);
    EXPECT_EQ(r->headers.at("transfer-encoding"), "chunked");
    EXPECT_EQ(r->headers.at("content-type"), "text/event-stream");
    EXPECT_EQ(r->headers.count("content-length"), 0u);
    EXPECT_TRUE(stream->write("data: 1\n\n"));
    EXPECT_EQ(c.read_chunk(), "data: 1\n\n");
    const std::string large(300'000, 'x');
    EXPECT_TRUE(stream->write(large));
    EXPECT_EQ(c.read_chunk(), large);
    stream->end();
    EXPECT_EQ(c.read_chunk(), "");
    EXPECT_FALSE(stream->write("late"));
    EXPECT_EQ(c.ask(hello)->body, "now");
    EXPECT_EQ(gone, 0) << "it was answered";
}

TEST_F(streams, an_old_client_gets_the_body_up_to_the_end_of_the_connection) {
    serve();
    raw_client c(port());
    c.send("GET /stream HTTP/1.0\r\nHost: x\r\n\r\n");
    auto stream = asked().stream(head());
    stream->write("all of it");
    stream->end();
    const auto r = c.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(r->headers.count("transfer-encoding"), 0u);
    EXPECT_TRUE(c.skip(9));
    EXPECT_TRUE(c.closed_by_peer());
}

TEST_F(streams, a_client_that_leaves_is_noticed_before_and_during_the_answer) {
    serve();
    { raw_client(port()).send(ask_for_stream); }
    EXPECT_TRUE(told_gone(1)) << "before";
    auto c = std::make_unique<raw_client>(port());
    c->send(ask_for_stream);
    auto stream = asked(1).stream(head());
    ASSERT_TRUE(c->read_response());
    c.reset();
    EXPECT_TRUE(told_gone(2)) << "during";
    EXPECT_FALSE(stream->write("nobody"));
}

TEST_F(streams, a_request_sent_ahead_is_no_departure) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    asked();
    c.send(hello);
    c.send(hello);
    asked()(web::http_response::text(200, "text/plain", "first"));
    EXPECT_EQ(c.read_response()->body, "first");
    EXPECT_EQ(c.read_response()->body, "now");
    EXPECT_EQ(c.read_response()->body, "now");
    EXPECT_EQ(gone, 0);
}

TEST_F(streams, a_client_that_leaves_behind_a_request_sent_ahead_is_noticed) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    asked();
    c.send(hello);
    c.half_close();
    EXPECT_TRUE(told_gone());
    EXPECT_TRUE(c.closed_by_peer());
}

TEST_F(streams, what_a_client_sent_ahead_is_dropped_when_it_has_gone) {
    std::atomic<bool> entered{false}, seen{false}, ahead{false};
    handler.request = [&](web::http_request r, web::responder reply) {
        if (r.path == "/hello") seen = true;
        if (r.path == "/ahead") ahead = true;
        reply.on_gone([] {});
        reply(web::http_response::text(200, "text/plain", r.path));
        if (r.path != "/first") return;
        // Its answer waits for this to return, and by then the other thread has seen that the client is gone.
        entered = true;
        const auto late = std::chrono::steady_clock::now() + raw_client::patience;
        while (!seen && std::chrono::steady_clock::now() < late) std::this_thread::yield();
    };
    serve();
    raw_client c(port()), other(port());
    c.send("GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /ahead HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!entered) std::this_thread::yield();
    c.half_close();
    EXPECT_TRUE(other.ask(hello));
    EXPECT_TRUE(c.read_response());
    EXPECT_TRUE(c.closed_by_peer());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(other.ask(hello));
    EXPECT_FALSE(ahead) << "nobody would be told that its client has gone";
}

TEST_F(streams, a_connection_that_was_watched_is_kept_and_closed_when_idle_for_long) {
    web::server_limits limits;
    limits.idle_time = 300ms;
    serve(limits);
    raw_client c(port());
    for (std::size_t i = 0; i < 3; ++i) {
        c.send(ask_for_stream);
        asked(i)(web::http_response::text(200, "text/plain", "whole"));
        EXPECT_EQ(c.read_response()->body, "whole");
    }
    EXPECT_TRUE(c.closed_by_peer());
    EXPECT_EQ(gone, 0);
}

TEST_F(streams, who_does_not_read_is_cut_when_too_much_waits) {
    web::server_limits limits;
    limits.reply_queue_bytes = 100'000;
    serve(limits);
    raw_client slow(port(), 4096), other(port());
    slow.send(ask_for_stream);
    auto stream = asked().stream(head());
    const std::string piece(10'000, 'x');
    int written = 0;
    while (written < 10'000 && stream->write(piece)) ++written;
    EXPECT_LT(written, 10'000);
    EXPECT_TRUE(told_gone());
    EXPECT_EQ(server->counters().slow_cut, 1u);
    EXPECT_EQ(other.ask(hello)->body, "now");
}

TEST_F(streams, who_takes_nothing_for_the_stuck_time_is_cut) {
    web::server_limits limits;
    limits.stuck_time = 100ms;
    serve(limits);
    raw_client stuck(port(), 4096);
    stuck.send(ask_for_stream);
    auto stream = asked().stream(head());
    EXPECT_TRUE(stream->write(std::string(7'000'000, 'x'))) << "within the queue, beyond what the sockets hold";
    EXPECT_TRUE(told_gone());
    EXPECT_EQ(server->counters().slow_cut, 1u);
}

TEST_F(streams, a_silent_stream_carries_comments) {
    web::server_limits limits;
    limits.comment_time = 20ms;
    serve(limits);
    raw_client c(port());
    c.send(ask_for_stream);
    auto stream = asked().stream(head());
    ASSERT_TRUE(c.read_response());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(c.read_chunk(), ":\n\n");
    stream->end();
}

TEST_F(streams, a_stream_dropped_without_its_end_is_not_taken_for_a_whole_one) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    asked().stream(head())->write("half");
    ASSERT_TRUE(c.read_response());
    EXPECT_TRUE(c.closed_by_peer());
}

TEST_F(streams, endless_streams_end_when_the_server_gives_its_clients_away) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    auto stream = asked().stream(head(), true);
    ASSERT_TRUE(c.read_response());
    stream->write("event");
    EXPECT_EQ(c.read_chunk(), "event");
    std::thread draining([&] { server->drain(std::chrono::steady_clock::now() + raw_client::patience); });
    EXPECT_EQ(c.read_chunk(), "");
    EXPECT_TRUE(c.closed_by_peer());
    EXPECT_TRUE(told_gone());
    EXPECT_FALSE(stream->write("late"));
    draining.join();
}

TEST_F(streams, a_stop_waits_for_streams_that_end) {
    serve();
    raw_client ends(port()), idle(port());
    EXPECT_EQ(idle.ask(hello)->body, "now");
    ends.send(ask_for_stream);
    auto a = asked(0).stream(head());
    ASSERT_TRUE(ends.read_response());
    std::thread stopping([&] { server->stop(20s); });
    EXPECT_TRUE(idle.closed_by_peer()) << "the stop has begun";
    EXPECT_TRUE(a->write("last words"));
    a->end();
    EXPECT_EQ(ends.read_chunk(), "last words");
    EXPECT_EQ(ends.read_chunk(), "");
    EXPECT_TRUE(ends.closed_by_peer());
    stopping.join();
    EXPECT_EQ(gone, 0);
}

TEST_F(streams, a_stop_without_patience_cuts_and_tells) {
    serve();
    raw_client c(port());
    c.send(ask_for_stream);
    auto stream = asked().stream(head());
    ASSERT_TRUE(c.read_response());
    stop(0ms);
    EXPECT_TRUE(told_gone());
    EXPECT_FALSE(stream->write("late"));
    EXPECT_TRUE(c.closed_by_peer());
    server.reset();
    stream->end();
}

}  // namespace
}  // namespace holdfast::test
