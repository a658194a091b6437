// The peers of the contract tests: HTTP, lines over TCP, WebSocket. Blocking sockets, one thread per connection, nothing but what
// the tests need.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "contract_suite.hpp"

namespace holdfast::testing::contract {
namespace {

/// Calls serve(socket) on a thread of its own for every connection.
class tcp_peer {
  public:
    explicit tcp_peer(std::function<void(int)> serve) : serve_(std::move(serve)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t n = sizeof a;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&a), n) || ::listen(listener_, 64) ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &n))
            throw std::runtime_error("cannot listen on 127.0.0.1");
        authority_ = "127.0.0.1:" + std::to_string(ntohs(a.sin_port));
        thread_ = std::thread([this] { accept_all(); });
    }
    ~tcp_peer() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        std::unique_lock lock(mutex_);
        for (const int c : open_) ::shutdown(c, SHUT_RDWR);
        ended_.wait(lock, [this] { return open_.empty(); });
        ::close(listener_);
    }
    const std::string& authority() const { return authority_; }

  private:
    void accept_all() {
        for (;;) {
            const int c = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (c < 0) return;
            std::lock_guard lock(mutex_);
            open_.insert(c);
            std::thread([this, c] {
                serve_(c);
                std::lock_guard inner(mutex_);
                open_.erase(c);
                ::close(c);
                ended_.notify_all();  // under the lock: whoever waits destroys it next
            }).detach();
        }
    }
    const std::function<void(int)> serve_;
    const int listener_;
    std::string authority_;
    std::thread thread_;
    std::mutex mutex_;
    std::set<int> open_;
    std::condition_variable ended_;
};

bool more(int c, std::string& in) {
    char data[65536];
    const auto n = ::recv(c, data, sizeof data, 0);
    if (n > 0) in.append(data, static_cast<std::size_t>(n));
    return n > 0;
}
bool put(int c, std::string_view text) {
    while (!text.empty()) {
        const auto n = ::send(c, text.data(), text.size(), MSG_NOSIGNAL);
        if (n <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}
bool answer(int c, const std::string& line, const std::string& body) {
    const auto reply = [c](const char* status, const char* type, const std::string& text) {
        return put(c, "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: " + type + "\r\nContent-Length: " +
                          std::to_string(text.size()) + "\r\n\r\n" + text);
    };
    if (line.starts_with("post /echo")) {
        // A notification has no answer; a request's answer is itself.
        const auto message = json::parse(body, nullptr, false);
        if (message.is_object() && !message.contains("id")) return put(c, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
        return reply("200 OK", "application/json", body);
    }
    if (line.starts_with("get /v1/models"))
        return reply("200 OK", "application/json", R"({"object":"list","data":[{"id":"contract-model","object":"model"}]})");
    if (line.starts_with("post /v1/chat/completions")) {
        std::string stream;
        const auto chunk = [&stream](const json& delta, const json& finish) {
            const json j{{"id", "c1"}, {"object", "chat.completion.chunk"}, {"created", 1}, {"model", "contract-model"},
                         {"choices", {{{"index", 0}, {"delta", delta}, {"finish_reason", finish}}}}};
            stream += "data: " + j.dump() + "\n\n";
        };
        chunk({{"role", "assistant"}, {"content", ""}}, nullptr);
        chunk({{"content", "Hello"}}, nullptr);
        chunk({{"content", " world"}}, nullptr);
        chunk(json::object(), "stop");
        const json usage{{"id", "c1"}, {"object", "chat.completion.chunk"}, {"model", "contract-model"}, {"choices", json::array()},
                         {"usage", {{"prompt_tokens", 5}, {"completion_tokens", 2}, {"total_tokens", 7}}}};
        stream += "data: " + usage.dump() + "\n\ndata: [DONE]\n\n";
        return reply("200 OK", "text/event-stream", stream);
    }
    return reply("405 Method Not Allowed", "text/plain", "no");
}
bool one_request(int c, std::string& in) {
    std::size_t end;
    while ((end = in.find("\r\n\r\n")) == std::string::npos)
        if (!more(c, in)) return false;
    std::string head = in.substr(0, end);
    in.erase(0, end + 4);
    for (char& ch : head) ch = static_cast<char>(::tolower(ch));
    if (head.find("expect: 100-continue") != std::string::npos) put(c, "HTTP/1.1 100 Continue\r\n\r\n");
    std::string body;
    if (const auto at = head.find("content-length:"); at != std::string::npos) {
        std::size_t length = 0;
        const auto digits = head.find_first_not_of(" ", at + 15);
        std::from_chars(head.data() + digits, head.data() + head.size(), length);
        while (in.size() < length)
            if (!more(c, in)) return false;
        body = in.substr(0, length);
        in.erase(0, length);
    } else if (head.find("transfer-encoding: chunked") != std::string::npos) {
        for (;;) {
            std::size_t nl;
            while ((nl = in.find("\r\n")) == std::string::npos)
                if (!more(c, in)) return false;
            std::size_t length = 0;
            std::from_chars(in.data(), in.data() + nl, length, 16);
            while (in.size() < nl + 2 + length + 2)
                if (!more(c, in)) return false;
            body += in.substr(nl + 2, length);
            in.erase(0, nl + 2 + length + 2);
            if (length == 0) break;
        }
    }
    return answer(c, head.substr(0, head.find("\r\n")), body);
}

void serve_lines(int c) {
    std::string in;
    while (more(c, in)) {
        const auto end = in.rfind('\n');
        if (end == std::string::npos) continue;
        if (!put(c, std::string_view(in).substr(0, end + 1))) return;
        in.erase(0, end + 1);
    }
}

/// SHA-1 (FIPS 180-4), for the handshake of WebSocket.
std::string sha1(std::string text) {
    std::uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    const std::uint64_t bits = text.size() * 8;
    text += '\x80';
    while (text.size() % 64 != 56) text += '\0';
    for (int i = 7; i >= 0; --i) text += static_cast<char>(bits >> (8 * i) & 0xFF);
    const auto turn = [](std::uint32_t v, int n) { return v << n | v >> (32 - n); };
    for (std::size_t at = 0; at < text.size(); at += 64) {
        std::uint32_t w[80];
        for (std::size_t i = 0; i < 16; ++i) {
            w[i] = 0;
            for (std::size_t k = 0; k < 4; ++k) w[i] = w[i] << 8 | static_cast<unsigned char>(text[at + 4 * i + k]);
        }
        for (int i = 16; i < 80; ++i) w[i] = turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        std::uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; ++i) {
            const std::uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
            const std::uint32_t k = i < 20 ? 0x5A827999 : i < 40 ? 0x6ED9EBA1 : i < 60 ? 0x8F1BBCDC : 0xCA62C1D6;
            const std::uint32_t next = turn(a, 5) + f + e + k + w[i];
            e = d, d = c, c = turn(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    std::string out;
    for (const std::uint32_t word : h)
        for (int i = 3; i >= 0; --i) out += static_cast<char>(word >> (8 * i) & 0xFF);
    return out;
}
std::string base64(std::string_view bytes) {
    static constexpr char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t v = 0;
        for (std::size_t k = 0; k < 3; ++k) v = v << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
        for (std::size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? letters[v >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

/// Accepts the handshake and sends every message back; answers pings and the goodbye.
void serve_websocket(int c) {
    std::string in;
    std::size_t end;
    while ((end = in.find("\r\n\r\n")) == std::string::npos)
        if (in.size() > 65536 || !more(c, in)) return;
    const std::string mark = "Sec-WebSocket-Key: ";
    const auto at = in.find(mark);
    if (at == std::string::npos || at > end) return;
    const std::string key = in.substr(at + mark.size(), in.find("\r\n", at) - at - mark.size());
    in.erase(0, end + 4);
    if (!put(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mcp\r\nSec-WebSocket-Accept: " +
                    base64(sha1(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) + "\r\n\r\n"))
        return;
    const auto need = [&](std::size_t n) {
        while (in.size() < n)
            if (!more(c, in)) return false;
        return true;
    };
    for (;;) {
        if (!need(2)) return;
        const auto byte = [&in](std::size_t i) { return static_cast<unsigned char>(in[i]); };
        const unsigned op = byte(0) & 15;
        std::uint64_t length = byte(1) & 127;
        const std::size_t wide = length == 126 ? 2 : length == 127 ? 8 : 0;
        if (!need(2 + wide + 4)) return;
        if (wide) length = 0;
        for (std::size_t i = 0; i < wide; ++i) length = length << 8 | byte(2 + i);
        if (length > (64u << 20) || !need(2 + wide + 4 + length)) return;
        std::string payload = in.substr(2 + wide + 4, length);
        for (std::size_t i = 0; i < length; ++i) payload[i] = static_cast<char>(payload[i] ^ in[2 + wide + (i & 3)]);
        in.erase(0, 2 + wide + 4 + length);
        std::string out{static_cast<char>(0x80 | (op == 9 ? 10 : op))};
        const int size = length < 126 ? 0 : length < 65536 ? 2 : 8;
        out += static_cast<char>(size == 0 ? length : size == 2 ? 126 : 127);
        for (int i = size - 1; i >= 0; --i) out += static_cast<char>(length >> (8 * i) & 0xFF);
        if (op != 10 && !put(c, out + payload)) return;
        if (op == 8) return;
    }
}

void serve_http(int c) {
    std::string in;
    while (one_request(c, in)) {
    }
}

}  // namespace

std::string peer_url() {
    static tcp_peer peer(&serve_http);
    return "http://" + peer.authority();
}
std::string line_peer_url() {
    static tcp_peer peer(&serve_lines);
    return "tcp://" + peer.authority();
}
std::string websocket_peer_url() {
    static tcp_peer peer(&serve_websocket);
    return "ws://" + peer.authority() + "/";
}

}  // namespace holdfast::testing::contract
