// A small MCP server of the handshake era with one tool, `echo`, that misbehaves in one chosen way. For tests of what
// a host does with such servers. Everything it does is bounded in time, so a failing test leaves nothing behind.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "kernel/core/json.hpp"

namespace {

using holdfast::dump;
using holdfast::json;
using holdfast::member;
using holdfast::string_or;

constexpr unsigned longest_life_s = 300;
constexpr std::size_t huge = 10 * 1024 * 1024;   // bytes of one line
constexpr std::size_t stderr_flood = 1024 * 1024;  // bytes per message; a pipe holds 64 KiB
constexpr int deep = 100'000;                    // levels of nesting

const char* const usage = R"(Usage: bad_mcp_server --mode MODE [VALUE] [--on METHOD] [--state FILE]
A small MCP server (2025-11-25, one tool: echo) that misbehaves:
  none                      behaves
  exit_at_once              exits with status 3 before reading anything
  garbage                   answers with a line that is not JSON                         [every request]
  huge_line                 answers with a valid line of 10 MB                           [tools/call]
  never_answer              reads, and stays silent                                      [every request]
  answer_twice              sends every answer twice                                     [every request]
  foreign_id                answers with an id nobody asked with                         [every request]
  fill_stderr               writes 1 MiB to stderr before each answer                    [every request]
  grandchild                forks a child that keeps all pipes open, then dies; the child's pid goes to --state
                                                                                         [tools/call]
  die_on_call               kills itself instead of answering                            [tools/call]
  zero_tools_after_restart  offers no tools if --state exists; creates it
  slow_start MS             waits before it reads anything
  deep_json                 answers with JSON nested 100,000 deep                        [tools/call]
  crash_after N             serves N requests, then crashes on the next
  flaky                     every second matching request, from the first on, is answered with an error
                                                                                         [tools/call]
  stubborn                  ignores end of input and SIGTERM
--on METHOD replaces the [default]: the fault then happens for that method only.
The server ends by itself after 300 seconds.
)";

struct options {
    std::string mode = "none", value, on, state;
};

struct fault {
    options with;
    long requests = 0, matching = 0;

    bool is(const char* mode) const { return with.mode == mode; }
    /// Whether the fault applies to this request; `by_default` names the only method, null = all.
    bool hits(const char* mode, const std::string& method, const char* by_default) const {
        if (!is(mode)) return false;
        if (!with.on.empty()) return method == with.on;
        return by_default == nullptr || method == by_default;
    }
};

void write_all(int fd, const std::string& text) {
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return;
        done += static_cast<std::size_t>(n);
    }
}

void send(const json& message) { write_all(STDOUT_FILENO, dump(message) + "\n"); }

[[noreturn]] void leave_a_grandchild(const std::string& state) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(longest_life_s);
        for (;;) ::pause();
    }
    if (!state.empty()) {
        const int fd = ::open(state.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        write_all(fd, std::to_string(child) + "\n");
        ::close(fd);
    }
    ::_exit(4);
}

json answer(const std::string& method, const json& params, bool no_tools) {
    if (method == "initialize") {
        const auto version = string_or(params, "protocolVersion", "2025-11-25");
        return {{"protocolVersion", version == "2026-07-28" ? "2025-11-25" : version},
                {"capabilities", {{"tools", json::object()}}},
                {"serverInfo", {{"name", "bad-mcp-server"}, {"version", "1"}}}};
    }
    if (method == "ping") return json::object();
    if (method == "tools/list") {
        json tools = json::array();
        if (!no_tools)
            tools.push_back({{"name", "echo"},
                             {"description", "Returns the text it is given."},
                             {"inputSchema",
                              {{"type", "object"}, {"properties", {{"text", {{"type", "string"}}}}}, {"required", {"text"}}}}});
        return {{"tools", tools}};
    }
    if (method == "tools/call" && string_or(params, "name") == "echo" && !no_tools)
        return {{"content", {{{"type", "text"}, {"text", string_or(member(params, "arguments"), "text")}}}}};
    return nullptr;
}

/// Serves one request, with the fault if it applies.
void serve(fault& f, const json& id, const std::string& method, const json& params, bool no_tools) {
    ++f.requests;
    if (f.hits("never_answer", method, nullptr)) return;
    if (f.hits("garbage", method, nullptr)) return write_all(STDOUT_FILENO, "Listening on port 8080 {\"jsonrpc\": oops\n");
    if (f.hits("die_on_call", method, "tools/call")) ::raise(SIGKILL);
    if (f.hits("grandchild", method, "tools/call")) leave_a_grandchild(f.with.state);
    if (f.is("crash_after") && f.requests > std::atol(f.with.value.c_str())) {
        std::signal(SIGSEGV, SIG_DFL);  // sanitizers would turn the signal into an exit status
        ::raise(SIGSEGV);
    }
    if (f.hits("fill_stderr", method, nullptr)) write_all(STDERR_FILENO, std::string(stderr_flood - 1, 'x') + "\n");
    if (f.hits("deep_json", method, "tools/call")) {
        const std::string text = R"({"jsonrpc":"2.0","id":)" + dump(id) + R"(,"result":{"content":)" +
                                 std::string(deep, '[') + std::string(deep, ']') + "}}\n";
        return write_all(STDOUT_FILENO, text);
    }
    if (f.hits("flaky", method, "tools/call") && f.matching++ % 2 == 0)
        return send({{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", -32603}, {"message", "flaky today"}}}});

    json result = answer(method, params, no_tools);
    json message = {{"jsonrpc", "2.0"}, {"id", id}};
    if (result.is_null())
        message["error"] = {{"code", method == "tools/call" ? -32602 : -32601}, {"message", "unknown: " + method}};
    else
        message["result"] = std::move(result);
    if (f.hits("huge_line", method, "tools/call")) message["padding"] = std::string(huge, 'x');
    if (f.hits("foreign_id", method, nullptr)) message["id"] = "nobody-asked-this";
    send(message);
    if (f.hits("answer_twice", method, nullptr)) send(message);
}

bool read_options(int argc, char** argv, options& with) {
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        std::string* value = name == "--mode" ? &with.mode : name == "--on" ? &with.on : name == "--state" ? &with.state : nullptr;
        if (!value || i + 1 == argc) return false;
        *value = argv[++i];
        if (name == "--mode" && i + 1 < argc && argv[i + 1][0] != '-') with.value = argv[++i];
    }
    const bool needs_value = with.mode == "slow_start" || with.mode == "crash_after";
    const bool needs_state = with.mode == "zero_tools_after_restart";
    static const char* const modes[] = {"none", "exit_at_once", "garbage", "huge_line", "never_answer", "answer_twice",
                                        "foreign_id", "fill_stderr", "grandchild", "die_on_call",
                                        "zero_tools_after_restart", "slow_start", "deep_json", "crash_after", "flaky", "stubborn"};
    const bool known = std::find(std::begin(modes), std::end(modes), with.mode) != std::end(modes);
    return known && (!needs_value || !with.value.empty()) && (!needs_state || !with.state.empty());
}

}  // namespace

int main(int argc, char** argv) {
    options with;
    if (!read_options(argc, argv, with)) {
        std::fputs(usage, stderr);
        return 2;
    }
    ::alarm(longest_life_s);
    std::signal(SIGPIPE, SIG_IGN);
    if (with.mode == "exit_at_once") {
        std::fputs("bad_mcp_server: I do not feel like it\n", stderr);
        return 3;
    }
    if (with.mode == "stubborn") std::signal(SIGTERM, SIG_IGN);
    if (with.mode == "slow_start") ::poll(nullptr, 0, std::atoi(with.value.c_str()));
    bool no_tools = false;
    if (with.mode == "zero_tools_after_restart") {
        const int fd = ::open(with.state.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        no_tools = fd < 0 && errno == EEXIST;
        if (fd >= 0) ::close(fd);
    }
    fault f{with};
    std::string line;
    while (std::getline(std::cin, line)) {
        auto message = holdfast::parse_json(line);
        if (!message || !message->is_object() || !message->contains("method") || !message->contains("id")) continue;
        serve(f, (*message)["id"], string_or(*message, "method"), member(*message, "params"), no_tools);
    }
    while (with.mode == "stubborn") ::pause();
    return 0;
}
