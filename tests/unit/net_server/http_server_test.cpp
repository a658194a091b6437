#include <fcntl.h>

#include "unit/net_server/fixture.hpp"

namespace holdfast::test {
namespace {
constexpr std::string_view hello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

std::string post(std::string_view path, std::string_view body, std::string_view more = {}) {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
           std::string(more) + "\r\n" + std::string(body);
}

TEST_F(net_server, answers_and_keeps_the_connection) {
    serve();
    raw_client c(port());
    for (int i = 0; i < 3; ++i) {
        const auto r = c.ask(hello);
        ASSERT_TRUE(r);
        EXPECT_EQ(r->status, 200);
        EXPECT_EQ(r->body, "GET /hello");
    }
    EXPECT_EQ(server->counters().accepted, 1u);
}

TEST_F(net_server, pipelined_requests_are_answered_in_order_though_answers_come_late_and_from_other_threads) {
    std::mutex mutex;
    std::vector<std::thread> others;
    handler.request = [&](web::http_request r, web::responder reply) {
        const std::lock_guard lock(mutex);
        others.emplace_back([path = r.path, reply = std::move(reply)]() mutable { reply(web::http_response::text(200, "text/plain", path)); });
    };
    serve();
    raw_client c(port());
    std::string burst;
    for (int i = 0; i < 50; ++i) burst += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_TRUE(c.send(burst));
    for (int i = 0; i < 50; ++i) {
        const auto r = c.read_response();
        ASSERT_TRUE(r) << i;
        EXPECT_EQ(r->body, "/" + std::to_string(i));
    }
    const std::lock_guard lock(mutex);
    for (auto& t : others) t.join();
}

TEST_F(net_server, what_is_no_socket_is_refused) {
    EXPECT_FALSE(web::http_server::serve({-1, {}}, handler));
    const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXPECT_FALSE(web::http_server::serve({file, {}}, handler));
    EXPECT_NE(::fcntl(file, F_GETFD), 0) << "it was the server's";
}

TEST_F(net_server, garbage_gets_400_and_the_door) {
    serve();
    for (const std::string& garbage : {std::string("\x16\x03\x01\x02\x00\x01", 6) + std::string(100, 'x') + "\r\n\r\n", std::string("GET\r\n\r\n"),
                                      std::string("GET / HTTP/9.9\r\nHost: x\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost x\r\n\r\n"),
                                      std::string("GET / HTTP/1.1\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
                                      std::string("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n"), std::string("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n"),
                                      std::string("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                                      std::string("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n")}) {
        raw_client c(port());
        const auto r = c.ask(garbage);
        ASSERT_TRUE(r) << garbage;
        EXPECT_EQ(r->status, 400) << garbage;
        EXPECT_NE(r->body.find("\"code\":\"invalid_argument\""), std::string::npos);
        EXPECT_TRUE(c.closed_by_peer());
    }
    raw_client good(port());
    EXPECT_EQ(good.ask(hello)->status, 200);
}

TEST_F(net_server, large_headers_get_431) {
    serve();
    raw_client c(port());
    const auto r = c.ask("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(17 * 1024, 'a') + "\r\n\r\n");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 431);
}

TEST_F(net_server, large_bodies_get_413_announced_or_chunked) {
    web::server_limits limits;
    limits.body_bytes = 1000;
    serve(limits);
    {
        raw_client c(port());
        EXPECT_EQ(c.ask(post("/", std::string(1000, 'a')))->status, 200);
        EXPECT_EQ(c.ask(post("/", std::string(1001, 'a')))->status, 413);
        EXPECT_TRUE(c.closed_by_peer());
    }
    raw_client c(port());
    const auto r = c.ask("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + std::string(0x800, 'a') + "\r\n0\r\n\r\n");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->status, 413);
}

TEST_F(net_server, a_body_of_the_default_limit_passes) {
    handler.request = [](web::http_request r, web::responder reply) {
        reply(web::http_response::text(200, "text/plain", std::to_string(r.body.size())));
    };
    serve();
    raw_client c(port());
    const auto r = c.ask(post("/", std::string(4 * 1024 * 1024, 'a')));
    ASSERT_TRUE(r);
    EXPECT_EQ(r->body, "4194304");
}

TEST_F(net_server, expect_continue_is_answered_before_the_body) {
    serve();
    raw_client c(port());
    const auto go_on = c.ask("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    ASSERT_TRUE(go_on);
    EXPECT_EQ(go_on->status, 100);
    EXPECT_EQ(c.ask("body")->body, "POST /p body");
}

TEST_F(net_server, slow_headers_are_cut) {
    web::server_limits limits;
    limits.header_time = 100ms;
    serve(limits);
    raw_client silent(port());
    raw_client slow(port());
    slow.send("GET / HTTP/1.1\r\nHo");
    EXPECT_TRUE(silent.closed_by_peer());
    EXPECT_TRUE(slow.closed_by_peer());
}

TEST_F(net_server, trickled_headers_are_cut_though_bytes_keep_coming) {
    web::server_limits limits;
    limits.header_time = 150ms;
    serve(limits);
    raw_client c(port());
    const auto begin = std::chrono::steady_clock::now();
    while (c.send("X") && std::chrono::steady_clock::now() - begin < raw_client::patience) {
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, raw_client::patience);
}

TEST_F(net_server, slow_bodies_and_idle_connections_are_cut) {
    web::server_limits limits;
    limits.body_time = 100ms;
    limits.idle_time = 100ms;
    serve(limits);
    raw_client body(port());
    body.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    EXPECT_TRUE(body.closed_by_peer());
    raw_client idle(port());
    EXPECT_EQ(idle.ask(hello)->status, 200);
    EXPECT_TRUE(idle.closed_by_peer());
}

TEST_F(net_server, a_client_that_never_reads_its_answer_is_cut) {
    web::server_limits limits;
    limits.stuck_time = 150ms;
    handler.request = [](web::http_request, web::responder reply) {
        reply(web::http_response::text(200, "text/plain", std::string(64 * 1024 * 1024, 'x')));  // more than socket buffers hold
    };
    serve(limits);
    raw_client c(port(), 4096);
    ASSERT_TRUE(c.send(hello));
    const auto deadline = std::chrono::steady_clock::now() + raw_client::patience;
    while (server->counters().slow_cut == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(server->counters().slow_cut, 1u);
}

TEST_F(net_server, connections_beyond_the_maximum_are_told_503) {
    web::server_limits limits;
    limits.max_connections = 2;
    serve(limits);
    raw_client a(port()), b(port());
    EXPECT_EQ(a.ask(hello)->status, 200);
    EXPECT_EQ(b.ask(hello)->status, 200);
    {
        raw_client third(port());
        const auto r = third.ask(hello);
        ASSERT_TRUE(r);
        EXPECT_EQ(r->status, 503);
        EXPECT_NE(r->body.find("overloaded"), std::string::npos);
        EXPECT_TRUE(third.closed_by_peer());
    }
    EXPECT_EQ(a.ask(hello)->status, 200) << "those inside are not disturbed";
}

TEST_F(net_server, throwing_and_dropping_handlers_answer_500) {
    handler.request = [](web::http_request r, web::responder) {
        if (r.path == "/throw") throw std::runtime_error("boom");
    };
    serve();
    raw_client c(port());
    EXPECT_EQ(c.ask("GET /throw HTTP/1.1\r\nHost: x\r\n\r\n")->status, 500);
    EXPECT_EQ(c.ask("GET /drop HTTP/1.1\r\nHost: x\r\n\r\n")->status, 500);
}

TEST_F(net_server, header_values_cannot_be_split) {
    handler.request = [](web::http_request, web::responder reply) {
        auto r = web::http_response::text(200, "text/plain", "ok");
        r.headers.emplace_back("X-Echo", "a\r\nSet-Cookie: evil=1");
        reply(std::move(r));
    };
    serve();
    raw_client c(port());
    const auto r = c.ask(hello);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->headers.count("set-cookie"), 0u);
}

TEST_F(net_server, head_has_the_length_and_no_body) {
    serve();
    raw_client c(port());
    c.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto r = c.read_response(true);
    ASSERT_TRUE(r);
    EXPECT_EQ(r->headers.at("content-length"), "11");
    EXPECT_EQ(c.ask(hello)->body, "GET /hello") << "nothing was left in between";
}

TEST_F(net_server, hundred_clients_at_once) {
    serve();
    std::atomic<int> good{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 100; ++i)
        clients.emplace_back([&, i] {
            raw_client c(port());
            for (int n = 0; n < 5; ++n) {
                const auto r = c.ask("GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n");
                good += r && r->body == "GET /" + std::to_string(i);
            }
        });
    for (auto& t : clients) t.join();
    EXPECT_EQ(good, 500);
}

TEST_F(net_server, stop_finishes_what_is_under_way_and_closes_the_idle) {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<web::responder> pending;
    handler.request = [&](web::http_request r, web::responder reply) {
        if (r.path != "/late") return reply(web::http_response::text(200, "text/plain", "now"));
        const std::lock_guard lock(mutex);
        pending.emplace(std::move(reply));
        changed.notify_all();
    };
    serve();
    raw_client idle(port()), busy(port());
    EXPECT_EQ(idle.ask(hello)->status, 200);
    busy.send("GET /late HTTP/1.1\r\nHost: x\r\n\r\n");
    {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, raw_client::patience, [&] { return pending.has_value(); }));
    }
    std::thread stopping([&] { server->stop(20s); });
    EXPECT_TRUE(idle.closed_by_peer());  // the drain has begun
    (*pending)(web::http_response::text(200, "text/plain", "late"));
    const auto r = busy.read_response();
    ASSERT_TRUE(r);
    EXPECT_EQ(r->body, "late");
    EXPECT_EQ(r->headers.at("connection"), "close");
    stopping.join();
    EXPECT_EQ(server->counters().open, 0u);
    EXPECT_FALSE(raw_client(port()).connected());
}

TEST_F(net_server, answers_after_stop_and_after_destruction_are_dropped_quietly) {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<web::responder> pending;
    handler.request = [&](web::http_request, web::responder reply) {
        const std::lock_guard lock(mutex);
        pending.push_back(std::move(reply));
        changed.notify_all();
    };
    serve();
    raw_client a(port()), b(port());
    a.send(hello);
    b.send(hello);
    {
        std::unique_lock lock(mutex);
        ASSERT_TRUE(changed.wait_for(lock, raw_client::patience, [&] { return pending.size() == 2; }));
    }
    stop(0ms);
    pending[0](web::http_response::text(200, "text/plain", "too late"));
    server.reset();
    pending[1](web::http_response::text(200, "text/plain", "much too late"));
    EXPECT_TRUE(a.closed_by_peer());
}

TEST_F(net_server, stops_with_no_thread_running_it) {
    auto made = web::http_server::serve({listening_socket(), {}}, handler);
    ASSERT_TRUE(made);
    raw_client c((*made)->port());
    (*made)->stop(100ms);
    made->reset();
    EXPECT_TRUE(c.closed_by_peer());
}

TEST_F(net_server, a_thread_leaves_when_told_and_another_goes_on) {
    serve();
    std::atomic<int> asked{0};
    std::thread third([&] { server->run([&] { return ++asked < 2; }); });
    third.join();
    EXPECT_EQ(asked, 2);
    raw_client c(port());
    EXPECT_EQ(c.ask(hello)->status, 200);
}
}  // namespace
}  // namespace holdfast::test
