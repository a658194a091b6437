#include "kernel/supervise/guardian_link.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string>

namespace holdfast::supervise {
namespace {
std::atomic<int> link_fd{-1};
std::string how_the_last_one_ended;
}  // namespace

namespace detail {

void adopt_guardian_link() noexcept {
    const char* text = std::getenv(guardian_link_variable);
    const int fd = text ? std::atoi(text) : -1;
    ::unsetenv(guardian_link_variable);
    if (const char* how = std::getenv(ended_before_variable)) how_the_last_one_ended = how;
    ::unsetenv(ended_before_variable);
    int type = 0;
    socklen_t size = sizeof type;
    if (fd < 3 || ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) return;
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    link_fd = fd;
}

bool send_line(int fd, std::string_view line) noexcept {
    line = line.substr(0, max_link_message);
    ssize_t n = 0;
    do {
        n = ::send(fd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

}  // namespace detail

const std::string& guardian_link::ended_before() { return how_the_last_one_ended; }

struct guardian_link::state {
    explicit state(int f) : fd(f) {}
    ~state() {
        if (fd >= 0) ::close(fd);
    }
    const int fd;
    std::mutex mutex;  // guards what follows
    fd_watch watch;
    bool closed = false;

    /// Every question there is; false: the guardian is gone, which ends this process too.
    bool answer() const noexcept {
        char line[max_link_message];
        for (;;) {
            const ssize_t n = ::recv(fd, line, sizeof line, MSG_DONTWAIT);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
            if (n == 0) return false;
            detail::send_line(fd, "here");
        }
    }
    void asked() {
        if (!answer()) return;
        std::lock_guard lock(mutex);
        if (!closed) watch.rearm(fd_readable);
    }
};

result<std::unique_ptr<guardian_link>> guardian_link::open(runtime& rt) {
    std::unique_ptr<guardian_link> out(new guardian_link(std::make_shared<state>(link_fd.exchange(-1))));
    auto& s = *out->state_;
    if (s.fd < 0) return out;
    std::lock_guard lock(s.mutex);
    auto watch = rt.watch_fd(s.fd, fd_readable, [weak = std::weak_ptr(out->state_)](std::uint32_t) {
        if (auto self = weak.lock()) self->asked();
    }, dispatch::prompt);
    if (!watch) return tl::unexpected<error>(watch.error());
    s.watch = std::move(*watch);
    return out;
}

guardian_link::guardian_link(std::shared_ptr<state> s) : state_(std::move(s)) {}

guardian_link::~guardian_link() {
    std::lock_guard lock(state_->mutex);
    state_->closed = true;
    state_->watch.cancel();
}

void guardian_link::ready(std::string_view status) { say("ready " + std::string(status)); }
void guardian_link::reloading() noexcept { say("reloading"); }
void guardian_link::stopping() noexcept { say("stopping"); }
void guardian_link::patience(milliseconds d) { say("patience " + std::to_string(d.count())); }
void guardian_link::say(std::string_view line) noexcept {
    if (state_->fd >= 0) detail::send_line(state_->fd, line);
}

}  // namespace holdfast::supervise
