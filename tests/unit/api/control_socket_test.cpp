#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "api/control_socket.hpp"
#include "api/schema.hpp"

namespace holdfast::api {
namespace {

namespace fs = std::filesystem;
constexpr int deadline_ms = 10'000;

/// A client by hand: what the server must withstand is not always well-formed.
class raw_client {
  public:
    explicit raw_client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        std::strncpy(a.sun_path, path.c_str(), sizeof a.sun_path - 1);
        connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
    }
    ~raw_client() { ::close(fd_); }
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            pollfd p{fd_, POLLOUT, 0};
            if (::poll(&p, 1, deadline_ms) <= 0) return false;
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n <= 0) return false;
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    /// The next line as JSON; null when the connection ended or nothing came.
    json line() {
        for (;;) {
            if (const auto end = input_.find('\n'); end != std::string::npos) {
                const std::string text = input_.substr(0, end);
                input_.erase(0, end + 1);
                return json::parse(text, nullptr, false);
            }
            pollfd p{fd_, POLLIN, 0};
            if (::poll(&p, 1, deadline_ms) <= 0) return nullptr;
            char buffer[65536];
            const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
            if (n <= 0) return nullptr;
            input_.append(buffer, static_cast<std::size_t>(n));
        }
    }
    bool connected = false;

  private:
    int fd_;
    std::string input_;
};

struct control_socket_test : testing::Test {
    fs::path dir = fs::temp_directory_path() / ("holdfast-control-" + std::to_string(::getpid()));
    std::string path = (dir / "control.sock").string();
    events::bus bus;
    method_table methods;
    supervise::pool_runtime rt;
    std::unique_ptr<control_server> server;

    void SetUp() override {
        fs::create_directories(dir);
        methods.add({"echo", role::viewer, "", json{{"type", "object"}}, {}, [](const identity& who, json p, reply done) { done(json{{"params", p}, {"via", who.via}}); }});
        methods.add({"never", role::viewer, "", object_schema({}), {}, [this](const identity&, json, reply done) { kept.push_back(std::move(done)); }});
        methods.add({"pieces", role::viewer, "", object_schema({}), {}, {}, [this](const identity&, json, chunk_fn chunk, reply done) -> cancel_fn {
                         {
                             std::lock_guard lock(mutex);
                             chunks.push_back(chunk);  // before the piece: whoever reads it finds it
                         }
                         chunk("first\n\"piece\"");
                         auto end = std::make_shared<reply>(std::move(done));
                         return [this, end] {
                             (*end)(fail(errc::cancelled, "as told"));
                             std::lock_guard counting(mutex);
                             ++cancelled;
                             changed.notify_all();
                         };
                     }});
        auto s = control_server::listen(rt, path, methods, bus);
        ASSERT_TRUE(s) << s.error().message;
        server = std::move(*s);
    }
    void TearDown() override {
        server.reset();
        rt.stop(seconds(5));
        fs::remove_all(dir);
    }
    bool cancelled_within_the_deadline(int n) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, milliseconds(deadline_ms), [&] { return cancelled == n; });
    }
    std::vector<reply> kept;
    std::mutex mutex;  // guards the streams
    std::condition_variable changed;
    std::vector<chunk_fn> chunks;
    int cancelled = 0;
};

TEST_F(control_socket_test, pieces_carry_the_calls_id_and_a_cancel_brings_the_reply) {
    raw_client c(path);
    ASSERT_TRUE(c.send("{\"id\":\"a\",\"method\":\"pieces\"}\n"));
    EXPECT_EQ(c.line(), (json{{"id", "a"}, {"chunk", "first\n\"piece\""}}));
    ASSERT_TRUE(c.send("{\"id\":\"a\",\"method\":\"pieces\"}\n"));
    EXPECT_EQ(c.line()["error"]["code"], "already_exists");
    ASSERT_TRUE(c.send("{\"id\":\"b\",\"cancel\":true}\n{\"id\":\"a\",\"cancel\":true}\n"));
    const json end = c.line();
    EXPECT_EQ(end["id"], "a");
    EXPECT_EQ(end["error"]["code"], "cancelled");
    EXPECT_TRUE(cancelled_within_the_deadline(1));
    ASSERT_TRUE(c.send("{\"id\":\"a\",\"method\":\"pieces\"}\n"));
    EXPECT_EQ(c.line()["chunk"], "first\n\"piece\"") << "the id is free again";
}

TEST_F(control_socket_test, a_client_that_goes_away_cancels_what_it_asked_for) {
    {
        raw_client c(path);
        ASSERT_TRUE(c.send("{\"id\":1,\"method\":\"pieces\"}\n{\"id\":2,\"method\":\"pieces\"}\n"));
        EXPECT_EQ(c.line()["id"], 1);
        EXPECT_EQ(c.line()["id"], 2);
    }
    EXPECT_TRUE(cancelled_within_the_deadline(2));
}

TEST_F(control_socket_test, a_reader_of_pieces_that_never_reads_is_cut_and_its_call_cancelled) {
    raw_client c(path);
    ASSERT_TRUE(c.send("{\"id\":1,\"method\":\"pieces\"}\n"));
    EXPECT_EQ(c.line()["id"], 1);
    const std::string filler(1u << 20, 'x');
    chunk_fn chunk;
    {
        std::lock_guard lock(mutex);
        chunk = chunks.at(0);
    }
    // What the sockets take, and the queue on top of it.
    for (std::size_t sent = 0; server->clients() == 1 && sent < 4 * control_max_output; sent += filler.size()) chunk(filler);
    EXPECT_EQ(server->clients(), 0u);
    EXPECT_TRUE(cancelled_within_the_deadline(1));
}

TEST_F(control_socket_test, answers_calls_by_id_in_any_order) {
    raw_client c(path);
    ASSERT_TRUE(c.connected);
    ASSERT_TRUE(c.send("{\"id\":1,\"method\":\"never\"}\n{\"id\":2,\"method\":\"echo\",\"params\":{\"a\":1},\"via\":\"cli\"}\n"));
    const json r = c.line();
    EXPECT_EQ(r["id"], 2);
    EXPECT_EQ(r["result"]["params"]["a"], 1);
    EXPECT_EQ(r["result"]["via"], "cli");
}

TEST_F(control_socket_test, only_its_owner_may_open_it) {
    struct stat st {};
    ASSERT_EQ(::stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST_F(control_socket_test, garbage_and_deep_json_get_an_error_and_the_connection_goes_on) {
    raw_client c(path);
    ASSERT_TRUE(c.send("nonsense\n"));
    EXPECT_EQ(c.line()["error"]["code"], "invalid_argument");
    ASSERT_TRUE(c.send(std::string(100'000, '[') + "\n"));
    EXPECT_NE(c.line()["error"]["message"].get<std::string>().find("deeper than 64"), std::string::npos);
    ASSERT_TRUE(c.send("{\"id\":1}\n"));
    EXPECT_EQ(c.line()["error"]["code"], "invalid_argument");
    ASSERT_TRUE(c.send("{\"id\":2,\"method\":\"echo\"}\n"));
    EXPECT_EQ(c.line()["id"], 2);
}

TEST_F(control_socket_test, a_line_without_end_is_cut_off) {
    raw_client c(path);
    c.send(std::string(control_max_line + 65536 * 2, 'x'));
    EXPECT_EQ(c.line()["error"]["code"], "invalid_argument");
    EXPECT_TRUE(c.line().is_null()) << "and then the connection is closed";
}

TEST_F(control_socket_test, subscriptions_deliver_every_event_once_and_end_when_told) {
    bus.publish("session:a", "One", json{{"n", 1}});
    raw_client c(path);
    ASSERT_TRUE(c.send("{\"id\":1,\"subscribe\":{\"topic\":\"session:a\",\"from\":1}}\n"));
    const json answer = c.line();
    ASSERT_EQ(answer["result"]["seq"], 1);
    const auto number = answer["result"]["subscription"];
    EXPECT_EQ(c.line()["event"]["type"], "One");
    for (int i = 2; i <= 500; ++i) bus.publish("session:a", "More", json{{"n", i}});
    for (int i = 2; i <= 500; ++i) {
        const json e = c.line();
        ASSERT_EQ(e["subscription"], number);
        ASSERT_EQ(e["event"]["seq"], i);
    }
    ASSERT_TRUE(c.send("{\"id\":2,\"unsubscribe\":" + number.dump() + "}\n"));
    EXPECT_EQ(c.line()["id"], 2);
    bus.publish("session:a", "Late", json::object());
    ASSERT_TRUE(c.send("{\"id\":3,\"method\":\"echo\"}\n"));
    EXPECT_EQ(c.line()["id"], 3);
}

TEST_F(control_socket_test, a_reader_that_never_reads_is_cut_and_others_are_served) {
    raw_client slow(path);
    raw_client other(path);
    ASSERT_TRUE(slow.send("{\"id\":1,\"subscribe\":{\"topic\":\"session:big\",\"policy\":\"drop_oldest\"}}\n"));
    ASSERT_EQ(slow.line()["id"], 1);
    const std::string filler(200'000, 'x');
    const auto deadline = std::chrono::steady_clock::now() + milliseconds(deadline_ms);
    for (int i = 0; server->clients() == 2 && std::chrono::steady_clock::now() < deadline; ++i) {
        bus.publish("session:big", "Big", json{{"filler", filler}});
        ASSERT_TRUE(other.send("{\"id\":" + std::to_string(i) + ",\"method\":\"echo\"}\n"));
        ASSERT_EQ(other.line()["id"], i);
    }
    EXPECT_EQ(server->clients(), 1u);
}

TEST_F(control_socket_test, a_second_server_on_the_same_path_is_refused_and_a_stale_socket_is_replaced) {
    auto second = control_server::listen(rt, path, methods, bus);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, errc::already_started);
    const std::string stale = (dir / "stale.sock").string();
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strncpy(a.sun_path, stale.c_str(), sizeof a.sun_path - 1);
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    ::close(fd);
    EXPECT_TRUE(control_server::listen(rt, stale, methods, bus));
}

TEST_F(control_socket_test, stopping_closes_clients_with_calls_under_way) {
    raw_client c(path);
    ASSERT_TRUE(c.send("{\"id\":1,\"method\":\"never\"}\n{\"id\":2,\"method\":\"echo\"}\n"));
    ASSERT_EQ(c.line()["id"], 2);
    server.reset();
    EXPECT_TRUE(c.line().is_null());
    for (reply& r : kept) r(json::object());  // too late, and harmless
}

}  // namespace
}  // namespace holdfast::api
