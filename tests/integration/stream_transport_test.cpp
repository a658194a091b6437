// The transports for sockets and WebSocket as the host runs them, against servers that misbehave.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <filesystem>

#include "integration/raw_peer.hpp"
#include "integration/transport_connection.hpp"
#include "transport-websocket/ws_frames.hpp"
#include "transport-websocket/ws_handshake.hpp"

namespace {

using namespace holdfast::testing;
using namespace holdfast::transport_websocket;
namespace sdk = holdfast::sdk;

const plugin_file& file(bool web) {
    static const plugin_file socket(TRANSPORT_SOCKET_PLUGIN), websocket(TRANSPORT_WEBSOCKET_PLUGIN);
    return web ? websocket : socket;
}

struct connection : transport_connection {
    explicit connection(const json& config, const json& settings = json::object())
        : transport_connection(file(config.at("url").get<std::string>().starts_with("ws")), config, settings) {}
};

/// The server's half of the handshake.
void accept(raw_peer::socket& s) {
    const std::string q = s.get("\r\n\r\n");
    const std::string mark = "Sec-WebSocket-Key: ";
    const auto at = q.find(mark) + mark.size();
    s.put("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept_value(q.substr(at, q.find("\r\n", at) - at)) + "\r\n\r\n");
}
std::string frame(const std::string& text) {  // of a server
    std::string out(1, '\x81');
    out += static_cast<char>(text.size());
    return out + text;
}
int closed_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    ::bind(fd, reinterpret_cast<sockaddr*>(&a), n);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n);
    ::close(fd);
    return ntohs(a.sin_port);
}

TEST(socket_transport, speaks_over_a_unix_socket) {
    char dir[] = "/tmp/hf-sock-XXXXXX";
    ASSERT_TRUE(::mkdtemp(dir));
    const std::string path = std::string(dir) + "/s";
    {
        raw_peer peer([](raw_peer::socket& s) { s.put(s.get("\n")), s.wait_gone(); }, path);
        connection c(json{{"url", "unix:" + path}});
        ASSERT_TRUE(c.wait_open()) << c.why.message;
        EXPECT_EQ(c.send("{\n\"id\":1}"), HF_OK);
        ASSERT_TRUE(c.wait_messages(1));
        EXPECT_EQ(c.messages[0], "{ \"id\":1}");
        EXPECT_TRUE(c.close());
        EXPECT_TRUE(c.why.ok());
    }
    connection none(json{{"url", "unix:" + path + "x"}});
    ASSERT_TRUE(none.wait_closed());
    EXPECT_NE(none.why.message.find("No such file"), std::string::npos) << none.why.message;
    std::filesystem::remove_all(dir);
}

TEST(socket_transport, resolves_names) {
    raw_peer peer([](raw_peer::socket& s) { s.put(s.get("\n")), s.wait_gone(); });
    connection c(json{{"url", "tcp://localhost:" + std::to_string(peer.port())}});
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    c.send("{}");
    EXPECT_TRUE(c.wait_messages(1));
}

TEST(socket_transport, a_name_that_nobody_knows) {
    for (const char* url : {"tcp://no-such-host.invalid:1", "ws://no-such-host.invalid/"}) {
        connection c(json{{"url", url}});
        ASSERT_TRUE(c.wait_closed());
        EXPECT_EQ(c.opened, 0);
        EXPECT_NE(c.why.message.find("no address"), std::string::npos) << c.why.message;
    }
}

TEST(socket_transport, nobody_listens) {
    for (const std::string scheme : {"tcp", "ws", "tls", "wss"}) {
        connection c(json{{"url", scheme + "://127.0.0.1:" + std::to_string(closed_port())}});
        ASSERT_TRUE(c.wait_closed());
        EXPECT_TRUE(c.why.retryable);
        EXPECT_NE(c.why.message.find("refused"), std::string::npos) << c.why.message;
    }
}

TEST(socket_transport, a_line_of_ten_megabytes_is_dropped_and_the_next_one_heard) {
    raw_peer peer([](raw_peer::socket& s) {
        s.put(std::string(10 << 20, 'x'));
        s.put("\n{\"id\":2}\n");
        s.wait_gone();
    });
    connection c(json{{"url", peer.url("tcp")}});
    ASSERT_TRUE(c.wait_messages(1));
    EXPECT_EQ(c.messages[0], "{\"id\":2}");
    EXPECT_EQ(c.failed["null"].code, HF_E_PROTOCOL);
    EXPECT_NE(c.failed["null"].message.find("10485760 bytes"), std::string::npos) << c.failed["null"].message;
}

TEST(socket_transport, a_server_that_never_reads_is_bounded_and_given_up) {
    raw_peer peer([](raw_peer::socket& s) {
        const int small = 4096;
        ::setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        s.wait_hangup();
    });
    connection c(json{{"url", peer.url("tcp")}}, {{"max_queued_bytes", 1 << 20}, {"stuck_s", 0.3}});
    ASSERT_TRUE(c.wait_open());
    const std::string text(100'000, 'x');
    bool refused = false;  // the kernel takes some megabytes before anything waits here
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (std::int32_t said = HF_OK; said != HF_E_NOT_FOUND && std::chrono::steady_clock::now() < patience; std::this_thread::yield()) refused |= (said = c.send(text)) == HF_E_OVERLOADED;
    EXPECT_TRUE(refused);
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.why.code, HF_E_TIMEOUT) << c.why.message;
    EXPECT_EQ(c.send("{}"), HF_E_NOT_FOUND);
}

TEST(socket_transport, a_message_larger_than_the_queue_still_goes) {
    std::atomic<std::size_t> got{0};
    raw_peer peer([&got](raw_peer::socket& s) {
        got = s.get("\n").size();
        s.put("{}\n");
        s.wait_gone();
    });
    connection c(json{{"url", peer.url("tcp")}}, {{"max_queued_bytes", 1024}});
    ASSERT_TRUE(c.wait_open());
    EXPECT_EQ(c.send(std::string(3 << 20, 'x')), HF_OK);
    ASSERT_TRUE(c.wait_messages(1));
    EXPECT_EQ(got, (3u << 20) + 1);
}

TEST(socket_transport, closing_a_server_that_never_answers_ends_at_the_deadline) {
    raw_peer peer([](raw_peer::socket& s) { s.wait_hangup(false); });
    for (const std::string scheme : {"tcp", "ws"}) {
        connection c(json{{"url", peer.url(scheme)}});
        if (scheme == "tcp") {
            ASSERT_TRUE(c.wait_open());
        }
        const auto begun = std::chrono::steady_clock::now();
        EXPECT_TRUE(c.close(milliseconds(300)));
        EXPECT_TRUE(c.why.ok()) << c.why.message;
        EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
    }
}

TEST(socket_transport, a_server_that_closes_is_told_at_once) {
    raw_peer whole([](raw_peer::socket& s) { s.put("{}\n"); });
    connection c(json{{"url", whole.url("tcp")}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.messages.size(), 1u);
    EXPECT_EQ(c.why.code, HF_E_TRANSPORT);
    EXPECT_NE(c.why.message.find("closed the connection."), std::string::npos) << c.why.message;

    raw_peer half([](raw_peer::socket& s) { s.put("{}\n{\"id\":"); });
    connection d(json{{"url", half.url("tcp")}});
    ASSERT_TRUE(d.wait_closed());
    EXPECT_EQ(d.messages.size(), 1u);
    EXPECT_NE(d.why.message.find("in the middle of a message"), std::string::npos) << d.why.message;

    raw_peer reset([](raw_peer::socket& s) { s.put("{}\n"), s.get("\n"), s.reset(); });
    connection e(json{{"url", reset.url("tcp")}});
    ASSERT_TRUE(e.wait_messages(1));
    e.send("{}");
    ASSERT_TRUE(e.wait_closed());
    EXPECT_NE(e.why.message.find("reset"), std::string::npos) << e.why.message;
}

TEST(socket_transport, a_peer_that_vanishes_in_silence_is_found) {
    std::atomic<bool> allowed{true};
    raw_peer peer([&allowed](raw_peer::socket& s) {
        s.put("{}\n");
        s.get("\n");  // the client has heard it
        allowed = s.vanish();
    });
    connection c(json{{"url", peer.url("tcp")}}, {{"keep_alive_s", 1}});
    ASSERT_TRUE(c.wait_messages(1));
    c.send("{}");
    if (!c.wait_closed()) FAIL() << "it is still thought to be connected";
    if (!allowed) GTEST_SKIP() << "needs CAP_NET_ADMIN to close a socket in silence";
    EXPECT_EQ(c.why.code, HF_E_TRANSPORT);
}

TEST(socket_transport, garbage_is_passed_on_line_by_line) {  // whether it is JSON-RPC is for the host to judge
    raw_peer peer([](raw_peer::socket& s) {
        s.put(std::string("\xff\xfe\0x\n\n\r\n]]]\n", 12));
        s.wait_gone();
    });
    connection c(json{{"url", peer.url("tcp")}});
    ASSERT_TRUE(c.wait_messages(2));
    EXPECT_EQ(c.messages[1], "]]]");
}

TEST(websocket_transport, hears_what_came_with_the_handshake_and_says_goodbye) {
    std::string last;
    std::mutex m;
    {
        raw_peer peer([&](raw_peer::socket& s) {
            accept(s);
            s.put(frame("{\"id\":1}"));
            while (s.in.size() < 8 && s.more()) {
            }
            std::lock_guard lock(m);
            last = s.in;
        });
        connection c(json{{"url", peer.url("ws") + "/mcp"}});
        ASSERT_TRUE(c.wait_messages(1));
        EXPECT_TRUE(c.close());
        EXPECT_TRUE(c.why.ok()) << c.why.message;
    }
    std::lock_guard lock(m);
    ASSERT_EQ(last.size(), 8u);
    EXPECT_EQ(last.substr(0, 2), std::string("\x88\x82")) << "a masked close frame";
    EXPECT_EQ((static_cast<unsigned char>(last[6] ^ last[2]) << 8 | static_cast<unsigned char>(last[7] ^ last[3])), 1000);
}

TEST(websocket_transport, a_server_that_never_answers_the_handshake) {
    raw_peer peer([](raw_peer::socket& s) { s.wait_gone(); });
    connection c(json{{"url", peer.url("ws")}, {"connect_timeout_s", 0.3}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.opened, 0);
    EXPECT_EQ(c.why.code, HF_E_TIMEOUT) << c.why.message;
}

TEST(websocket_transport, something_else_listens_there) {
    raw_peer mail([](raw_peer::socket& s) { s.put("220 mail\r\n"), s.wait_gone(); });
    connection c(json{{"url", mail.url("ws")}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.why.code, HF_E_PROTOCOL) << c.why.message;
    raw_peer web([](raw_peer::socket& s) { s.get("\r\n\r\n"), s.put("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), s.wait_gone(); });
    connection d(json{{"url", web.url("ws")}});
    ASSERT_TRUE(d.wait_closed());
    EXPECT_EQ(d.why.code, HF_E_AUTH) << d.why.message;
    EXPECT_EQ(d.why.peer_status, 401);
}

TEST(websocket_transport, a_silent_server_is_pinged_and_given_up) {
    raw_peer peer([](raw_peer::socket& s) { accept(s), s.wait_gone(); });
    connection c(json{{"url", peer.url("ws")}}, {{"ping_s", 0.25}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.opened, 1);
    EXPECT_EQ(c.why.code, HF_E_TIMEOUT) << c.why.message;
}

TEST(websocket_transport, a_message_of_ten_megabytes_closes_it) {
    std::atomic<int> code{0};
    raw_peer peer([&code](raw_peer::socket& s) {
        accept(s);
        std::string head("\x81\x7f", 2);
        for (int i = 7; i >= 0; --i) head += static_cast<char>((10ull << 20) >> (8 * i) & 0xFF);
        s.put(head + std::string(100'000, 'x'));
        while (s.in.size() < 8 && s.more()) {
        }
        if (s.in.size() >= 8) code = static_cast<unsigned char>(s.in[6] ^ s.in[2]) << 8 | static_cast<unsigned char>(s.in[7] ^ s.in[3]);
    });
    connection c(json{{"url", peer.url("ws")}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_EQ(c.why.code, HF_E_PROTOCOL) << c.why.message;
    EXPECT_EQ(code, 1009);
}

TEST(websocket_transport, a_server_that_closes_in_the_middle) {
    raw_peer peer([](raw_peer::socket& s) { accept(s), s.put(frame("{\"id\":1}").substr(0, 5)); });
    connection c(json{{"url", peer.url("ws")}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_NE(c.why.message.find("in the middle of a message"), std::string::npos) << c.why.message;
}

/// A certificate for 127.0.0.1 that only itself vouches for, and a server with it that sends back every line.
class tls_peer {
  public:
    tls_peer() : context_(SSL_CTX_new(TLS_server_method())) {
        EVP_PKEY* const key = EVP_RSA_gen(2048);
        X509* const cert = X509_new();
        X509_set_version(cert, 2);
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), -60);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("holdfast test"), -1, -1, 0);
        X509_set_issuer_name(cert, X509_get_subject_name(cert));
        X509_EXTENSION* const names = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
        X509_add_ext(cert, names, -1);
        X509_EXTENSION_free(names);
        X509_sign(cert, key, EVP_sha256());
        char path[] = "/tmp/hf-ca-XXXXXX";
        const int fd = ::mkstemp(path);
        file = path;
        FILE* const out = ::fdopen(fd, "w");
        PEM_write_X509(out, cert);
        ::fclose(out);
        SSL_CTX_use_certificate(context_, cert);
        SSL_CTX_use_PrivateKey(context_, key);
        X509_free(cert);
        EVP_PKEY_free(key);
        peer_ = std::make_unique<raw_peer>([this](raw_peer::socket& s) { serve(s.fd); });
    }
    ~tls_peer() {
        peer_.reset();
        SSL_CTX_free(context_);
        std::filesystem::remove(file);
    }
    std::string url(const std::string& scheme) const { return peer_->url(scheme); }
    int port() const { return peer_->port(); }
    std::string file;

  private:
    void serve(int fd) const {
        SSL* const s = SSL_new(context_);
        SSL_set_fd(s, fd);
        if (SSL_accept(s) == 1) {
            char data[16384];
            for (int n; (n = SSL_read(s, data, sizeof data)) > 0;) SSL_write(s, data, n);
            SSL_shutdown(s);
        }
        SSL_free(s);
    }
    SSL_CTX* context_;
    std::unique_ptr<raw_peer> peer_;
};

TEST(stream_tls, the_certificate_is_verified) {
    tls_peer peer;
    for (const std::string scheme : {"tls", "wss"}) {
        connection c(json{{"url", peer.url(scheme)}});
        ASSERT_TRUE(c.wait_closed());
        EXPECT_EQ(c.opened, 0);
        EXPECT_NE(c.why.message.find("no secure connection"), std::string::npos) << c.why.message;
        EXPECT_NE(c.why.message.find("self-signed"), std::string::npos) << c.why.message;
    }
    connection other(json{{"url", "tls://localhost:" + std::to_string(peer.port())}, {"ca_file", peer.file}});
    ASSERT_TRUE(other.wait_closed());
    EXPECT_NE(other.why.message.find("hostname mismatch"), std::string::npos) << other.why.message;
    connection none(json{{"url", peer.url("tls")}, {"ca_file", "/nonexistent"}});
    ASSERT_TRUE(none.wait_closed());
    EXPECT_FALSE(none.why.ok());
}

TEST(stream_tls, carries_messages_of_any_size) {
    tls_peer peer;
    connection c(json{{"url", peer.url("tls")}, {"ca_file", peer.file}});
    ASSERT_TRUE(c.wait_open()) << c.why.message;
    const std::string large(2 << 20, 'x');
    c.send("{}");
    c.send(large);
    ASSERT_TRUE(c.wait_messages(2)) << c.why.message;
    EXPECT_EQ(c.messages[0], "{}");
    EXPECT_EQ(c.messages[1], large);
    EXPECT_TRUE(c.close());
    EXPECT_TRUE(c.why.ok()) << c.why.message;
}

TEST(stream_tls, a_server_without_tls_and_one_that_hangs) {
    raw_peer plain([](raw_peer::socket& s) { s.more(), s.put("hello\n"), s.wait_gone(); });
    connection c(json{{"url", plain.url("tls")}});
    ASSERT_TRUE(c.wait_closed());
    EXPECT_NE(c.why.message.find("no secure connection"), std::string::npos) << c.why.message;
    raw_peer silent([](raw_peer::socket& s) { s.wait_gone(); });
    connection d(json{{"url", silent.url("tls")}, {"connect_timeout_s", 0.3}});
    ASSERT_TRUE(d.wait_closed());
    EXPECT_EQ(d.why.code, HF_E_TIMEOUT) << d.why.message;
}

}  // namespace
