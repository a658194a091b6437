// The HTTP peer of the contract tests: blocking sockets, one thread per connection, nothing but what the tests need.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "contract_suite.hpp"

namespace holdfast::testing::contract {
namespace {

class http_peer {
  public:
    http_peer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t n = sizeof a;
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&a), n) || ::listen(listener_, 64) ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &n))
            throw std::runtime_error("cannot listen on 127.0.0.1");
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(a.sin_port));
        thread_ = std::thread([this] { accept_all(); });
    }
    ~http_peer() {
        ::shutdown(listener_, SHUT_RDWR);
        thread_.join();
        {
            std::lock_guard lock(mutex_);
            for (const int c : open_) ::shutdown(c, SHUT_RDWR);
        }
        for (auto& t : connections_) t.join();
        ::close(listener_);
    }
    const std::string& url() const { return url_; }

  private:
    void accept_all() {
        for (;;) {
            const int c = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (c < 0) return;
            std::lock_guard lock(mutex_);
            open_.insert(c);
            connections_.emplace_back([this, c] { serve(c); });
        }
    }
    void serve(int c) {
        std::string in;
        while (one(c, in)) {
        }
        std::lock_guard lock(mutex_);
        open_.erase(c);
        ::close(c);
    }
    static bool more(int c, std::string& in) {
        char data[65536];
        const auto n = ::recv(c, data, sizeof data, 0);
        if (n > 0) in.append(data, static_cast<std::size_t>(n));
        return n > 0;
    }
    static bool put(int c, std::string_view text) {
        while (!text.empty()) {
            const auto n = ::send(c, text.data(), text.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            text.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    static bool one(int c, std::string& in) {
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
    static bool answer(int c, const std::string& line, const std::string& body) {
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
    const int listener_;
    std::string url_;
    std::thread thread_;
    std::mutex mutex_;
    std::set<int> open_;
    std::vector<std::thread> connections_;
};

}  // namespace

std::string peer_url() {
    static http_peer peer;
    return peer.url();
}

}  // namespace holdfast::testing::contract
