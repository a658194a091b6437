// A small MCP server for the chaos test: it does what each call tells it to, so the test knows what should have become of the call.
//
//   chaos_server --stdio [--legacy] [--grandchild]      one connection, on stdin and stdout
//   chaos_server --http PORT [--legacy]                 Streamable HTTP with plain JSON answers, on 127.0.0.1
//   chaos_server --tcp PORT [--legacy]                  one JSON-RPC message to a line, as with stdio, on 127.0.0.1
//
// Tools: echo, do, spare. do {"what": "slow", "ms": n} answers late; "garbage" writes no JSON; "silent" answers never;
// "die" kills the process; "cut" closes the connection in the middle of an answer (http); "half_open" stops reading the
// connection without closing it (http). The process ends by itself after some minutes: a failed test leaves nothing behind.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "kernel/core/json.hpp"

namespace {

using holdfast::dump;
using holdfast::int_or;
using holdfast::json;
using holdfast::member;
using holdfast::string_or;

constexpr unsigned longest_life_s = 1'200;
constexpr int longest_wait_ms = 60'000;
constexpr std::size_t max_body = 1u << 20;

bool legacy = false;

json tools() {
    json list = json::array();
    for (const char* name : {"echo", "do", "spare"}) list.push_back({{"name", name}, {"inputSchema", {{"type", "object"}}}});
    return list;
}

/// null: an unknown method.
json result_of(const std::string& method, const json& params) {
    const json capabilities{{"tools", json::object()}};
    const json info{{"name", "chaos-server"}, {"version", "1"}};
    if (method == "server/discover" && !legacy) return {{"resultType", "complete"}, {"supportedVersions", {"2026-07-28"}}, {"capabilities", capabilities}, {"serverInfo", info}};
    if (method == "initialize" && legacy) return {{"protocolVersion", "2025-11-25"}, {"capabilities", capabilities}, {"serverInfo", info}};
    if (method == "ping") return json::object();
    json out;
    if (method == "tools/list") out = {{"tools", tools()}};
    if (method == "tools/call") out = {{"content", {{{"type", "text"}, {"text", string_or(member(params, "arguments"), "text", "done")}}}}};
    if (!out.is_null() && !legacy) out["resultType"] = "complete";
    return out;
}

json answer_to(const json& request) {
    json out{{"jsonrpc", "2.0"}, {"id", request["id"]}};
    json result = result_of(string_or(request, "method"), member(request, "params"));
    if (result.is_null()) out["error"] = {{"code", -32601}, {"message", "unknown method"}};
    else out["result"] = std::move(result);
    return out;
}

/// What a call of the tool "do" asks for; empty for everything else.
std::string order_in(const json& request, int& ms) {
    const json& params = member(request, "params");
    if (string_or(request, "method") != "tools/call" || string_or(params, "name") != "do") return "";
    ms = static_cast<int>(std::min<std::int64_t>(int_or(member(params, "arguments"), "ms", 0), longest_wait_ms));
    return string_or(member(params, "arguments"), "what");
}

bool write_all(int fd, const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += static_cast<std::size_t>(n);
    }
    return true;
}

void later(int ms, std::function<void()> f) {
    std::thread([ms, f = std::move(f)] {
        ::poll(nullptr, 0, ms);
        f();
    }).detach();
}

/// Answers may come late, from threads of their own: the descriptor lives until the last of them has spoken.
struct line_writer {
    int fd;
    bool ours;
    std::mutex mutex;
    ~line_writer() {
        if (ours) ::close(fd);
    }
    void say(const std::string& line) {
        std::lock_guard lock(mutex);
        write_all(fd, line + "\n");
    }
};

/// One connection of lines; ends when the other side closes it. `out` is closed when nobody will write to it any more.
void serve_lines(int in, std::shared_ptr<line_writer> out) {
    const auto say = [out](const std::string& line) { out->say(line); };
    std::string pending;
    char buffer[16 * 1024];
    for (;;) {
        const auto end = pending.find('\n');
        if (end == std::string::npos) {
            const ssize_t n = ::read(in, buffer, sizeof buffer);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0 || pending.size() > max_body) return;
            pending.append(buffer, static_cast<std::size_t>(n));
            continue;
        }
        const std::string line = pending.substr(0, end);
        pending.erase(0, end + 1);
        const auto request = holdfast::parse_json(line);
        if (!request || !request->is_object() || !request->contains("id") || !request->contains("method")) continue;
        int ms = 0;
        const std::string order = order_in(*request, ms);
        if (order == "die") ::raise(SIGKILL);
        if (order == "half_open") ::poll(nullptr, 0, longest_wait_ms);  // open, and dead
        if (order == "silent" || order == "half_open") continue;
        if (order == "cut") return;
        if (order == "garbage") say("{\"jsonrpc\": \"2.0\", \"id\":");
        if (order == "slow") later(ms, [say, text = dump(answer_to(*request))] { say(text); });
        else say(dump(answer_to(*request)));
    }
}

void serve_connection(int fd) {
    std::string in;
    char buffer[16 * 1024];
    for (;;) {
        const auto head_end = in.find("\r\n\r\n");
        std::size_t length = 0;
        if (head_end != std::string::npos) {
            std::string head = in.substr(0, head_end);
            for (char& c : head) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
            if (const auto at = head.find("content-length:"); at != std::string::npos) length = std::strtoul(head.c_str() + at + 15, nullptr, 10);
            if (length > max_body) break;
        }
        if (head_end == std::string::npos || in.size() < head_end + 4 + length) {
            const ssize_t n = ::read(fd, buffer, sizeof buffer);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0 || in.size() > 2 * max_body) break;
            in.append(buffer, static_cast<std::size_t>(n));
            continue;
        }
        const bool post = in.rfind("POST ", 0) == 0;
        const auto request = holdfast::parse_json(std::string_view(in).substr(head_end + 4, length));
        in.erase(0, head_end + 4 + length);
        const auto reply = [fd](const char* status, const std::string& body) {
            return write_all(fd, std::string("HTTP/1.1 ") + status + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        };
        if (!post) {
            if (!reply("405 Method Not Allowed", "")) break;
            continue;
        }
        if (!request || !request->is_object() || !request->contains("id")) {
            if (!reply("202 Accepted", "")) break;
            continue;
        }
        int ms = 0;
        const std::string order = order_in(*request, ms);
        if (order == "die") ::raise(SIGKILL);
        if (order == "silent" || order == "half_open") {
            ::poll(nullptr, 0, longest_wait_ms);  // open, and dead
            break;
        }
        if (order == "slow") ::poll(nullptr, 0, ms);
        const std::string body = dump(answer_to(*request));
        if (order == "cut") {
            write_all(fd, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body.substr(0, 10));
            break;
        }
        if (!reply("200 OK", order == "garbage" ? "{\"jsonrpc\":" : body)) break;
    }
    ::close(fd);
}

int listen_on(int port, void (*serve)(int)) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(listener, 128) != 0) {
        std::cerr << "chaos_server: port " << port << ": " << std::strerror(errno) << "\n";
        return 1;
    }
    std::cout << "listening" << std::endl;
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) std::thread(serve, fd).detach();
        else if (errno != EINTR && errno != ECONNABORTED) return 1;
    }
}

void serve_tcp(int fd) {
    auto out = std::make_shared<line_writer>();
    out->fd = fd;
    out->ours = true;
    serve_lines(fd, out);
    ::shutdown(fd, SHUT_RDWR);
}

/// A child that outlives its parent unless somebody ends the whole tree. It names the folder, so that the test finds it.
void leave_a_grandchild() {
    if (::fork() != 0) return;
    ::alarm(longest_life_s);
    for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
    ::signal(SIGPIPE, SIG_IGN);
    ::alarm(longest_life_s);
    int port = 0;
    bool stdio = false, http = false;
    for (int i = 1; i < argc; ++i) {
        const std::string a = argv[i];
        if (a == "--stdio") stdio = true;
        else if (a == "--legacy") legacy = true;
        else if (a == "--grandchild") leave_a_grandchild();
        else if ((a == "--http" || a == "--tcp") && i + 1 < argc) http = a == "--http", port = std::atoi(argv[++i]);
        else if (a == "--tag" && i + 1 < argc) ++i;  // for whoever looks for its processes
        else {
            std::cerr << "usage: chaos_server --stdio|--http PORT|--tcp PORT [--legacy] [--grandchild] [--tag TEXT]\n";
            return 64;
        }
    }
    if (stdio == (port != 0)) return 64;
    if (!stdio) return listen_on(port, http ? serve_connection : serve_tcp);
    auto out = std::make_shared<line_writer>();
    out->fd = STDOUT_FILENO;
    out->ours = false;
    serve_lines(STDIN_FILENO, out);
    return 0;
}
