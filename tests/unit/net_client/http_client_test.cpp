#include "net-client/http_client.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <set>
#include <thread>

#include "unit/net_client/script_server.hpp"

namespace holdfast::net {
namespace {

using testing::heard_request;
using testing::script_server;

/// A client with its driving thread, and what came of each request.
class driven {
  public:
    explicit driven(client_limits l = {}) : client(l), thread_([this] { client.run([] { return false; }, [this] { ++beats; }); }) {}
    ~driven() { end(); }
    void end() {
        if (!thread_.joinable()) return;
        client.interrupt();
        thread_.join();
        client.shutdown();
    }
    struct exchange {
        int status = 0, done = 0;
        net::headers headers;
        std::string body;
        result r;
        std::vector<std::string> faults;
    };
    std::uint64_t send(request r, exchange& x, std::function<void(std::string_view)> on_data = {}) {
        return client.send(std::move(r), {[this, &x](int status, const net::headers& h) {
                                              std::lock_guard lock(mutex);
                                              if (x.status) x.faults.push_back("headers twice");
                                              x.status = status, x.headers = h;
                                              changed.notify_all();
                                          },
                                          [this, &x, on_data](std::string_view b) {
                                              if (on_data) on_data(b);
                                              std::lock_guard lock(mutex);
                                              if (!x.status || x.done) x.faults.push_back("data out of order");
                                              x.body += b;
                                              changed.notify_all();
                                          },
                                          [this, &x](const result& r) {
                                              std::lock_guard lock(mutex);
                                              ++x.done;
                                              x.r = r;
                                              changed.notify_all();
                                          }});
    }
    template <class F>
    bool wait(F is) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, std::chrono::seconds(10), is);
    }
    /// Sends and waits.
    exchange fetch(request r) {
        exchange x;
        EXPECT_NE(send(std::move(r), x), 0u);
        EXPECT_TRUE(wait([&] { return x.done > 0; }));
        EXPECT_TRUE(x.faults.empty());
        return x;
    }
    http_client client;
    std::atomic<int> beats{0};
    std::mutex mutex;
    std::condition_variable changed;

  private:
    std::thread thread_;
};

request get(std::string url) {
    request r;
    r.url = std::move(url);
    return r;
}
request post(std::string url, std::string body) {
    request r = get(std::move(url));
    r.method = "POST";
    r.headers = {{"Content-Type", "application/json"}, {"X-Mine", "yes"}};
    r.body = std::move(body);
    return r;
}

TEST(http_client, asks_before_it_connects_and_uses_no_connection_that_it_did_not_ask_about) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(200, "text/plain", "in"); });
    driven d;
    const auto plain = d.fetch(get(s.url("/")));  // leaves a connection behind
    EXPECT_EQ(plain.r.address, "127.0.0.1");
    std::vector<std::string> asked;
    request r = get(s.url("/secret"));
    r.may_connect = [&asked](std::string_view address) {
        asked.emplace_back(address);
        return false;
    };
    const auto x = d.fetch(r);
    EXPECT_EQ(x.r.what, outcome::forbidden);
    EXPECT_EQ(x.status, 0);
    EXPECT_EQ(asked, std::vector<std::string>{"127.0.0.1"});
    EXPECT_EQ(s.heard().size(), 1u);
    r.may_connect = [](std::string_view address) { return address == "127.0.0.1"; };
    EXPECT_EQ(d.fetch(r).body, "in");
    r.url = "http://localhost:" + s.url().substr(s.url().rfind(':') + 1) + "/";  // a name, perhaps with an address of each kind
    EXPECT_EQ(d.fetch(r).body, "in");
    r.may_connect = [](std::string_view) -> bool { throw 1; };
    EXPECT_EQ(d.fetch(r).r.what, outcome::forbidden);
}

TEST(http_client, sends_and_receives_whole_and_keeps_the_connection) {
    script_server s([](const heard_request& r, script_server::peer& p) { p.answer(200, "text/plain", r.method + r.target + r.body, "X-Back: There \r\n"); });
    driven d;
    const std::string big(1'000'000, 'x');
    for (int i = 0; i < 5; ++i) {
        const auto x = d.fetch(post(s.url("/a?b"), big));
        EXPECT_EQ(x.r.what, outcome::ok);
        EXPECT_EQ(x.status, 200);
        EXPECT_EQ(x.body, "POST/a?b" + big);
        EXPECT_EQ(find_header(x.headers, "X-BACK"), "There");
    }
    EXPECT_EQ(s.connections(), 1u);
    const auto first = s.heard().front();
    EXPECT_EQ(first.header("x-mine"), "yes");
    EXPECT_FALSE(first.has("expect"));
    EXPECT_FALSE(first.has("accept-encoding"));
    EXPECT_EQ(d.fetch(get(s.url("/g"))).body, "GET/g");
    request del = get(s.url("/d"));
    del.method = "DELETE";
    EXPECT_EQ(d.fetch(del).body, "DELETE/d");
    EXPECT_GT(d.beats, 0);
}

TEST(http_client, streams_chunks_as_they_come) {
    std::mutex m;
    std::condition_variable c;
    int seen = 0;
    script_server s([&](const heard_request&, script_server::peer& p) {
        p.events();
        for (int i = 1; i <= 3; ++i) {
            p.chunk("x");
            std::unique_lock lock(m);  // the next only when this one has arrived
            ASSERT_TRUE(c.wait_for(lock, std::chrono::seconds(10), [&] { return seen >= i; }));
        }
        p.last_chunk();
    });
    driven d;
    driven::exchange x;
    d.send(get(s.url()), x, [&](std::string_view b) {
        std::lock_guard lock(m);
        seen += static_cast<int>(b.size());
        c.notify_all();
    });
    ASSERT_TRUE(d.wait([&] { return x.done > 0; }));
    EXPECT_EQ(x.body, "xxx");
    EXPECT_EQ(x.r.what, outcome::ok);
}

TEST(http_client, never_sends_a_body_twice_over_a_dead_connection) {
    std::atomic<int> posts{0};
    script_server s([&](const heard_request&, script_server::peer& p) {
        if (++posts == 1) {
            p.answer(200, "text/plain", "first");
            return;
        }
        p.reset();  // after the request was read: the work may have been done
    });
    driven d;
    EXPECT_EQ(d.fetch(post(s.url(), "1")).r.what, outcome::ok);
    EXPECT_EQ(d.fetch(post(s.url(), "2")).r.what, outcome::lost);
    EXPECT_EQ(posts, 2);
}

TEST(http_client, tells_refused_from_unresolved_from_invalid) {
    driven d;
    EXPECT_EQ(d.fetch(get("http://127.0.0.1:9/")).r.what, outcome::refused);
    EXPECT_EQ(d.fetch(get("http://no-such-host.invalid/")).r.what, outcome::unresolved);
    for (const char* bad : {"ftp://127.0.0.1/", "file:///etc/passwd", "nonsense", ""}) EXPECT_EQ(d.fetch(get(bad)).r.what, outcome::invalid) << bad;
    request injected = get("http://127.0.0.1:9/");
    injected.headers = {{"X", "a\r\nEvil: 1"}};
    EXPECT_EQ(d.fetch(injected).r.what, outcome::invalid);
    EXPECT_EQ(d.fetch(get("http://127.0.0.1:9/x?key=secret")).r.message.find("secret"), std::string::npos);
}

TEST(http_client, takes_proxies_from_the_environment_but_not_for_this_machine) {
    script_server proxy([](const heard_request& r, script_server::peer& p) { p.answer(200, "text/plain", "proxied " + r.target); });
    script_server here([](const heard_request&, script_server::peer& p) { p.answer(200, "text/plain", "direct"); });
    ::setenv("http_proxy", proxy.url().c_str(), 1);
    driven d;
    EXPECT_EQ(d.fetch(get("http://no-such-host.invalid/x")).body, "proxied http://no-such-host.invalid/x");
    EXPECT_EQ(d.fetch(get(here.url())).body, "direct");
    ::unsetenv("http_proxy");
}

TEST(http_client, does_not_follow_redirects) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(307, "", "", "Location: /elsewhere\r\n"); });
    driven d;
    EXPECT_EQ(d.fetch(post(s.url(), "{}")).status, 307);
    EXPECT_EQ(d.fetch(get(s.url())).status, 307);
    EXPECT_EQ(s.heard().size(), 2u);
}

TEST(http_client, ends_a_transfer_that_is_silent_or_slow) {
    script_server s([](const heard_request& r, script_server::peer& p) {
        if (r.target == "/after") p.events(), p.chunk("hello");
        p.wait_gone();
    });
    driven d;
    request r = get(s.url("/never"));
    r.timeouts.idle = milliseconds(50);
    EXPECT_EQ(d.fetch(r).r.what, outcome::idle);
    r.url = s.url("/after");
    const auto x = d.fetch(r);
    EXPECT_EQ(x.r.what, outcome::idle);
    EXPECT_EQ(x.body, "hello");
    r.timeouts = {milliseconds(1000), milliseconds(0), milliseconds(60)};
    EXPECT_EQ(d.fetch(r).r.what, outcome::timed_out);
}

TEST(http_client, reports_a_broken_stream_as_lost) {
    script_server s([](const heard_request& r, script_server::peer& p) {
        if (r.target == "/length") p.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        if (r.target == "/chunked") p.events(), p.chunk("one");
        if (r.target == "/garbage") p.write("SSH-2.0-OpenSSH\r\n");
        if (r.target == "/reset") p.events(), p.chunk("one"), p.reset();
        else p.hang_up();
    });
    driven d;
    for (const char* path : {"/length", "/chunked", "/garbage", "/reset", "/nothing"}) EXPECT_EQ(d.fetch(get(s.url(path))).r.what, outcome::lost) << path;
}

TEST(http_client, bounds_headers_and_bodies) {
    script_server s([](const heard_request& r, script_server::peer& p) {
        if (r.target == "/headers") {
            p.write("HTTP/1.1 200 OK\r\n");
            for (int i = 0; i < 100 && p.write("X-" + std::to_string(i) + ": " + std::string(1000, 'h') + "\r\n"); ++i) {
            }
            p.write("Content-Length: 0\r\n\r\n");
        } else {
            p.events();
            for (int i = 0; i < 1000 && p.chunk(std::string(1000, 'b')); ++i) {
            }
            p.last_chunk();
        }
    });
    driven d;
    const auto headers = d.fetch(get(s.url("/headers")));
    EXPECT_EQ(headers.r.what, outcome::too_large);
    EXPECT_EQ(headers.status, 0);
    request r = get(s.url("/body"));
    r.max_body_bytes = 100'000;
    const auto body = d.fetch(r);
    EXPECT_EQ(body.r.what, outcome::too_large);
    EXPECT_LE(body.body.size(), 100'000u);
    r.max_body_bytes = 0;
    EXPECT_EQ(d.fetch(r).body.size(), 1'000'000u);
}

// 4 MiB of zeros as 26 KB of gzip, written by hand: a literal zero, then copies of it, in fixed codes.
std::string bomb() {
    static constexpr unsigned char head[] = {0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03};
    std::string bits;
    const auto put = [&bits](unsigned value, int count, bool reversed) {
        for (int i = 0; i < count; ++i) bits += static_cast<char>((value >> (reversed ? count - 1 - i : i)) & 1);
    };
    put(1, 1, false), put(1, 2, false);  // last block, fixed codes
    put(0x30, 8, true);                  // literal 0
    for (int i = 0; i < 16'256; ++i) put(0xC0 + 285 - 280, 8, true), put(0, 5, true);  // length 258, distance 1
    put(0, 7, true);                     // end of block
    std::string out(reinterpret_cast<const char*>(head), sizeof head);
    for (std::size_t i = 0; i < bits.size(); i += 8) {
        unsigned b = 0;
        for (std::size_t k = 0; k < 8 && i + k < bits.size(); ++k) b |= static_cast<unsigned>(bits[i + k]) << k;
        out += static_cast<char>(b);
    }
    return out + std::string(8, '\0');  // checksum and length, wrong: nobody should get that far
}

TEST(http_client, ends_an_answer_that_expands_too_much) {
    const std::string packed = bomb();
    script_server s([&](const heard_request& r, script_server::peer& p) {
        EXPECT_NE(r.header("accept-encoding").find("gzip"), std::string::npos);
        p.answer(200, "text/plain", packed, "Content-Encoding: gzip\r\n");
    });
    driven d;
    request r = get(s.url());
    r.compressed = true;
    const auto x = d.fetch(r);
    EXPECT_EQ(x.r.what, outcome::too_large);
    EXPECT_GT(x.body.size(), 0u) << "it was decoded at all";
    EXPECT_LT(x.body.size(), 2 * expansion_floor_bytes);
}

TEST(http_client, cancels_at_every_stage_exactly_once) {
    script_server s([](const heard_request&, script_server::peer& p) {
        p.events();
        p.chunk("x");
        p.wait_gone();
    });
    driven d({2, 10, 1000});
    std::vector<driven::exchange> all(4);
    std::vector<std::uint64_t> ids;
    for (auto& x : all) ids.push_back(d.send(get(s.url()), x));
    ASSERT_TRUE(d.wait([&] { return !all[0].body.empty() && !all[1].body.empty(); }));
    d.client.cancel(ids[3]);  // still waiting for its turn
    d.client.cancel(ids[0]);
    d.client.cancel(ids[0]);
    d.client.cancel(999);
    ASSERT_TRUE(d.wait([&] { return all[0].done && all[3].done && !all[2].body.empty(); })) << "the third gets the first one's place";
    d.end();
    for (auto& x : all) {
        EXPECT_EQ(x.done, 1);
        EXPECT_EQ(x.r.what, outcome::cancelled);
    }
    EXPECT_EQ(d.client.under_way(), 0u);
    EXPECT_EQ(d.client.send(get(s.url()), {}), 0u) << "after shutdown";
    EXPECT_FALSE(d.client.post([] {}));
}

TEST(http_client, refuses_more_than_it_may_queue) {
    http_client c({1, 2, 10});  // nobody drives it
    int done = 0;
    for (int i = 0; i < 3; ++i) EXPECT_NE(c.send(get("http://127.0.0.1:9/"), {nullptr, nullptr, [&](const result&) { ++done; }}), 0u);
    EXPECT_EQ(c.send(get("http://127.0.0.1:9/"), {}), 0u);
    c.shutdown();
    EXPECT_EQ(done, 3);
}

TEST(http_client, runs_posted_functions_and_timers_in_order_on_its_thread) {
    driven d;
    std::vector<int> order;
    std::set<std::thread::id> threads;
    const auto note = [&](int n) {
        return [&, n] {
            std::lock_guard lock(d.mutex);
            order.push_back(n);
            threads.insert(std::this_thread::get_id());
            d.changed.notify_all();
        };
    };
    d.client.after(milliseconds(40), note(4));
    d.client.after(milliseconds(20), note(3));
    d.client.post(note(1));
    d.client.post(note(2));
    ASSERT_TRUE(d.wait([&] { return order.size() == 4; }));
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
    EXPECT_EQ(threads.size(), 1u);
}

TEST(http_client, goes_on_with_what_was_under_way_when_it_is_run_again) {
    script_server s([](const heard_request&, script_server::peer& p) { p.answer(200, "text/plain", "late"); });
    http_client c;
    std::string body;
    bool done = false;
    c.post([] { throw std::runtime_error("a bug of the owner"); });
    c.send(get(s.url()), {nullptr, [&](std::string_view b) { body += b; }, [&](const result&) { done = true; }});
    EXPECT_THROW(c.run([] { return false; }, [] {}), std::runtime_error);
    c.run([&] { return done; }, [] {});
    EXPECT_EQ(body, "late");
}

TEST(http_client, many_callers_at_once) {
    script_server s([](const heard_request& r, script_server::peer& p) { p.answer(200, "text/plain", r.body); });
    driven d;
    std::vector<std::thread> callers;
    std::atomic<int> right{0};
    for (int t = 0; t < 4; ++t)
        callers.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                const std::string body = std::to_string(t * 1000 + i);
                if (d.fetch(post(s.url(), body)).body == body) ++right;
            }
        });
    for (auto& t : callers) t.join();
    EXPECT_EQ(right, 100);
}

}  // namespace
}  // namespace holdfast::net
