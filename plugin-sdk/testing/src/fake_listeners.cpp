// Real sockets that this host keeps, as the real one does: they end with the host, not with the plugin.
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parts.hpp"

namespace holdfast::testing {

namespace {
int listening(const std::string& address, std::uint16_t port) {
    addrinfo wish{}, *found = nullptr;
    wish.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    wish.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wish, &found) != 0) return errno = EINVAL, -1;
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;
    const bool ok = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 && ::bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                    ::listen(fd, SOMAXCONN) == 0;
    const int why = errno;
    ::freeaddrinfo(found);
    if (ok) return fd;
    if (fd >= 0) ::close(fd);
    return errno = why, -1;
}
}  // namespace

fake_listeners::~fake_listeners() {
    for (const auto& [asked, fd] : all_) ::close(fd);
}

std::int32_t fake_listeners::open(std::string_view address, std::uint16_t port, std::int32_t* fd, hf_error* err) {
    if (!fd) return sdk::fill(err, HF_E_INVALID, "open needs a place for the descriptor");
    std::lock_guard lock(mutex_);
    const std::pair asked{std::string(address), port};
    if (!all_.count(asked)) {
        const int made = listening(asked.first, port);
        if (made < 0)
            return sdk::fill(err, errno == EADDRINUSE ? HF_E_UNAVAILABLE : HF_E_INVALID, "cannot listen on " + asked.first + ":" + std::to_string(port) + ": " + std::strerror(errno));
        all_[asked] = made;
    }
    *fd = ::fcntl(all_[asked], F_DUPFD_CLOEXEC, 0);
    return *fd < 0 ? sdk::fill(err, HF_E_UNAVAILABLE, "no descriptor left") : HF_OK;
}

const hf_listen* fake_listeners::table() {
    static constexpr hf_listen t{sizeof(hf_listen), 0, [](void* c, hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* e) -> std::int32_t {
                                     return sdk::guard(e, [&] {
                                         hf_error inner = sdk::empty_error();
                                         sdk::check(fake_host::impl::of(c).listeners.open(sdk::view(address), port, fd, &inner), inner);
                                     });
                                 }};
    return &t;
}

}  // namespace holdfast::testing
