#include "kernel/plugins/detail/listeners.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace holdfast::plugins::detail {
namespace {

using isolation::unique_fd;

std::string with_port(const std::string& address, std::uint16_t port) {
    return (address.find(':') != std::string::npos ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

error refused(const std::string& address, std::uint16_t port, int number, const char* words) {
    const std::string begin = "cannot listen on " + with_port(address, port) + ": ";
    if (number == EADDRINUSE)
        return {errc::unavailable, begin + "port " + std::to_string(port) +
                                       " is in use by another program (perhaps another Holdfast); stop it, or set \"listen\" to another port, or to port 0 for any free one"};
    if (number == EACCES) return {errc::invalid_argument, begin + "permission denied; set \"listen\" to a port above 1023"};
    return {errc::invalid_argument, begin + words + "; set \"listen\" to an address of this machine, e.g. 127.0.0.1:7777"};
}

std::uint16_t port_of(const sockaddr_storage& at) {
    return ntohs(at.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(at).sin6_port : reinterpret_cast<const sockaddr_in&>(at).sin_port);
}

}  // namespace

bool listeners::same(const endpoint& a, const endpoint& b) {
    if (a.at.ss_family != b.at.ss_family || port_of(a.at) != port_of(b.at)) return false;
    if (a.at.ss_family == AF_INET) return reinterpret_cast<const sockaddr_in&>(a.at).sin_addr.s_addr == reinterpret_cast<const sockaddr_in&>(b.at).sin_addr.s_addr;
    const auto &x = reinterpret_cast<const sockaddr_in6&>(a.at), &y = reinterpret_cast<const sockaddr_in6&>(b.at);
    return x.sin6_scope_id == y.sin6_scope_id && std::memcmp(&x.sin6_addr, &y.sin6_addr, sizeof x.sin6_addr) == 0;
}

result<listeners::endpoint> listeners::look_up(const std::string& address, std::uint16_t port) {
    addrinfo wish{}, *found = nullptr;
    wish.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    wish.ai_socktype = SOCK_STREAM;
    const int rc = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wish, &found);
    if (rc != 0) return tl::unexpected<error>(refused(address, port, 0, gai_strerror(rc)));
    endpoint e;
    e.size = found->ai_addrlen;
    std::memcpy(&e.at, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return e;
}

/// Opens l.socket at l.wanted. 0 or errno.
int listeners::listen_at(listener& l) {
    l.socket = unique_fd(socket(l.wanted.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int one = 1;
    const auto* at = reinterpret_cast<const sockaddr*>(&l.wanted.at);
    if (!l.socket || setsockopt(l.socket.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 || bind(l.socket.get(), at, l.wanted.size) != 0 ||
        listen(l.socket.get(), SOMAXCONN) != 0)
        return errno;
    l.bound.size = sizeof l.bound.at;
    return getsockname(l.socket.get(), reinterpret_cast<sockaddr*>(&l.bound.at), &l.bound.size) == 0 ? 0 : errno;
}

/// Closing alone would leave the port to whoever has a duplicate.
void listeners::end(listener& l) {
    shutdown(l.socket.get(), SHUT_RDWR);
    l.socket.reset();
}

result<unique_fd> listeners::lend(std::uint64_t serial, const std::string& address, std::uint16_t port) {
    auto wanted = look_up(address, port);
    if (!wanted) return tl::unexpected<error>(wanted.error());
    std::lock_guard lock(mutex_);
    auto at = std::find_if(all_.begin(), all_.end(), [&](const listener& l) { return same(l.wanted, *wanted) || same(l.bound, *wanted); });
    if (at == all_.end()) {
        if (all_.size() >= max_listeners) return fail(errc::overloaded, "more than " + std::to_string(max_listeners) + " listening sockets");
        listener made;
        made.wanted = *wanted;
        int number = listen_at(made);
        // In use by ourselves: 127.0.0.1 has become 0.0.0.0, say. The port cannot be had twice, and the new address is what is wanted.
        if (number == EADDRINUSE) {
            for (auto& l : all_)
                if (port_of(l.bound.at) == port) end(l);
            if (std::erase_if(all_, [](const listener& l) { return !l.socket; }) > 0) number = listen_at(made);
        }
        if (number != 0) return tl::unexpected<error>(refused(address, port, number, std::strerror(number)));
        at = all_.insert(all_.end(), std::move(made));
    }
    unique_fd lent(fcntl(at->socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!lent) return fail(errc::io_error, std::string("no descriptor left: ") + std::strerror(errno));
    at->asked_by = std::max(at->asked_by, serial);
    return lent;
}

void listeners::settle(std::uint64_t serial) {
    std::lock_guard lock(mutex_);
    std::erase_if(all_, [&](const listener& l) { return l.asked_by < serial; });
}

void listeners::close() {
    std::lock_guard lock(mutex_);
    for (auto& l : all_) end(l);
    all_.clear();
}

}  // namespace holdfast::plugins::detail
