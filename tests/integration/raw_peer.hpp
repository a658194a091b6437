#pragma once
// A server on 127.0.0.1, or at a Unix socket, that does to its connections whatever the test says, with blocking sockets.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <list>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace holdfast::testing {

class raw_peer {
  public:
    class socket {
      public:
        explicit socket(int fd) : fd(fd) {}
        bool put(std::string_view text) const {
            while (!text.empty()) {
                const auto n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
                if (n <= 0) return false;
                text.remove_prefix(static_cast<std::size_t>(n));
            }
            return true;
        }
        /// Up to and with `mark`; what has come when the client ends before it.
        std::string get(std::string_view mark) {
            for (;;) {
                if (const auto at = in.find(mark); at != std::string::npos) {
                    std::string out = in.substr(0, at + mark.size());
                    in.erase(0, out.size());
                    return out;
                }
                if (!more()) return std::exchange(in, {});
            }
        }
        bool more() {
            char data[65536];
            const auto n = ::recv(fd, data, sizeof data, 0);
            if (n > 0) in.append(data, static_cast<std::size_t>(n));
            return n > 0;
        }
        /// Blocks until the client ends the stream or the peer is destroyed.
        void wait_gone() {
            while (more()) in.clear();
        }
        /// Blocks without reading a byte until the connection is gone; `half`: or the client has said that it sends no more.
        void wait_hangup(bool half = true) const {
            pollfd p{fd, static_cast<short>(half ? POLLRDHUP : 0), 0};
            ::poll(&p, 1, -1);
        }
        void reset() const {
            const linger now{1, 0};
            ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        }
        /// As if the machine had lost its power: nothing is sent when the socket is closed. False: not allowed to (CAP_NET_ADMIN).
        bool vanish() const {
            const int on = 1;
            return ::setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof on) == 0;
        }
        const int fd;
        std::string in;
    };
    using script = std::function<void(socket&)>;

    explicit raw_peer(script s, const std::string& unix_path = {}) : script_(std::move(s)), listener_(::socket(unix_path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_storage a{};
        socklen_t n = sizeof(sockaddr_in);
        if (unix_path.empty()) {
            reinterpret_cast<sockaddr_in&>(a).sin_family = AF_INET;
            reinterpret_cast<sockaddr_in&>(a).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        } else {
            auto& un = reinterpret_cast<sockaddr_un&>(a);
            un.sun_family = AF_UNIX;
            unix_path.copy(un.sun_path, sizeof un.sun_path - 1);
            n = sizeof un;
        }
        if (::bind(listener_, reinterpret_cast<sockaddr*>(&a), n) || ::listen(listener_, 64)) throw std::runtime_error("cannot listen");
        n = sizeof a;
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &n);
        if (unix_path.empty()) port_ = ntohs(reinterpret_cast<sockaddr_in&>(a).sin_port);
        acceptor_ = std::thread([this] { accept_all(); });
    }
    ~raw_peer() {
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        {
            std::lock_guard lock(mutex_);
            for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        for (auto& t : threads_) t.join();
        ::close(listener_);
    }
    raw_peer(const raw_peer&) = delete;
    std::string url(const std::string& scheme) const { return scheme + "://127.0.0.1:" + std::to_string(port_); }
    int port() const { return port_; }

  private:
    void accept_all() {
        for (;;) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            std::lock_guard lock(mutex_);
            open_.insert(fd);
            threads_.emplace_back([this, fd] {
                socket s(fd);
                script_(s);
                std::lock_guard inner(mutex_);
                open_.erase(fd);
                ::close(fd);
            });
        }
    }
    const script script_;
    const int listener_;
    int port_ = 0;
    std::thread acceptor_;
    std::mutex mutex_;
    std::set<int> open_;
    std::list<std::thread> threads_;
};

}  // namespace holdfast::testing
