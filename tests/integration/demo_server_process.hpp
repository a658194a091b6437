#pragma once
// A server program on two pipes, spoken to line by line with a deadline on every wait.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::test {

inline constexpr std::chrono::seconds patience{20};  ///< generous: sanitizers on two busy cores

class server_process {
  public:
    explicit server_process(std::vector<std::string> command, std::vector<std::string> environment = {}) {
        int in[2], out[2], err[2];
        if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
        std::vector<char*> argv, envp;
        for (auto& part : command) argv.push_back(part.data());
        argv.push_back(nullptr);
        for (char** e = environ; *e; ++e) envp.push_back(*e);
        for (auto& part : environment) envp.push_back(part.data());
        envp.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(in[0], STDIN_FILENO);
            ::dup2(out[1], STDOUT_FILENO);
            ::dup2(err[1], STDERR_FILENO);
            ::execve(argv[0], argv.data(), envp.data());
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        ::close(err[1]);
        in_ = in[1];
        out_ = out[0];
        err_ = err[0];
    }
    server_process(const server_process&) = delete;
    ~server_process() {
        close_input();
        if (!reaped_) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        ::close(out_);
        ::close(err_);
    }

    void send_text(std::string_view text) {
        while (!text.empty()) {
            const ssize_t n = ::write(in_, text.data(), text.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return;
            text.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    void send(const json& message) { send_text(dump(message) + "\n"); }
    void close_input() {
        if (in_ >= 0) ::close(in_);
        in_ = -1;
    }

    /// The next line without its newline; nothing at the end of output or past the deadline.
    std::optional<std::string> line(std::chrono::milliseconds wait = patience) {
        const auto deadline = std::chrono::steady_clock::now() + wait;
        for (;;) {
            if (const auto at = buffer_.find('\n', searched_); at != std::string::npos) {
                std::string found = buffer_.substr(0, at);
                buffer_.erase(0, at + 1);
                searched_ = 0;
                return found;
            }
            searched_ = buffer_.size();
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
            pollfd p{out_, POLLIN, 0};
            if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
            char chunk[65536];
            const ssize_t n = ::read(out_, chunk, sizeof chunk);
            if (n <= 0) return std::nullopt;
            buffer_.append(chunk, static_cast<std::size_t>(n));
        }
    }
    /// The next message, or null.
    json receive() {
        auto text = line();
        if (!text) return nullptr;
        auto parsed = parse_json(*text);
        return parsed ? *parsed : json{{"not_json", *text}};
    }
    /// Reads until the answer to `id` arrives; everything before it lands in `others`.
    json answer_to(const json& id) {
        for (;;) {
            json message = receive();
            if (message.is_null()) return message;
            if (message.is_object() && !message.contains("method") && member(message, "id") == id) return message;
            others.push_back(std::move(message));
        }
    }
    json request(const json& id, const std::string& method, json params = json::object()) {
        send({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}});
        return answer_to(id);
    }
    void notify(const std::string& method, json params = json::object()) {
        send({{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}});
    }

    /// Exit status after the end of its input; -signal when killed; nothing when it does not end in time.
    std::optional<int> wait_for_exit() {
        // End of output comes with the exit, so waiting for it needs no sleep.
        while (line()) {
        }
        const auto deadline = std::chrono::steady_clock::now() + patience;
        int status = 0;
        while (::waitpid(pid_, &status, WNOHANG) == 0) {
            if (std::chrono::steady_clock::now() > deadline) return std::nullopt;
            ::sched_yield();
        }
        reaped_ = true;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

    pid_t pid() const { return pid_; }
    std::vector<json> others;  ///< what came while waiting for answers

  private:
    pid_t pid_ = -1;
    int in_ = -1, out_ = -1, err_ = -1;
    bool reaped_ = false;
    std::string buffer_;
    std::size_t searched_ = 0;
};

}  // namespace holdfast::test
