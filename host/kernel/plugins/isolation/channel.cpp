#include "kernel/plugins/isolation/channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace holdfast::plugins::isolation {
namespace {

constexpr int socket_buffer = 1 << 20;  // the kernel caps it at net.core.wmem_max
constexpr int needed_seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
// How often a reply is looked for before the thread goes to sleep: an answer from a running peer is there within microseconds, a
// sleeping thread takes tens of them to wake up.
constexpr int looks_before_sleep = 40;

sent write_message(int fd, std::string_view bytes, int attached, int flags) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))]{};
    if (attached >= 0) {
        m.msg_control = room;
        m.msg_controllen = sizeof room;
        cmsghdr* c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(c), &attached, sizeof attached);
    }
    for (;;) {
        if (sendmsg(fd, &m, flags | MSG_NOSIGNAL) >= 0) return sent::yes;
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return sent::full;
        if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) return sent::closed;
        return sent::failed;
    }
}

}  // namespace

void unique_fd::reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

result<std::pair<unique_fd, unique_fd>> socket_pair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) return fail(errc::io_error, std::string("no socket pair: ") + std::strerror(errno));
    for (const int fd : fds) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &socket_buffer, sizeof socket_buffer);
    return std::pair{unique_fd(fds[0]), unique_fd(fds[1])};
}

frame::frame(frame&& o) noexcept : small_(std::move(o.small_)), map_(std::exchange(o.map_, nullptr)), size_(std::exchange(o.size_, 0)) {}
frame& frame::operator=(frame&& o) noexcept {
    if (this == &o) return *this;
    release();
    small_ = std::move(o.small_);
    map_ = std::exchange(o.map_, nullptr);
    size_ = std::exchange(o.size_, 0);
    return *this;
}
void frame::release() noexcept {
    if (map_) munmap(std::exchange(map_, nullptr), size_);
    size_ = 0;
}

received receive(int fd, frame& into, int flags, unique_fd* wanted) {
    into.release();
    if (!into.small_) into.small_ = std::make_unique_for_overwrite<char[]>(inline_bytes);
    iovec part{into.small_.get(), inline_bytes};
    alignas(cmsghdr) char room[CMSG_SPACE(4 * sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    ssize_t n = 0;
    do {
        n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? received::none : received::closed;
    unique_fd attached;
    bool too_many = false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int got = -1;
            std::memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof got);
            too_many |= bool(attached);
            attached = unique_fd(got);
        }
    }
    if (n == 0) return received::closed;
    if (too_many || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return received::broken;
    into.size_ = static_cast<std::size_t>(n);
    if (!attached) return n >= 2 ? received::one : received::broken;
    if (n >= 2) {  // beside the frame
        if (wanted == nullptr) return received::broken;
        *wanted = std::move(attached);
        return received::one;
    }

    // The frame itself is in the memfd. Sealed: nobody can change or shorten what is mapped here.
    const int seals = fcntl(attached.get(), F_GET_SEALS);
    struct stat st {};
    if (seals < 0 || (seals & needed_seals) != needed_seals || fstat(attached.get(), &st) != 0) return received::broken;
    if (st.st_size < 2 || static_cast<std::size_t>(st.st_size) > max_frame_bytes) return received::broken;
    const auto size = static_cast<std::size_t>(st.st_size);
    void* map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, attached.get(), 0);
    if (map == MAP_FAILED) return received::broken;
    into.size_ = size;
    into.map_ = map;
    return received::one;
}

sent send_frame(int fd, std::string_view bytes, int flags, int attached) {
    if (bytes.size() <= inline_bytes) return write_message(fd, bytes, attached, flags);
    if (bytes.size() > max_frame_bytes || attached >= 0) return sent::failed;
    unique_fd file(memfd_create("holdfast", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) return sent::failed;
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t n = write(file.get(), bytes.data() + at, bytes.size() - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return sent::failed;
        at += static_cast<std::size_t>(n);
    }
    if (fcntl(file.get(), F_ADD_SEALS, needed_seals | F_SEAL_SEAL) != 0) return sent::failed;
    return write_message(fd, "m", file.get(), flags);
}

// ---- caller

result<frame> caller::ask(const frame_writer& request, steady_time deadline, unique_fd* attached) {
    std::lock_guard lock(mutex_);
    if (closed_.load()) return fail(errc::transport_lost, "its process has ended");
    auto lost = [&](errc code, const char* why) {
        close();  // a late reply must not be taken for the next one's
        return fail(code, why);
    };
    // Until the peer lets us. false: the deadline has passed.
    auto wait_for = [&](short events) {
        const auto left = deadline - std::chrono::steady_clock::now();
        if (left <= nanoseconds(0)) return false;
        pollfd p{socket_.get(), events, 0};
        const timespec ts{static_cast<time_t>(left.count() / 1'000'000'000), left.count() % 1'000'000'000};
        ppoll(&p, 1, &ts, nullptr);
        return true;
    };
    // One that answers without reading what it is asked fills the socket: not even sending may block.
    for (auto s = sent::full; s != sent::yes;) {
        s = send_frame(socket_.get(), request.bytes(), MSG_DONTWAIT);
        if (s == sent::failed) return fail(errc::overloaded, "the message does not fit (" + std::to_string(request.bytes().size()) + " bytes)");
        if (s == sent::closed) return lost(errc::transport_lost, "its process has ended");
        if (s == sent::full && !wait_for(POLLOUT)) return lost(errc::timeout, "it does not read what it is asked");
    }
    frame answer;
    for (int look = 0;; ++look) {
        const auto r = receive(socket_.get(), answer, MSG_DONTWAIT, attached);
        if (r == received::one) return answer;
        if (r == received::closed) return lost(errc::transport_lost, "its process has ended");
        if (r == received::broken) return lost(errc::protocol_error, "its process answered what is no frame");
        if (look < looks_before_sleep) continue;
        if (!wait_for(POLLIN)) return lost(errc::timeout, "no answer in time");
    }
}

void caller::close() noexcept {
    if (!closed_.exchange(true)) shutdown(socket_.get(), SHUT_RDWR);
}

// ---- teller

teller::teller(unique_fd socket, std::size_t max_queued, bool block_when_full)
    : socket_(std::move(socket)), kick_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), max_queued_(max_queued), block_when_full_(block_when_full) {}

bool teller::tell(const frame_writer& f) {
    if (f.bytes().size() > max_frame_bytes) return false;
    std::unique_lock lock(mutex_);
    if (closed_) return false;
    if (queue_.empty()) {
        const auto s = send_frame(socket_.get(), f.bytes(), MSG_DONTWAIT);
        if (s == sent::yes) return told_.fetch_add(1), true;
        if (s != sent::full) return lock.unlock(), close(), false;
    }
    if (queued_ + f.bytes().size() > max_queued_ && !queue_.empty()) {
        if (!block_when_full_ || runs_on_.load() == std::this_thread::get_id()) {
            overflowed_.store(true);
            lock.unlock();
            close();
            return false;
        }
        room_.wait(lock, [&] { return closed_ || queued_ + f.bytes().size() <= max_queued_ || queue_.empty(); });
        if (closed_) return false;
    }
    queue_.push_back(f.bytes());
    queued_ += f.bytes().size();
    told_.fetch_add(1);
    const std::uint64_t one = 1;
    (void)!write(kick_.get(), &one, sizeof one);
    return true;
}

/// Sends what the socket takes. true: more is left to send. [mutex_ held]
bool teller::flush() {
    while (!queue_.empty()) {
        const auto s = send_frame(socket_.get(), queue_.front(), MSG_DONTWAIT);
        if (s == sent::full) return true;
        if (s != sent::yes) return closed_ = true, false;  // a frame that is lost would be a hole in the order
        queued_ -= queue_.front().size();
        queue_.pop_front();
        room_.notify_all();
    }
    return false;
}

received teller::run(const std::function<void(const frame&)>& handle) {
    runs_on_.store(std::this_thread::get_id());
    frame f;
    auto r = received::none;
    for (;;) {
        r = receive(socket_.get(), f, MSG_DONTWAIT);
        if (r == received::one) {
            handle(f);
            handled_.fetch_add(1);
            if (waited_for_.load()) {
                std::lock_guard lock(handled_mutex_);
                handled_changed_.notify_all();
            }
            continue;
        }
        if (r != received::none) break;
        bool more = false;
        {
            std::lock_guard lock(mutex_);
            more = !closed_ && flush();
            if (closed_) {
                r = received::closed;
                break;
            }
        }
        pollfd p[2] = {{socket_.get(), static_cast<short>(POLLIN | (more ? POLLOUT : 0)), 0}, {kick_.get(), POLLIN, 0}};
        poll(p, 2, -1);
        std::uint64_t n = 0;
        if ((p[1].revents & POLLIN) != 0) (void)!read(kick_.get(), &n, sizeof n);
    }
    close();
    return r;
}

bool teller::await_handled(std::uint64_t n, steady_time deadline) {
    if (handled() >= n || runs_on_.load() == std::this_thread::get_id()) return true;
    std::unique_lock lock(handled_mutex_);
    waited_for_.store(true);
    auto gone = [&] {
        std::lock_guard inner(mutex_);
        return closed_;
    };
    return handled_changed_.wait_until(lock, deadline, [&] { return handled() >= n || gone(); }) && handled() >= n;
}

void teller::close() noexcept {
    {
        std::lock_guard lock(mutex_);
        closed_ = true;
        room_.notify_all();
        shutdown(socket_.get(), SHUT_RDWR);
        const std::uint64_t one = 1;
        (void)!write(kick_.get(), &one, sizeof one);
    }
    std::lock_guard lock(handled_mutex_);
    handled_changed_.notify_all();
}

}  // namespace holdfast::plugins::isolation
