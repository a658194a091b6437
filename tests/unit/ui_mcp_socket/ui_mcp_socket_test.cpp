// The MCP endpoint over a Unix socket, as a client sees it.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <filesystem>

#include "unit/ui_http/scripted_host.hpp"

namespace holdfast::test {
namespace {

/// A blocking client with a deadline.
class line_client {
  public:
    explicit line_client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        path.copy(a.sun_path, sizeof a.sun_path - 1);
        connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
        const timeval patience{20, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }
    ~line_client() { ::close(fd_); }
    line_client(const line_client&) = delete;
    bool send(std::string_view text) {
        while (!text.empty()) {
            const auto n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            text.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    /// null when the connection has ended.
    json read() {
        std::size_t end;
        while ((end = in_.find('\n')) == std::string::npos) {
            char data[65536];
            const auto n = ::recv(fd_, data, sizeof data, 0);
            if (n <= 0) return nullptr;
            in_.append(data, static_cast<std::size_t>(n));
        }
        const json out = json::parse(in_.substr(0, end));
        in_.erase(0, end + 1);
        return out;
    }
    bool connected = false;

  private:
    int fd_;
    std::string in_;
};

class ui_mcp_socket : public ::testing::Test {
  protected:
    void SetUp() override {
        char dir[] = "/tmp/hf-mcp-XXXXXX";
        ASSERT_TRUE(::mkdtemp(dir));
        dir_ = dir;
        path_ = dir_ + "/s";
        host.on("mcp.post", [](auto c) {
            const json m = c.params.value("message", json());
            c.chunk(R"({"status":200,"stream":false})");
            if (m.is_object() && m.contains("id")) c.chunk("\n" + json{{"jsonrpc", "2.0"}, {"id", m["id"]}, {"result", {{"heard", c.params}, {"who", c.identity}}}}.dump());
            c.done(json::object());
        });
    }
    void TearDown() override {
        host.stop();
        std::filesystem::remove_all(dir_);
    }
    void start(json more = json::object()) {
        more["listen"] = {"unix:" + path_};
        host.start(more);
    }
    std::string dir_, path_;
    scripted_host host;
};

TEST_F(ui_mcp_socket, serves_clients_with_its_role_and_nobody_elses_file) {
    start({{"role", "viewer"}});
    struct stat st {};
    ASSERT_EQ(::stat(path_.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600u);
    line_client a(path_), b(path_);
    ASSERT_TRUE(a.connected);
    a.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    b.send("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n");
    const json r = a.read();
    EXPECT_EQ(r["id"], 1);
    EXPECT_EQ(r["result"]["who"]["role"], "viewer");
    EXPECT_EQ(r["result"]["heard"]["via"], "stdio");
    EXPECT_EQ(b.read()["id"], 2);
    host.stop();
    EXPECT_TRUE(a.read().is_null()) << "stopped";
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(ui_mcp_socket, a_file_left_behind_is_replaced_and_a_living_one_is_not) {
    {
        const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        path_.copy(a.sun_path, sizeof a.sun_path - 1);
        ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
        ASSERT_EQ(::listen(fd, 1), 0);
        EXPECT_THROW(start(), sdk::plugin_error);
        ::close(fd);
    }
    start();
    EXPECT_TRUE(line_client(path_).connected);
    EXPECT_THROW(host.start({{"listen", {"tcp://0.0.0.0:7778"}}}), sdk::plugin_error) << "others could reach it";
}

TEST_F(ui_mcp_socket, what_is_no_mcp_client_is_cut_at_its_first_line) {
    start();
    line_client page(path_);
    page.send("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}\n");
    EXPECT_TRUE(page.read().is_null());
    EXPECT_TRUE(host.calls("mcp.post").empty());
}

TEST_F(ui_mcp_socket, a_line_that_is_too_long_is_refused_and_the_next_one_heard) {
    start({{"max_message_bytes", 2000}});
    line_client c(path_);
    c.send("{\"a\":\"" + std::string(10 << 20, 'x') + "\"}\n{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\"}\n");
    EXPECT_EQ(c.read()["error"]["code"], -32700);
    EXPECT_EQ(c.read()["id"], 5);
}

TEST_F(ui_mcp_socket, a_client_that_does_not_read_is_cut) {
    host.on("mcp.post", [](auto c) {
        c.chunk(R"({"status":200,"stream":false})");
        c.chunk("\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"" + std::string(1 << 20, 'x') + "\"}");
        c.done(json::object());
    });
    start();
    line_client c(path_);
    int sent = 0;
    while (sent < 100'000 && c.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")) ++sent;
    EXPECT_LT(sent, 100'000) << "answers of a megabyte are kept for it without end";
}

}  // namespace
}  // namespace holdfast::test
