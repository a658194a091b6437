#pragma once
// A server on a free port with two threads, as a plugin would run it, and a handler that tests script.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "net-server/http_server.hpp"
#include "unit/net_server/raw_client.hpp"

namespace holdfast::test {
using namespace std::chrono_literals;

/// Keeps what one WebSocket client sent, and gives the test its handle.
struct recorder final : web::websocket_handler {
    std::mutex mutex;
    std::condition_variable changed;
    std::shared_ptr<web::websocket> socket;
    std::deque<std::string> messages;
    std::function<void(web::websocket&, std::string_view)> on_text;
    bool closed = false;
    std::atomic<bool> under_way{false};

    bool busy() const override { return under_way; }
    void on_open(std::shared_ptr<web::websocket> s) override {
        const std::lock_guard lock(mutex);
        socket = std::move(s);
        changed.notify_all();
    }
    void on_message(std::string_view text) override {
        if (on_text) on_text(*socket, text);
        const std::lock_guard lock(mutex);
        messages.emplace_back(text);
        changed.notify_all();
    }
    void on_close() override {
        const std::lock_guard lock(mutex);
        closed = true;
        socket.reset();
        changed.notify_all();
    }
    template <class P>
    bool wait(P&& until) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, raw_client::patience, [&] { return until(*this); });
    }
};

struct scripted_handler final : web::http_handler {
    std::function<void(web::http_request, web::responder)> request = [](web::http_request r, web::responder reply) {
        reply(web::http_response::text(200, "text/plain", r.method + " " + r.path + (r.body.empty() ? "" : " " + r.body)));
    };
    std::function<web::upgrade_answer(const web::http_request&)> upgrade;
    void on_request(web::http_request r, web::responder reply) override { request(std::move(r), std::move(reply)); }
    web::upgrade_answer on_upgrade(const web::http_request& r) override {
        if (upgrade) return upgrade(r);
        return {web::http_response::failure(404, "not_found", "no WebSocket here"), nullptr, {}};
    }
};

class net_server : public ::testing::Test {
  protected:
    void serve(web::server_limits limits = {}) {
        auto made = web::http_server::serve({listening_socket(), limits}, handler);
        ASSERT_TRUE(made) << made.error();
        server = std::move(*made);
        for (int i = 0; i < 2; ++i) threads.emplace_back([this] { server->run([] { return true; }); });
    }
    void stop(std::chrono::milliseconds grace = 0ms) {
        if (server) server->stop(grace);
        for (auto& t : threads) t.join();
        threads.clear();
    }
    void TearDown() override { stop(); }
    unsigned short port() const { return server->port(); }

    scripted_handler handler;
    std::unique_ptr<web::http_server> server;
    std::vector<std::thread> threads;
};

}  // namespace holdfast::test
