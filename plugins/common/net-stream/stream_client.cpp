#include "net-stream/stream_client.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <new>

#include "net-stream/tls_filter.hpp"

namespace holdfast::net {
namespace {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;

constexpr milliseconds longest_poll{500};  // stop is looked at, beat is called and deadlines are judged at least this often
constexpr std::size_t read_piece = 64 * 1024, read_turn = 256 * 1024;  // of one stream before the others have theirs
constexpr int keep_alive_questions = 3;
constexpr std::size_t max_addresses = 16;  // of one name
constexpr int accepts_per_turn = 64;
constexpr milliseconds accept_pause{100};  // after the system refused a descriptor

struct address {
    sockaddr_storage at{};
    socklen_t size = 0;
};

struct stream {
    std::uint64_t id = 0;
    stream_address to;
    stream_options options;
    stream_callbacks on;
    int fd = -1;
    CURL* resolving = nullptr;
    std::deque<address> addresses;  // not yet tried
    int last_error = 0;             // of the address tried last
    bool connected = false, open = false;
    bool finishing = false, shut = false, more = false, ended = false;
    time_point deadline;  // until open
    time_point progress;  // of writing
    std::deque<std::string> out;
    std::size_t at = 0, queued = 0;  // sent of the first; bytes of all that is not sent
    std::unique_ptr<tls_filter> tls;

    stream() = default;
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    ~stream() {
        if (resolving) curl_easy_cleanup(resolving);
        if (fd >= 0) ::close(fd);
    }
};
using stream_ptr = std::shared_ptr<stream>;  // second owner: the loop, while it serves the stream

// The library resolves names without blocking; the sockets are ours: it is given none, and tells every address it would use.
curl_socket_t no_socket(void* self, curlsocktype, curl_sockaddr* a) noexcept {
    auto& s = *static_cast<stream*>(self);
    try {
        if (s.addresses.size() < max_addresses && a->addrlen <= sizeof(sockaddr_storage)) {
            address one;
            std::memcpy(&one.at, &a->addr, a->addrlen);
            one.size = a->addrlen;
            s.addresses.push_back(one);
        }
    } catch (...) {
    }
    return CURL_SOCKET_BAD;
}

bool numeric_address(const stream_address& to, address& out) {
    addrinfo hints{};
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), &hints, &found) != 0) return false;
    std::memcpy(&out.at, found->ai_addr, found->ai_addrlen);
    out.size = found->ai_addrlen;
    ::freeaddrinfo(found);
    return true;
}

void set(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

void prepare_socket(int fd, bool tcp, milliseconds keep_alive) {
    if (!tcp) return;
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (keep_alive.count() <= 0) return;
    const int s = static_cast<int>(std::max<std::int64_t>(1, keep_alive.count() / 1000));
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, s);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, s / keep_alive_questions));
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, keep_alive_questions);
}

}  // namespace

struct stream_client::impl {
    explicit impl(stream_limits l) : limits(l), multi(curl_multi_init()) {
        if (!multi) throw std::bad_alloc();
    }
    ~impl() {
        for (const auto& [fd, accepted] : listeners) ::close(fd);
        curl_multi_cleanup(multi);
    }

    const stream_limits limits;
    CURLM* const multi;  // its wakeup may be called from any thread
    std::atomic<bool> interrupted{false};

    std::mutex mutex;  // leaf: inbox, timers, down
    std::deque<std::function<void()>> inbox;
    std::multimap<time_point, std::function<void()>> timers;
    bool down = false;

    // Owner: the driving thread.
    std::uint64_t last_id = 0;
    std::map<std::uint64_t, stream_ptr> streams;
    std::map<int, std::function<void(int)>> listeners;
    time_point accept_again;

    // Its callbacks stay where they are: one of them may be what calls this.
    void end(stream_ptr s, const result& why) {
        if (!streams.erase(s->id)) return;
        s->ended = true;
        if (s->resolving) curl_multi_remove_handle(multi, s->resolving);
        if (s->fd >= 0) ::close(std::exchange(s->fd, -1));
        if (s->on.on_done) s->on.on_done(why);
    }
    stream_ptr find(std::uint64_t id) const {
        const auto it = streams.find(id);
        return it == streams.end() ? nullptr : it->second;
    }

    void begin(const stream_ptr& s) {
        address one;
        if (!s->to.unix_path.empty()) {
            auto* const un = reinterpret_cast<sockaddr_un*>(&one.at);
            un->sun_family = AF_UNIX;
            std::memcpy(un->sun_path, s->to.unix_path.c_str(), s->to.unix_path.size() + 1);  // parse_stream_address looked at the length
            one.size = sizeof(sockaddr_un);
            s->addresses.push_back(one);
            return try_next(s);
        }
        if (numeric_address(s->to, one)) {
            s->addresses.push_back(one);
            return try_next(s);
        }
        CURL* const e = s->resolving = curl_easy_init();
        if (!e) return end(s, {outcome::failed, 0, "out of memory"});
        curl_easy_setopt(e, CURLOPT_URL, ("http://" + s->to.host + ":" + std::to_string(s->to.port) + "/").c_str());
        curl_easy_setopt(e, CURLOPT_PRIVATE, s.get());
        curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(e, CURLOPT_PROXY, "");
        curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, &no_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, s.get());
        curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(s->options.connect.count()));
        if (curl_multi_add_handle(multi, e) != CURLM_OK) end(s, {outcome::failed, 0, "the name could not be looked up"});
    }
    void resolved(CURL* easy, CURLcode code) {
        stream* raw = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &raw);
        const auto s = find(raw->id);
        curl_multi_remove_handle(multi, easy);
        curl_easy_cleanup(std::exchange(s->resolving, nullptr));
        if (!s->addresses.empty()) return try_next(s);
        if (code == CURLE_OPERATION_TIMEDOUT) return end(s, {outcome::timed_out, 0, "no address was found in time for the host of " + s->to.origin});
        end(s, {outcome::unresolved, 0, "no address is known for the host of " + s->to.origin});
    }
    void try_next(const stream_ptr& s) {
        while (!s->addresses.empty()) {
            const address a = s->addresses.front();
            s->addresses.pop_front();
            if (s->fd >= 0) ::close(s->fd);
            s->fd = ::socket(a.at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            if (s->fd < 0) {
                s->last_error = errno;
                continue;
            }
            prepare_socket(s->fd, s->to.unix_path.empty(), s->options.keep_alive);
            if (::connect(s->fd, reinterpret_cast<const sockaddr*>(&a.at), a.size) == 0) return connected(s);
            if (errno == EINPROGRESS) return;
            s->last_error = errno;
        }
        end(s, {outcome::refused, 0, "cannot connect to " + s->to.origin + ": " + std::strerror(s->last_error)});
    }
    void connected(const stream_ptr& s) {
        s->connected = true;
        if (!s->to.secure) return opened(s);
        s->tls = tls_filter::client(s->to.host, s->options.ca_file);
        through_tls(s, {});
    }
    void opened(const stream_ptr& s) {
        s->open = true;
        s->progress = clock::now();
        if (s->on.on_open) s->on.on_open();
    }
    void queue(stream& s, std::string bytes) {
        if (bytes.empty()) return;
        if (s.out.empty()) s.progress = clock::now();
        s.queued += bytes.size();
        s.out.push_back(std::move(bytes));
    }

    /// False: the stream is over.
    bool through_tls(const stream_ptr& s, std::string_view cipher) {
        std::string plain;
        const auto state = s->tls->feed(cipher, plain);
        queue(*s, s->tls->take_output());
        if (state == tls_filter::state::open && !s->open) opened(s);
        if (!s->ended && !plain.empty() && s->on.on_data) s->on.on_data(plain);
        if (s->ended) return false;
        if (state == tls_filter::state::failed) {
            flush(s);  // the alert
            const std::string why = (s->open ? "the connection to " : "no secure connection to ") + s->to.origin + (s->open ? " broke: " : ": ") + s->tls->why();
            end(s, {s->open ? outcome::lost : outcome::tls, 0, why});
            return false;
        }
        if (state == tls_filter::state::ended) end(s, {});
        return !s->ended;
    }
    void lost(const stream_ptr& s, int error) {
        if (s->connected && s->to.secure && !s->open) return end(s, {outcome::tls, 0, "no secure connection to " + s->to.origin + ": it was closed during the handshake"});
        if (error == 0) return end(s, {});
        const bool silent = error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
        end(s, {outcome::lost, 0, "the connection to " + s->to.origin + (silent ? " broke: the peer has vanished (" : " broke: (") + std::strerror(error) + ")"});
    }
    void read(const stream_ptr& s) {
        static thread_local char piece[read_piece];
        s->more = false;
        for (std::size_t got = 0; !s->ended;) {
            if (got >= read_turn) {
                s->more = true;
                return;
            }
            const auto n = ::recv(s->fd, piece, sizeof piece, 0);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
            if (n <= 0) return lost(s, n < 0 ? errno : 0);
            got += static_cast<std::size_t>(n);
            const std::string_view bytes(piece, static_cast<std::size_t>(n));
            if (s->tls) {
                if (!through_tls(s, bytes)) return;
            } else if (s->on.on_data) {
                s->on.on_data(bytes);
            }
        }
    }
    void flush(const stream_ptr& s) {
        std::size_t written = 0;
        int error = 0;
        while (!s->out.empty()) {
            const std::string& front = s->out.front();
            const auto n = ::send(s->fd, front.data() + s->at, front.size() - s->at, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) {
                if (errno != EAGAIN && errno != EWOULDBLOCK) error = errno;
                break;
            }
            s->progress = clock::now();
            written += static_cast<std::size_t>(n);
            s->at += static_cast<std::size_t>(n);
            if (s->at < front.size()) continue;
            s->out.pop_front();
            s->at = 0;
        }
        s->queued -= written;
        if (written && s->on.on_written) s->on.on_written();
        if (s->ended) return;
        // A peer that has closed may have said why before: that is read first, and its end is found by reading.
        if (error && error != EPIPE && error != ECONNRESET) return lost(s, error);
        if (error) {
            s->out.clear();
            s->at = s->queued = 0;
            s->more = true;
        }
        if (s->finishing && s->out.empty() && !std::exchange(s->shut, true)) ::shutdown(s->fd, SHUT_WR);
    }
    void serve(const stream_ptr& s, short events) {
        if (s->ended) return;
        if (!s->connected) {
            int error = 0;
            socklen_t size = sizeof error;
            ::getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error == 0) return connected(s);
            s->last_error = error;
            return try_next(s);
        }
        if (events & CURL_WAIT_POLLOUT) flush(s);
        if (!s->ended && ((events & ~CURL_WAIT_POLLOUT) || s->more)) read(s);
    }
    void accept_from(int fd) {
        const auto accepted = listeners[fd];
        for (int i = 0; i < accepts_per_turn; ++i) {
            const int one = ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (one >= 0) {
                accepted(one);
                continue;
            }
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) accept_again = clock::now() + accept_pause;  // out of descriptors: it would spin
            return;
        }
    }
    void judge_time() {
        const auto now = clock::now();
        std::vector<stream_ptr> late;
        for (const auto& [id, s] : streams)
            if (s->open ? !s->out.empty() && now - s->progress >= s->options.stuck : now >= s->deadline) late.push_back(s);
        for (const auto& s : late) {
            if (s->open)
                end(s, {outcome::idle, 0, s->to.origin + " took nothing of what was sent to it for " + std::to_string(s->options.stuck.count()) + " ms"});
            else
                end(s, {outcome::timed_out, 0, "no connection to " + s->to.origin + " within " + std::to_string(s->options.connect.count()) + " ms"});
        }
    }
    void run_posted() {
        std::deque<std::function<void()>> batch;
        {
            std::lock_guard lock(mutex);
            batch.swap(inbox);
            const auto due = timers.upper_bound(clock::now());
            for (auto it = timers.begin(); it != due; ++it) batch.push_back(std::move(it->second));
            timers.erase(timers.begin(), due);
        }
        while (!batch.empty()) {
            const auto f = std::move(batch.front());
            batch.pop_front();
            try {
                f();
            } catch (...) {
                // The supervisor restarts the worker; what was behind this function must not be lost with it.
                std::lock_guard lock(mutex);
                inbox.insert(inbox.begin(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
                throw;
            }
        }
    }
    milliseconds until_next(bool at_once) {
        auto next = clock::now() + longest_poll;
        for (const auto& [id, s] : streams) {
            at_once |= s->more;
            if (!s->open) next = std::min(next, s->deadline);
            else if (!s->out.empty()) next = std::min(next, s->progress + s->options.stuck);
        }
        std::lock_guard lock(mutex);
        if (at_once || !inbox.empty()) return milliseconds(0);
        if (!timers.empty()) next = std::min(next, timers.begin()->first);
        return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(next - clock::now()));
    }
    void turn() {
        run_posted();
        int running = 0;
        curl_multi_perform(multi, &running);
        for (int left = 0; CURLMsg* m = curl_multi_info_read(multi, &left);)
            if (m->msg == CURLMSG_DONE) resolved(m->easy_handle, m->data.result);
        judge_time();
        std::vector<curl_waitfd> fds;
        std::vector<stream_ptr> whose;
        if (clock::now() >= accept_again)
            for (const auto& [fd, accepted] : listeners) fds.push_back({fd, CURL_WAIT_POLLIN, 0});
        const std::size_t first = fds.size();
        for (const auto& [id, s] : streams) {
            if (s->fd < 0) continue;
            const bool waits = !s->connected || !s->out.empty() || (s->finishing && !s->shut);
            fds.push_back({s->fd, static_cast<short>((s->connected ? CURL_WAIT_POLLIN : 0) | (waits ? CURL_WAIT_POLLOUT : 0)), 0});
            whose.push_back(s);
        }
        if (interrupted.load()) return;
        curl_multi_poll(multi, fds.data(), static_cast<unsigned>(fds.size()), static_cast<int>(until_next(false).count()), nullptr);
        for (std::size_t i = 0; i < first; ++i)
            if (fds[i].revents) accept_from(fds[i].fd);
        for (std::size_t i = 0; i < whose.size(); ++i)
            if (fds[first + i].revents || whose[i]->more) serve(whose[i], fds[first + i].revents);
    }
};

stream_client::stream_client(stream_limits limits) {
    static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);  // never cleaned up: others in this process use it, too
    (void)once;
    impl_ = std::make_unique<impl>(limits);
}
stream_client::~stream_client() { shutdown(); }

std::uint64_t stream_client::connect(const stream_address& to, stream_options options, stream_callbacks on) {
    impl& m = *impl_;
    if (m.streams.size() >= m.limits.open) return 0;
    auto s = std::make_shared<stream>();
    s->id = ++m.last_id;
    s->to = to;
    s->options = std::move(options);
    s->on = std::move(on);
    s->deadline = clock::now() + s->options.connect;
    m.streams.emplace(s->id, s);
    const auto id = s->id;
    // Not before this returns: the caller does not know the id yet.
    if (!post([&m, s] {
            if (!s->ended) m.begin(s);
        })) {
        m.streams.erase(id);
        return 0;
    }
    return id;
}

std::uint64_t stream_client::adopt(int fd, const std::string& shown, stream_options options, stream_callbacks on) {
    impl& m = *impl_;
    auto s = std::make_shared<stream>();
    s->fd = fd;
    if (m.streams.size() >= m.limits.open) return 0;
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    const bool tcp = ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) == 0 && a.ss_family != AF_UNIX;
    prepare_socket(fd, tcp, options.keep_alive);
    s->id = ++m.last_id;
    s->to.origin = shown;
    s->options = std::move(options);
    s->on = std::move(on);
    s->connected = s->open = true;
    m.streams.emplace(s->id, s);
    return s->id;
}

void stream_client::listen(int fd, std::function<void(int)> accepted) { impl_->listeners[fd] = std::move(accepted); }

void stream_client::write(std::uint64_t id, std::string bytes) {
    impl& m = *impl_;
    const auto s = m.find(id);
    if (!s || s->finishing) return;
    if (s->tls) {
        if (!s->open || !s->tls->write(bytes)) return;
        m.queue(*s, s->tls->take_output());
    } else {
        m.queue(*s, std::move(bytes));
    }
}

void stream_client::finish(std::uint64_t id) {
    impl& m = *impl_;
    const auto s = m.find(id);
    if (!s || std::exchange(s->finishing, true)) return;
    if (!s->connected) return m.end(s, {});
    if (s->tls) {
        s->tls->close();
        m.queue(*s, s->tls->take_output());
    }
}

void stream_client::drop(std::uint64_t id, const result& why) {
    if (const auto s = impl_->find(id)) impl_->end(s, why);
}

std::size_t stream_client::queued(std::uint64_t id) const {
    const auto s = impl_->find(id);
    return s ? s->queued : 0;
}
std::size_t stream_client::size() const { return impl_->streams.size(); }

bool stream_client::post(std::function<void()> f) {
    impl& m = *impl_;
    {
        std::lock_guard lock(m.mutex);
        if (m.down || m.inbox.size() >= m.limits.posted) return false;
        m.inbox.push_back(std::move(f));
    }
    curl_multi_wakeup(m.multi);
    return true;
}

bool stream_client::after(milliseconds delay, std::function<void()> f) {
    impl& m = *impl_;
    {
        std::lock_guard lock(m.mutex);
        if (m.down || m.timers.size() >= m.limits.posted) return false;
        m.timers.emplace(clock::now() + delay, std::move(f));
    }
    curl_multi_wakeup(m.multi);
    return true;
}

void stream_client::run(const std::function<bool()>& stop, const std::function<void()>& beat) {
    while (!impl_->interrupted.load() && !stop()) {
        beat();
        impl_->turn();
    }
}

void stream_client::interrupt() {
    impl_->interrupted.store(true);
    curl_multi_wakeup(impl_->multi);
}

void stream_client::shutdown() {
    impl& m = *impl_;
    std::deque<std::function<void()>> left;
    std::multimap<time_point, std::function<void()>> timers;
    {
        std::lock_guard lock(m.mutex);
        m.down = true;
        left.swap(m.inbox);
        timers.swap(m.timers);
    }
    while (!m.streams.empty()) m.end(m.streams.begin()->second, {outcome::cancelled, 0, "the client is shut down"});
}

}  // namespace holdfast::net
