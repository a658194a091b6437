#include "peers/peer_process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

extern char** environ;

namespace holdfast::testing {

std::string peers_dir() {
    if (const char* dir = std::getenv("HOLDFAST_PEERS"); dir && *dir) return dir;
    const char* home = std::getenv("HOME");
    return std::string(home ? home : "/root") + "/.cache/holdfast-peers";
}

bool has_peer(std::string_view package) {
    return std::filesystem::exists(peers_dir() + "/node_modules/" + std::string(package) + "/package.json") && std::system("node --version >/dev/null 2>&1") == 0;
}

int free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    socklen_t n = sizeof a;
    ::bind(fd, reinterpret_cast<sockaddr*>(&a), n);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &n);
    ::close(fd);
    return ntohs(a.sin_port);
}

peer_process::peer_process(std::vector<std::string> argv, std::vector<std::string> env) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC)) throw std::runtime_error("pipe");
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, ends[1], 1);
    posix_spawn_file_actions_adddup2(&files, ends[1], 2);
    std::vector<char*> args, vars;
    for (auto& a : argv) args.push_back(a.data());
    for (auto& e : env) vars.push_back(e.data());
    for (char** e = environ; *e; ++e) vars.push_back(*e);
    args.push_back(nullptr);
    vars.push_back(nullptr);
    pid_t pid = -1;
    const int failed = ::posix_spawnp(&pid, args[0], &files, nullptr, args.data(), vars.data());
    posix_spawn_file_actions_destroy(&files);
    ::close(ends[1]);
    out_ = ends[0];
    if (failed) throw std::runtime_error("cannot start " + argv[0]);
    pid_ = pid;
}

peer_process::~peer_process() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
}

std::optional<std::string> peer_process::wait_line(std::string_view part) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
        if (const auto at = output_.find(part); at != std::string::npos)
            if (const auto end = output_.find('\n', at); end != std::string::npos) {
                const auto begin = output_.rfind('\n', at);
                return output_.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin + 1));
            }
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd p{out_, POLLIN, 0};
        if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) <= 0) return std::nullopt;
        char data[4096];
        const auto n = ::read(out_, data, sizeof data);
        if (n <= 0) return std::nullopt;
        output_.append(data, static_cast<std::size_t>(n));
    }
}

}  // namespace holdfast::testing
