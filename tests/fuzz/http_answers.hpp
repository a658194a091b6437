#pragma once
// What every answer of the web server is, whatever it was asked.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::fuzz {

inline void must(bool holds, const char* what, std::string_view seen = "") {
    if (holds) return;
    std::fprintf(stderr, "broken: %s %.*s\n", what, static_cast<int>(seen.size()), seen.data());
    std::abort();
}

inline std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    return out;
}

struct circumstances {
    bool let_in;         ///< the client has shown the token
    bool cut;            ///< the last answer may be incomplete
    bool head_requests;  ///< an answer may have no body
};

class answer_reader {
  public:
    answer_reader(std::string_view heard, const circumstances& c) : rest_(heard), c_(c) {}
    void run() {
        while (!rest_.empty())
            if (!one()) return;
    }

  private:
    bool one() {
        const auto end = rest_.find("\r\n\r\n");
        if (end == rest_.npos) return must(c_.cut, "half an answer", rest_), false;
        std::string_view head = rest_.substr(0, end + 2);
        rest_.remove_prefix(end + 4);
        must(head.starts_with("HTTP/1.1 "), "not an answer", head);
        const int status = std::atoi(std::string(head.substr(9, 3)).c_str());
        static const std::set<int> usual{100, 101, 200, 202, 204, 304, 400, 401, 403, 404, 405, 406, 413, 415, 422, 426, 429, 431, 503};
        must(usual.contains(status), "an unusual status", head);
        must(c_.let_in || (status != 101 && status != 202), "let in without the token", head);
        head.remove_prefix(head.find("\r\n") + 2);
        std::string_view type;
        long length = -1;
        bool chunked = false, closes = false;
        while (!head.empty()) {
            const auto line = head.substr(0, head.find("\r\n"));
            head.remove_prefix(line.size() + 2);
            const auto colon = line.find(": ");
            must(colon != line.npos, "a header without a name", line);
            const auto name = line.substr(0, colon), value = line.substr(colon + 2);
            static const std::set<std::string_view> known{
                "Content-Type", "Content-Length", "Cache-Control", "Connection", "Transfer-Encoding", "Mcp-Session-Id", "Vary", "WWW-Authenticate", "Allow", "Retry-After", "ETag",
                "X-Accel-Buffering", "X-Content-Type-Options", "Content-Security-Policy", "Referrer-Policy", "X-Frame-Options", "Cross-Origin-Opener-Policy",
                "Cross-Origin-Resource-Policy", "Set-Cookie", "Upgrade", "Server", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Access-Control-Allow-Origin",
                "Access-Control-Expose-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age"};
            must(known.contains(name), "a header that the server does not send", line);
            if (name == "Access-Control-Allow-Origin") must(lower(value) == "https://trusted.example", "a stranger's page may read", line);
            if (name == "Set-Cookie") must(c_.let_in, "a login without the token", line);
            if (name == "Content-Type") type = value;
            if (name == "Transfer-Encoding") chunked = true;
            if (name == "Connection") closes = lower(value) == "close";
            if (name == "Content-Length") {
                must(length < 0, "two lengths", line);
                must(std::from_chars(value.data(), value.data() + value.size(), length).ptr == value.data() + value.size(), "a length that is none", line);
            }
        }
        if (status == 101) return false;  // what follows is no HTTP
        must(!chunked || length < 0, "two ways to tell the length");
        std::string_view body;
        if (chunked) {
            while (chunk()) {
            }
        } else if (length > 0 && !(c_.head_requests && (rest_.empty() || rest_.starts_with("HTTP/1.1 ")))) {
            must(c_.cut || rest_.size() >= static_cast<std::size_t>(length), "half a body");
            body = rest_.substr(0, static_cast<std::size_t>(length));
            rest_.remove_prefix(body.size());
        } else if (length < 0 && type == "text/event-stream") {  // to a client of HTTP/1.0, which knows no chunks
            must(closes, "a body without an end");
            body = std::exchange(rest_, {});
        }
        if (status == 200 && !c_.let_in) must(type != "text/event-stream" && (!type.starts_with("application/json") || body.empty() || body == R"({"status":"ok"})"), "an answer without the token", body);
        return true;
    }
    /// A stream whose client has gone ends anywhere.
    bool chunk() {
        std::size_t size = 0;
        const auto end = rest_.find("\r\n");
        const bool whole = end != rest_.npos && std::from_chars(rest_.data(), rest_.data() + end, size, 16).ptr == rest_.data() + end && size + end + 4 <= rest_.size();
        if (!whole) {
            must(end == rest_.npos || size + end + 4 > rest_.size(), "not a chunk", rest_);
            return rest_ = {}, false;
        }
        must(rest_.substr(end + 2 + size, 2) == "\r\n", "a chunk of another length", rest_);
        rest_.remove_prefix(end + 4 + size);
        return size > 0;
    }

    std::string_view rest_;
    const circumstances c_;
};

inline void look_at_answers(std::string_view heard, const circumstances& c) { answer_reader(heard, c).run(); }

}  // namespace holdfast::fuzz
