#include "kernel/supervise/service_manager.hpp"

#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace holdfast::supervise {
namespace {

constexpr timeval send_patience{0, 200'000};  // a manager that does not read must not hold us up

/// The value of a variable, which is gone from the environment then.
std::string take(const char* name) {
    const char* v = std::getenv(name);
    std::string out = v ? v : "";
    ::unsetenv(name);
    return out;
}

std::optional<std::uint64_t> number(const std::string& s) {
    std::uint64_t v = 0;
    const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), v);
    if (ec != std::errc{} || end != s.data() + s.size()) return std::nullopt;
    return v;
}

constexpr std::uint64_t longest_watchdog_us = 365ull * 24 * 3600 * 1'000'000;

}  // namespace

service_manager::~service_manager() {
    if (socket_ >= 0) ::close(socket_);
}
service_manager::service_manager(service_manager&& o) noexcept
    : socket_(std::exchange(o.socket_, -1)), address_(o.address_), length_(o.length_), watchdog_(o.watchdog_) {}

result<service_manager> service_manager::from_environment() {
    const std::string address = take("NOTIFY_SOCKET"), watchdog = take("WATCHDOG_USEC"), pid = take("WATCHDOG_PID");
    service_manager out;
    if (address.empty()) return out;
    if ((address[0] != '/' && address[0] != '@') || address.size() < 2 || address.size() >= sizeof out.address_.sun_path)
        return fail(errc::config_invalid, "NOTIFY_SOCKET: expected a path or @name of at most 107 bytes, not \"" + address + "\"; the service manager is told nothing");
    out.address_.sun_family = AF_UNIX;
    std::memcpy(out.address_.sun_path, address.data(), address.size());
    out.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() + 1);
    if (address[0] == '@') {  // abstract: a name of exactly this length, without a terminator
        out.address_.sun_path[0] = '\0';
        --out.length_;
    }
    out.socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (out.socket_ < 0) return fail(errc::io_error, std::string("no socket for the service manager: ") + std::strerror(errno));
    ::setsockopt(out.socket_, SOL_SOCKET, SO_SNDTIMEO, &send_patience, sizeof send_patience);
    const auto us = number(watchdog);
    const bool ours = pid.empty() || number(pid) == static_cast<std::uint64_t>(::getpid());
    if (us && *us > 0 && *us <= longest_watchdog_us && ours) out.watchdog_ = std::chrono::microseconds(*us);
    return out;
}

bool service_manager::tell(std::string_view lines) const noexcept {
    if (socket_ < 0) return false;
    ssize_t n = 0;
    do {
        n = ::sendto(socket_, lines.data(), lines.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address_), length_);
    } while (n < 0 && errno == EINTR);
    return n == static_cast<ssize_t>(lines.size());
}

}  // namespace holdfast::supervise
