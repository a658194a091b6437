#pragma once
// A client made of a blocking socket and a deadline: it can send exactly the bytes a test wants to, well-formed or not.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::test {

struct raw_response {
    int status = 0;
    std::map<std::string, std::string> headers;  // names in lower case; the last of each
    std::string body;
};

struct raw_frame {
    int opcode = 0;  // 1 text, 8 close, 9 ping
    std::string payload;
    int close_code() const {
        return payload.size() >= 2 ? (static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1])) : 0;
    }
};

/// A socket that listens on this machine, at a free port if need be, as a host lends it. -1: the port is taken.
inline int listening_socket(std::uint16_t port = 0) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in at{};
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 && ::listen(fd, SOMAXCONN) == 0) return fd;
    ::close(fd);
    return -1;
}

class raw_client {
  public:
    static constexpr std::chrono::seconds patience{20};

    explicit raw_client(unsigned short port, int receive_buffer = 0) {
        fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (receive_buffer) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        int one = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    }
    raw_client(const raw_client&) = delete;
    ~raw_client() { ::close(fd_); }
    bool connected() const { return connected_; }

    /// False when the peer has gone.
    bool send(std::string_view data) {
        while (!data.empty()) {
            const auto n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
            if (n <= 0) return false;
            data.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    void half_close() { ::shutdown(fd_, SHUT_WR); }

    /// The next response; nullopt when the connection ends before it is whole.
    std::optional<raw_response> read_response(bool head_only = false) {
        std::size_t end;
        while ((end = in_.find("\r\n\r\n")) == std::string::npos)
            if (!fill()) return std::nullopt;
        raw_response r;
        const std::string head = in_.substr(0, end + 2);
        in_.erase(0, end + 4);
        r.status = std::atoi(head.c_str() + head.find(' ') + 1);
        for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
            const auto stop = head.find("\r\n", at);
            const auto colon = head.find(':', at);
            std::string name = head.substr(at, colon - at);
            for (char& c : name) c = static_cast<char>(::tolower(c));
            const auto value = head.find_first_not_of(' ', colon + 1);
            r.headers[name] = head.substr(value, stop - value);
            at = stop + 2;
        }
        if (r.status == 100 || r.status == 101) return r;
        const std::size_t length = head_only || !r.headers.count("content-length") ? 0 : std::stoul(r.headers["content-length"]);
        while (in_.size() < length)
            if (!fill()) return std::nullopt;
        r.body = in_.substr(0, length);
        in_.erase(0, length);
        return r;
    }
    std::optional<raw_response> ask(std::string_view request) { return send(request) ? read_response() : std::nullopt; }

    /// The next piece of a chunked body, "" at its end; nullopt when the connection ends before it is whole.
    std::optional<std::string> read_chunk() {
        std::size_t end;
        while ((end = in_.find("\r\n")) == std::string::npos)
            if (!fill()) return std::nullopt;
        const std::size_t length = std::stoul(in_.substr(0, end), nullptr, 16);
        if (!need(end + 2 + length + 2)) return std::nullopt;
        std::string piece = in_.substr(end + 2, length);
        in_.erase(0, end + 2 + length + 2);
        return piece;
    }

    /// True when the peer closes (or resets) within the patience; drops what still arrives.
    bool closed_by_peer() {
        while (fill()) in_.clear();
        return !timed_out_;
    }
    /// Reads and drops `n` bytes. False when the peer closes first.
    bool skip(std::size_t n) {
        while (in_.size() < n)
            if (!fill()) return false;
        in_.erase(0, n);
        return true;
    }

    void send_frame(int opcode, std::string_view payload, bool fin = true) {
        std::string f;
        f += static_cast<char>((fin ? 0x80 : 0) | opcode);
        if (payload.size() < 126) {
            f += static_cast<char>(0x80 | payload.size());
        } else if (payload.size() < 65536) {
            f += static_cast<char>(0x80 | 126);
            f += static_cast<char>(payload.size() >> 8);
            f += static_cast<char>(payload.size());
        } else {
            f += static_cast<char>(0x80 | 127);
            for (int shift = 56; shift >= 0; shift -= 8) f += static_cast<char>(static_cast<std::uint64_t>(payload.size()) >> shift);
        }
        f.append(4, '\0');  // a mask of zeros leaves the payload as it is
        f += payload;
        send(f);
    }
    void send_text(std::string_view payload) { send_frame(1, payload); }

    /// The next whole message or control frame, fragments joined.
    std::optional<raw_frame> read_frame() {
        raw_frame message;
        for (;;) {
            if (!need(2)) return std::nullopt;
            const bool fin = in_[0] & 0x80;
            const int opcode = in_[0] & 0x0F;
            std::size_t length = in_[1] & 0x7F, head = 2;
            if (length >= 126) {
                const std::size_t bytes = length == 126 ? 2 : 8;
                if (!need(2 + bytes)) return std::nullopt;
                length = 0;
                for (std::size_t i = 0; i < bytes; ++i) length = length << 8 | static_cast<unsigned char>(in_[2 + i]);
                head += bytes;
            }
            if (!need(head + length)) return std::nullopt;
            const std::string payload = in_.substr(head, length);
            in_.erase(0, head + length);
            if (opcode >= 8) return raw_frame{opcode, payload};
            if (opcode) message.opcode = opcode;
            message.payload += payload;
            if (fin) return message;
        }
    }
    /// Performs the WebSocket handshake; the status (101 = open).
    int upgrade(std::string_view path = "/ws", std::string_view more_headers = {}, std::string_view host = "127.0.0.1") {
        const auto r = ask("GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) +
                           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + std::string(more_headers) + "\r\n");
        if (r) last_ = *r;
        return r ? r->status : 0;
    }
    const raw_response& last() const { return last_; }

  private:
    bool need(std::size_t n) {
        while (in_.size() < n)
            if (!fill()) return false;
        return true;
    }
    bool fill() {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) <= 0) {
            timed_out_ = true;
            return false;
        }
        char chunk[16384];
        const auto n = ::recv(fd_, chunk, sizeof chunk, 0);
        if (n <= 0) return false;
        in_.append(chunk, static_cast<std::size_t>(n));
        return true;
    }
    int fd_ = -1;
    bool connected_ = false, timed_out_ = false;
    std::string in_;
    raw_response last_;
};

}  // namespace holdfast::test
