#include "unit/net_client/script_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <charconv>
#include <chrono>
#include <stdexcept>

namespace holdfast::testing {
namespace {

std::size_t find_line(const heard_request& r, std::string_view name) {
    std::string head = r.head, wanted = "\n" + std::string(name) + ":";
    for (char& c : head) c = static_cast<char>(::tolower(c));
    for (char& c : wanted) c = static_cast<char>(::tolower(c));
    const auto at = head.find(wanted);
    return at == std::string::npos ? at : at + wanted.size();
}

bool more(int fd, std::string& in) {
    char data[16384];
    const auto n = ::recv(fd, data, sizeof data, 0);
    if (n > 0) in.append(data, static_cast<std::size_t>(n));
    return n > 0;
}

bool read_request(int fd, std::string& in, heard_request& r) {
    std::size_t end;
    while ((end = in.find("\r\n\r\n")) == std::string::npos)
        if (!more(fd, in)) return false;
    r.head = in.substr(0, end + 2);
    in.erase(0, end + 4);
    const auto space = r.head.find(' ');
    r.method = r.head.substr(0, space);
    r.target = r.head.substr(space + 1, r.head.find(' ', space + 1) - space - 1);
    const std::string length = r.header("content-length");
    std::size_t n = 0;
    std::from_chars(length.data(), length.data() + length.size(), n);
    while (in.size() < n)
        if (!more(fd, in)) return false;
    r.body = in.substr(0, n);
    in.erase(0, n);
    return true;
}

}  // namespace

bool heard_request::has(std::string_view name) const { return find_line(*this, name) != std::string::npos; }
std::string heard_request::header(std::string_view name) const {
    const auto at = find_line(*this, name);
    if (at == std::string::npos) return {};
    const auto first = head.find_first_not_of(' ', at);
    return head.substr(first, head.find('\r', first) - first);
}

bool script_server::peer::write(std::string_view bytes) {
    while (!bytes.empty() && open_) {
        const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n <= 0) open_ = false;
        else bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return open_;
}
bool script_server::peer::answer(int status, std::string_view type, std::string_view body, std::string_view more_headers) {
    std::string text = "HTTP/1.1 " + std::to_string(status) + " Whatever\r\n";
    if (!type.empty()) text += "Content-Type: " + std::string(type) + "\r\n";
    text += std::string(more_headers) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
    return write(text + std::string(body));
}
bool script_server::peer::events() {
    return write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n");
}
bool script_server::peer::chunk(std::string_view bytes) {
    char size[32];
    const auto r = std::to_chars(size, size + sizeof size, bytes.size(), 16);
    return write(std::string(size, r.ptr) + "\r\n" + std::string(bytes) + "\r\n");
}
bool script_server::peer::wait_gone() {
    char c;
    while (::recv(fd_, &c, 1, 0) > 0) {
    }
    open_ = false;
    return true;
}
void script_server::peer::reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    open_ = false;
}
void script_server::peer::hang_up() {
    ::shutdown(fd_, SHUT_WR);
    open_ = false;
}

script_server::script_server(script s) : script_(std::move(s)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&a), n) || ::listen(listener_, 1024) || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&a), &n))
        throw std::runtime_error("cannot listen on 127.0.0.1");
    port_ = ntohs(a.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
}

script_server::~script_server() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
        std::lock_guard lock(mutex_);
        for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (auto& t : threads_) t.join();
    ::close(listener_);
}

void script_server::accept_all() {
    for (;;) {
        const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) return;
        ++accepted_;
        std::lock_guard lock(mutex_);
        open_.insert(fd);
        threads_.emplace_back([this, fd] { serve(fd); });
    }
}

void script_server::serve(int fd) {
    std::string in;
    peer p(fd);
    for (heard_request r; p.open() && read_request(fd, in, r); r = {}) {
        {
            std::lock_guard lock(mutex_);
            heard_.push_back(r);
            changed_.notify_all();
        }
        script_(r, p);
    }
    std::lock_guard lock(mutex_);
    open_.erase(fd);
    ::close(fd);
}

std::vector<heard_request> script_server::heard() const {
    std::lock_guard lock(mutex_);
    return heard_;
}
bool script_server::wait_heard(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return heard_.size() >= n; });
}

}  // namespace holdfast::testing
