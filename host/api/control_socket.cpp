#include "api/control_socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <set>

#include "api/event_text.hpp"

namespace holdfast::api {
namespace {

constexpr std::size_t read_chunk = 64 * 1024;
constexpr std::size_t drain_batch = 64;

/// One connected client. Shared by the server and by the callbacks under way.
class client : public std::enable_shared_from_this<client> {
  public:
    client(supervise::runtime& rt, int fd, identity who, const method_table& methods, events::bus& bus, std::function<void(client*)> gone)
        : rt_(rt), fd_(fd), who_(std::move(who)), methods_(methods), bus_(bus), gone_(std::move(gone)) {}
    ~client() { ::close(fd_); }

    bool start() {
        std::lock_guard lock(mutex_);
        auto watch = rt_.watch_fd(fd_, supervise::fd_readable, [weak = weak_from_this()](std::uint32_t ready) {
            if (auto self = weak.lock()) self->on_ready(ready);
        }, supervise::dispatch::prompt);
        if (!watch) return false;
        watch_ = std::move(*watch);
        return true;
    }

    void close() {
        std::map<std::uint64_t, std::shared_ptr<events::subscription>> subscriptions;
        std::map<std::string, std::shared_ptr<stream>> streams;
        {
            std::lock_guard lock(mutex_);
            if (closed_) return;
            closed_ = true;
            watch_.cancel();
            stuck_.cancel();
            subscriptions.swap(subscriptions_);
            streams.swap(streams_);
            ::shutdown(fd_, SHUT_RDWR);
        }
        for (auto& [id, s] : subscriptions) s->unsubscribe();
        for (auto& [id, s] : streams) s->cancel();
        gone_(this);
    }

  private:
    /// A call that answers in pieces. What cancels it is known only once it has begun: it may have been cancelled, or be over, by then.
    class stream {
      public:
        void begun(cancel_fn how) {
            {
                std::lock_guard lock(mutex_);
                if (over_) return;
                if (!cancelled_) return static_cast<void>(how_ = std::move(how));
            }
            if (how) how();
        }
        void cancel() {
            cancel_fn how;
            {
                std::lock_guard lock(mutex_);
                cancelled_ = true;
                how.swap(how_);
            }
            if (how) how();
        }
        void end() {
            cancel_fn gone;  // destroyed outside the lock
            std::lock_guard lock(mutex_);
            over_ = true;
            gone.swap(how_);
        }

      private:
        std::mutex mutex_;
        cancel_fn how_;
        bool cancelled_ = false, over_ = false;
    };

    void on_ready(std::uint32_t ready) {
        if (ready & supervise::fd_writable) {
            std::lock_guard lock(mutex_);
            flush();
        }
        if (ready & (supervise::fd_readable | supervise::fd_hangup))
            if (!read_lines()) return close();
        std::lock_guard lock(mutex_);
        rearm();
    }

    // mutex_ held.
    void rearm() {
        if (!closed_) watch_.rearm(supervise::fd_readable | (output_.empty() ? 0u : supervise::fd_writable));
    }

    /// false: the peer is gone or broke a limit. Only one thread at a time runs this: the watch is one-shot... but a
    /// writer may rearm early, hence the lock.
    bool read_lines() {
        std::lock_guard reading(read_mutex_);
        char buffer[read_chunk];
        for (;;) {
            const ssize_t n = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
            if (n == 0) return false;
            if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
            input_.append(buffer, static_cast<std::size_t>(n));
            std::size_t begin = 0;
            for (std::size_t end; (end = input_.find('\n', begin)) != std::string::npos; begin = end + 1)
                handle(std::string_view(input_).substr(begin, end - begin));
            input_.erase(0, begin);
            if (input_.size() > control_max_line) {
                send(error_line(nullptr, {errc::invalid_argument, "a request may have at most " + std::to_string(control_max_line) + " bytes"}));
                return false;
            }
            if (static_cast<std::size_t>(n) < sizeof buffer) return true;
        }
    }

    static std::string error_line(const json& id, const error& e) { return dump({{"id", id}, {"error", e.to_json()}}); }

    void handle(std::string_view line) {
        if (line.empty() || line == "\r") return;
        auto request = parse_json(line);
        if (!request) return send(error_line(nullptr, request.error()));
        const json id = member(*request, "id");
        if (request->contains("subscribe")) return subscribe(id, (*request)["subscribe"]);
        if (request->contains("unsubscribe")) return unsubscribe(id, (*request)["unsubscribe"]);
        if (request->contains("cancel")) return cancel(id);
        const std::string method = string_or(*request, "method");
        if (method.empty())
            return send(error_line(id, {errc::invalid_argument, "expected a \"method\", \"subscribe\", \"unsubscribe\" or \"cancel\" member"}));
        if (calls_.fetch_add(1) >= control_max_calls) {
            calls_.fetch_sub(1);
            return send(error_line(id, {errc::overloaded, "at most " + std::to_string(control_max_calls) + " calls at once on one connection", milliseconds(50)}));
        }
        identity who = who_;
        if (const std::string via = string_or(*request, "via"); !via.empty() && via.size() <= 32) who.via = via;
        json params = request->contains("params") ? std::move((*request)["params"]) : json();
        if (const auto* m = methods_.find(method); m && m->stream) return start_stream(who, id, method, std::move(params));
        methods_.call(who, method, std::move(params), [self = shared_from_this(), id](result<json> r) { self->finish(id, r); });
    }
    void finish(const json& id, const result<json>& r) {
        calls_.fetch_sub(1);
        send(r ? dump({{"id", id}, {"result", *r}}) : error_line(id, r.error()));
    }

    void start_stream(const identity& who, const json& id, const std::string& method, json params) {
        const std::string key = dump(id);
        auto s = std::make_shared<stream>();
        {
            std::lock_guard lock(mutex_);
            if (closed_) return;
            if (!streams_.emplace(key, s).second) s = nullptr;
        }
        if (!s) return finish(id, fail(errc::already_exists, "a call with this id is under way"));
        auto chunk = [self = shared_from_this(), head = "{\"id\":" + key + ",\"chunk\":"](std::string_view piece) { self->send(head + dump(piece) + "}"); };
        s->begun(methods_.stream(who, method, std::move(params), std::move(chunk), [self = shared_from_this(), s, id, key](result<json> r) {
            s->end();
            {
                std::lock_guard lock(self->mutex_);
                if (auto it = self->streams_.find(key); it != self->streams_.end() && it->second == s) self->streams_.erase(it);
            }
            self->finish(id, r);
        }));
    }
    /// The call's own reply says how it ended; one that is over already needs no answer.
    void cancel(const json& id) {
        std::shared_ptr<stream> s;
        {
            std::lock_guard lock(mutex_);
            if (auto it = streams_.find(dump(id)); it != streams_.end()) s = it->second;
        }
        if (s) s->cancel();
    }

    void subscribe(const json& id, const json& options) {
        const std::string topic = string_or(options, "topic");
        if (topic.empty()) return send(error_line(id, {errc::invalid_argument, "subscribe: expected a \"topic\""}));
        auto parsed = subscribe_options_from(options);
        if (!parsed) return send(error_line(id, parsed.error()));
        std::uint64_t number;
        {
            std::lock_guard lock(mutex_);
            if (closed_) return;
            if (subscriptions_.size() >= control_max_subscriptions)
            {
                send_locked(error_line(id, {errc::overloaded, "at most " + std::to_string(control_max_subscriptions) + " subscriptions on one connection"}));
                return;
            }
            number = ++last_subscription_;
        }
        parsed->wake = [weak = weak_from_this(), number, &rt = rt_] {
            rt.post([weak, number] {
                if (auto self = weak.lock()) self->drain(number);
            });
        };
        auto subscription = std::make_shared<events::subscription>(bus_.subscribe(topic, std::move(*parsed)));
        const events::position at = subscription->attached_at();
        {
            std::lock_guard lock(mutex_);
            if (closed_) return;
            subscriptions_[number] = subscription;
            send_locked(dump({{"id", id}, {"result", {{"subscription", number}, {"seq", at.seq}, {"epoch", at.epoch}}}}));
        }
        drain(number);
    }

    void unsubscribe(const json& id, const json& number) {
        std::shared_ptr<events::subscription> found;
        {
            std::lock_guard lock(mutex_);
            auto it = number.is_number_integer() ? subscriptions_.find(number.get<std::uint64_t>()) : subscriptions_.end();
            if (it != subscriptions_.end()) {
                found = it->second;
                subscriptions_.erase(it);
            }
        }
        if (!found) return send(error_line(id, {errc::not_found, "no such subscription on this connection"}));
        found->unsubscribe();
        send(dump({{"id", id}, {"result", json::object()}}));
    }

    /// Moves what is waiting to the output. drain_mutex_ keeps one reader per cursor.
    void drain(std::uint64_t number) {
        std::lock_guard draining(drain_mutex_);
        std::shared_ptr<events::subscription> s;
        {
            std::lock_guard lock(mutex_);
            auto it = subscriptions_.find(number);
            if (it == subscriptions_.end()) return;
            s = it->second;
        }
        const std::string head = "{\"subscription\":" + std::to_string(number) + ",\"event\":";
        for (;;) {
            const events::batch b = s->next(drain_batch);
            if (b.empty()) return;
            std::string lines;
            for (const events::event& e : b.events) lines += head + e->text() + "}\n";
            if (b.note) lines += head + dump(notice_json(*b.note)) + "}\n";
            if (!lines.empty()) lines.pop_back();
            send(std::move(lines));
            if (b.note && b.note->what == events::notice::kind::closed) {
                std::lock_guard lock(mutex_);
                subscriptions_.erase(number);
                return;
            }
        }
    }

    void send(std::string line) {
        bool cut = false;
        {
            std::lock_guard lock(mutex_);
            cut = !send_locked(std::move(line));
        }
        if (cut) close();
    }
    /// mutex_ held. false: the client does not read and has to be cut.
    bool send_locked(std::string line) {
        if (closed_) return true;
        line += '\n';
        queued_ += line.size();
        output_.push_back(std::move(line));
        flush();
        if (queued_ > control_max_output) return false;
        if (!output_.empty()) {
            if (!stuck_.pending()) arm_stuck_timer();
            rearm();
        }
        return true;
    }
    // mutex_ held.
    void arm_stuck_timer() {
        stuck_ = rt_.after(control_stuck_reader, [weak = weak_from_this()] {
            if (auto self = weak.lock()) self->close();
        });
    }
    // mutex_ held.
    void flush() {
        while (!output_.empty()) {
            std::string& front = output_.front();
            const ssize_t n = ::send(fd_, front.data() + sent_, front.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n <= 0) return;
            if (stuck_.pending()) stuck_.cancel();
            sent_ += static_cast<std::size_t>(n);
            queued_ -= static_cast<std::size_t>(n);
            if (sent_ == front.size()) {
                output_.pop_front();
                sent_ = 0;
            }
        }
    }

    supervise::runtime& rt_;
    const int fd_;
    const identity who_;
    const method_table& methods_;
    events::bus& bus_;
    const std::function<void(client*)> gone_;
    std::atomic<std::size_t> calls_{0};
    std::mutex read_mutex_;   // guards input_
    std::string input_;
    std::mutex drain_mutex_;  // one reader per subscription
    std::mutex mutex_;        // guards everything below; never held while a method runs
    supervise::fd_watch watch_;
    supervise::timer_handle stuck_;
    std::deque<std::string> output_;
    std::size_t sent_ = 0;    // of the front
    std::size_t queued_ = 0;
    std::map<std::uint64_t, std::shared_ptr<events::subscription>> subscriptions_;  // second owner: a drain under way
    std::map<std::string, std::shared_ptr<stream>> streams_;  // by the id as text; second owner: the call's reply
    std::uint64_t last_subscription_ = 0;
    bool closed_ = false;
};

int connect_to(const sockaddr_un& address) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int rc = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::close(fd);
    return rc;
}

}  // namespace

struct control_server::impl : std::enable_shared_from_this<impl> {
    supervise::runtime& rt;
    const method_table& methods;
    events::bus& bus;
    std::string path;
    int fd = -1;
    std::mutex mutex;  // guards what follows
    supervise::fd_watch watch;
    std::set<std::shared_ptr<client>> clients;
    bool closed = false;

    impl(supervise::runtime& r, const method_table& m, events::bus& b) : rt(r), methods(m), bus(b) {}
    ~impl() {
        if (fd >= 0) ::close(fd);
    }

    void accept_all() {
        for (;;) {
            const int peer = ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (peer < 0) break;
            ucred cred{};
            socklen_t length = sizeof cred;
            ::getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &cred, &length);
            if (cred.uid != ::geteuid() && cred.uid != 0) {
                ::close(peer);
                continue;
            }
            admit(peer);
        }
        std::lock_guard lock(mutex);
        if (!closed) watch.rearm(supervise::fd_readable);
    }

    void admit(int peer) {
        auto gone = [weak = weak_from_this()](client* c) {
            if (auto self = weak.lock()) self->forget(c);
        };
        auto c = std::make_shared<client>(rt, peer, identity{"local", role::admin, "control"}, methods, bus, gone);
        {
            std::lock_guard lock(mutex);
            if (closed) return;
            if (clients.size() >= control_max_clients) {
                const std::string line = dump({{"id", nullptr}, {"error", error{errc::overloaded, "too many control connections"}.to_json()}}) + "\n";
                (void)::send(peer, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
                return;
            }
            clients.insert(c);
        }
        if (!c->start()) forget(c.get());
    }

    void forget(client* c) {
        std::shared_ptr<client> last;  // destroyed outside the lock
        std::lock_guard lock(mutex);
        for (auto it = clients.begin(); it != clients.end(); ++it)
            if (it->get() == c) {
                last = *it;
                clients.erase(it);
                return;
            }
    }
};

result<std::unique_ptr<control_server>> control_server::listen(supervise::runtime& rt, const std::string& path, const method_table& methods,
                                                               events::bus& bus) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(errc::io_error, "the control socket's path is too long (" + path + "): choose a shorter host.data_dir");
    std::memcpy(address.sun_path, path.c_str(), path.size());

    auto state = std::make_shared<impl>(rt, methods, bus);
    state->path = path;
    state->fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (state->fd < 0) return fail(errc::io_error, std::string("socket: ") + std::strerror(errno));
    if (connect_to(address) == 0)
        return fail(errc::already_started, "a host already answers on " + path + ": stop it first, or choose another host.data_dir");
    ::unlink(path.c_str());
    const mode_t before = ::umask(0177);
    const int rc = ::bind(state->fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::umask(before);
    if (rc != 0 || ::listen(state->fd, 64) != 0) return fail(errc::io_error, "the control socket " + path + ": " + std::strerror(errno));

    auto watch = rt.watch_fd(state->fd, supervise::fd_readable, [weak = std::weak_ptr(state)](std::uint32_t) {
        if (auto self = weak.lock()) self->accept_all();
    }, supervise::dispatch::prompt);
    if (!watch) return tl::unexpected<error>(watch.error());
    {
        std::lock_guard lock(state->mutex);
        state->watch = std::move(*watch);
    }
    return std::unique_ptr<control_server>(new control_server(std::move(state)));
}

control_server::~control_server() {
    std::set<std::shared_ptr<client>> clients;
    {
        std::lock_guard lock(impl_->mutex);
        impl_->closed = true;
        impl_->watch.cancel();
        clients.swap(impl_->clients);
    }
    for (const auto& c : clients) c->close();
    ::unlink(impl_->path.c_str());
}

std::size_t control_server::clients() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->clients.size();
}

}  // namespace holdfast::api
