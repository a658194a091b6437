#include "net-server/http_server.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "net-server/connection.hpp"
#include "net-server/http_text.hpp"

namespace holdfast::web {
namespace detail {
namespace {
namespace http = beast::http;
using namespace std::chrono_literals;
constexpr std::size_t read_buffer_bytes = 64 * 1024;  // holds the headers and what a pipelining client sent ahead
constexpr std::size_t first_read_bytes = 4 * 1024;
constexpr auto linger_time = 2s;                      // after a refusal: reads on, so that the answer is not lost to a reset
constexpr std::size_t turned_away_at_once = 64;      // refused clients that are still being told so
constexpr std::size_t linger_bytes = 8 * 1024 * 1024;
constexpr int idle_part = 8;  // of the time of a drain, for clients that have nothing under way and may be about to ask

std::string_view reason_phrase(int status) {
    const auto text = http::obsolete_reason(static_cast<http::status>(status));
    return {text.data(), text.size()};
}

class http_connection final : public connection {
  public:
    http_connection(std::shared_ptr<core> c, tcp::socket&& socket, std::string peer)
        : connection(std::move(c)), stream_(std::move(socket)), executor_(stream_.get_executor()), buffer_(read_buffer_bytes), peer_(std::move(peer)) {}

    void start() {
        enlist();
        core_->post(executor_, [self = me()] { self->await_request(self->core_->limits.header_time); });
    }
    /// Tells a client beyond max_connections so, and lets it go.
    void turn_away() {
        enlist();
        core_->post(executor_, [self = me()] {
            self->keep_alive_ = false;
            self->linger_ = true;
            self->write_response(http_response::failure(503, "overloaded", "too many connections; close some or retry", 1000), false);
        });
    }
    void leave(bool idle_too) override {
        if (!idle_too) return;  // each answer says goodbye
        core_->post(executor_, [self = me()] {
            if (!self->idle_) return;
            self->leaves_ = true;
            self->stream_.cancel();  // the reader looks whether a request has come at the last moment
        });
    }
    void drain() override {
        core_->post(executor_, [self = me()] {
            self->keep_alive_ = false;
            if (self->idle_ || self->lingering_) self->close();
        });
    }
    void abort() override {
        core_->post(executor_, [self = me()] { self->close(); });
    }

  private:
    std::shared_ptr<http_connection> me() { return std::static_pointer_cast<http_connection>(shared_from_this()); }
    void close() {
        if (upgraded_) return;
        stream_.close();
        delist();
    }
    bool more_has_come() {
        beast::error_code ec;
        return buffer_.size() > 0 || (stream_.socket().available(ec) > 0 && !ec);
    }

    void await_request(std::chrono::milliseconds patience) {
        const auto& limits = core_->limits;
        parser_.emplace();
        parser_->header_limit(static_cast<std::uint32_t>(limits.header_bytes));
        parser_->body_limit(limits.body_bytes);
        if (buffer_.size() > 0) return read_header();  // pipelined
        if (core_->phase == server_phase::stopping) return close();
        idle_ = true;
        stream_.expires_after(patience);
        stream_.async_read_some(buffer_.prepare(first_read_bytes), [self = me(), patience](beast::error_code ec, std::size_t n) {
            self->idle_ = false;
            if (ec == net::error::operation_aborted && self->leaves_ && self->more_has_come()) return self->await_request(patience);
            if (ec) return self->close();
            self->buffer_.commit(n);
            self->read_header();
        });
    }

    void read_header() {
        stream_.expires_after(core_->limits.header_time);
        http::async_read_header(stream_, buffer_, *parser_, [self = me()](beast::error_code ec, std::size_t) {
            if (ec) return self->refuse(ec);
            self->on_header();
        });
    }

    void on_header() {
        const auto& head = parser_->get();
        std::size_t hosts = 0;
        for (const auto& field : head) hosts += field.name() == http::field::host;
        if (hosts > 1 || (hosts == 0 && head.version() >= 11)) return reject(400, "invalid_argument", "a request has exactly one Host header");
        if (beast::iequals(head[http::field::expect], "100-continue") && !parser_->is_done()) {
            static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
            stream_.expires_after(core_->limits.stuck_time);
            // 25 bytes into an empty socket buffer: written whole or not at all.
            return stream_.async_write_some(net::buffer(go_on), [self = me()](beast::error_code ec, std::size_t) {
                ec ? self->close() : self->read_body();
            });
        }
        read_body();
    }

    void read_body() {
        stream_.expires_after(core_->limits.body_time);
        http::async_read(stream_, buffer_, *parser_, [self = me()](beast::error_code ec, std::size_t) {
            if (ec) return self->refuse(ec);
            self->on_whole_request();
        });
    }

    void refuse(beast::error_code ec) {
        if (ec == beast::error::timeout) {
            ++core_->bad_requests;  // too slow
            return close();
        }
        if (ec == http::error::header_limit || ec == http::error::buffer_overflow)
            return reject(431, "invalid_argument", "the request headers are larger than " + std::to_string(core_->limits.header_bytes) + " bytes");
        if (ec == http::error::body_limit)
            return reject(413, "invalid_argument", "the request body is larger than " + std::to_string(core_->limits.body_bytes) + " bytes");
        if (ec == http::error::end_of_stream || ec == http::error::partial_message || ec.category() != http::make_error_code(http::error::bad_method).category())
            return close();
        reject(400, "invalid_argument", "this is not an HTTP/1.1 request: " + ec.message());
    }

    void reject(int status, std::string_view code, std::string_view message) {
        ++core_->bad_requests;
        keep_alive_ = false;
        linger_ = true;  // the peer may still be sending
        write_response(http_response::failure(status, code, message), false);
    }

    /// The plain form of the parsed request; false when its target cannot be understood.
    bool convert(http_request& out) {
        auto& in = parser_->get();
        out.method = std::string(in.method_string());
        out.target = std::string(in.target());
        const auto mark = out.target.find('?');
        auto path = percent_decode(std::string_view(out.target).substr(0, mark));
        if (!path || path->empty() || path->front() != '/') return false;
        out.path = std::move(*path);
        if (mark != std::string::npos) out.query = out.target.substr(mark + 1);
        for (const auto& field : in) {
            std::string name(field.name_string());
            for (char& c : name)
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
            out.headers.emplace_back(std::move(name), std::string(field.value()));
        }
        out.body = std::move(in.body());
        out.peer = peer_;
        return true;
    }

    void on_whole_request() {
        stream_.expires_never();
        ++core_->requests;
        keep_alive_ = parser_->get().keep_alive();
        http_request request;
        if (!convert(request)) return reject(400, "invalid_argument", "the request target is not a path");
        if (beast::websocket::is_upgrade(parser_->get())) return upgrade(request);
        const bool head = request.method == "HEAD";
        responder respond([c = core_, self = me(), head](http_response r) {
            c->post(self->executor_, [self, head, r = std::move(r)] { self->write_response(r, head); });
        });
        try {
            core_->handler.on_request(std::move(request), std::move(respond));
        } catch (...) {
            // The responder was moved into the handler or still here; either way its destructor answered 500.
        }
    }

    void upgrade(const http_request& request) {
        keep_alive_ = false;
        if (core_->phase == server_phase::stopping) return reject(503, "unavailable", "the server is stopping; connect again");
        upgrade_answer answer;
        try {
            answer = core_->handler.on_upgrade(request);
        } catch (...) {
            answer.refusal = http_response::failure(500, "internal", "the handshake failed; this is a defect, please report it");
        }
        if (!answer.handler) return write_response(answer.refusal, false);
        if (buffer_.size() > 0) return reject(400, "invalid_argument", "send nothing before the WebSocket handshake is answered");
        upgraded_ = true;
        start_websocket(core_, std::move(stream_), parser_->release(), std::move(answer));
    }

    void write_response(const http_response& r, bool head_only) {
        // What a client has sent ahead is answered before it is told to go.
        if (core_->phase == server_phase::stopping || (core_->phase == server_phase::leaving && !more_has_come())) keep_alive_ = false;
        head_ = "HTTP/1.1 " + std::to_string(r.status) + " ";
        head_ += reason_phrase(r.status);
        head_ += "\r\n";
        for (const auto& [name, value] : r.headers) {
            head_ += name;
            head_ += ": ";
            for (const char c : value)
                if (c != '\r' && c != '\n') head_ += c;
            head_ += "\r\n";
        }
        if (r.status != 204 && r.status != 304) head_ += "Content-Length: " + std::to_string(r.body ? r.body->size() : 0) + "\r\n";
        head_ += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
        body_ = head_only || r.status == 304 ? nullptr : r.body;
        written_ = 0;
        write();
    }

    void write() {
        const std::size_t total = head_.size() + (body_ ? body_->size() : 0);
        if (written_ == total) return written();
        std::array<net::const_buffer, 2> rest;
        if (written_ < head_.size()) {
            rest = {net::buffer(head_) + written_, body_ ? net::buffer(*body_) : net::const_buffer{}};
        } else {
            rest = {net::buffer(*body_) + (written_ - head_.size()), net::const_buffer{}};
        }
        stream_.expires_after(core_->limits.stuck_time);
        stream_.async_write_some(rest, [self = me()](beast::error_code ec, std::size_t n) {
            if (ec == beast::error::timeout) ++self->core_->slow_cut;
            if (ec) return self->close();
            self->written_ += n;
            self->write();
        });
    }

    void written() {
        body_.reset();
        if (keep_alive_) return await_request(core_->limits.idle_time);
        beast::error_code ignored;
        stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
        if (!linger_ || core_->phase == server_phase::stopping) return close();
        buffer_.clear();
        lingered_ = 0;
        lingering_ = true;
        stream_.expires_after(linger_time);
        linger();
    }

    void linger() {
        stream_.async_read_some(buffer_.prepare(first_read_bytes), [self = me()](beast::error_code ec, std::size_t n) {
            self->lingered_ += n;
            if (ec || self->lingered_ > linger_bytes || self->core_->phase == server_phase::stopping) return self->close();
            self->linger();
        });
    }

    // Owner: the strand of stream_.
    beast::tcp_stream stream_;  // moved away when upgraded_
    net::any_io_executor executor_;
    beast::flat_buffer buffer_;
    std::optional<http::request_parser<http::string_body>> parser_;
    std::string peer_, head_;
    std::shared_ptr<const std::string> body_;
    std::size_t written_ = 0, lingered_ = 0;
    bool keep_alive_ = true, linger_ = false, lingering_ = false, idle_ = false, leaves_ = false, upgraded_ = false;
};
}  // namespace
}  // namespace detail

using namespace detail;

struct http_server::impl {
    impl(http_handler& h, const server_limits& l)
        : c(std::make_shared<core>(h, l)), strand(net::make_strand(c->ioc)), acceptor(strand), retry(strand) {}

    void accept() {
        acceptor.async_accept(net::make_strand(c->ioc), [this](beast::error_code ec, tcp::socket socket) {
            if (ec && c->phase != server_phase::serving) return no_more();
            if (ec) return wait_and_accept();
            ++c->accepted;
            beast::error_code ignored;
            const auto remote = socket.remote_endpoint(ignored);
            socket.set_option(tcp::no_delay(true), ignored);
            const std::size_t open = c->open_connections();
            if (open < c->limits.max_connections + turned_away_at_once) {  // else: closed without a word
                auto connection = std::make_shared<http_connection>(c, std::move(socket), remote.address().to_string());
                open < c->limits.max_connections ? connection->start() : connection->turn_away();
            }
            if (open >= c->limits.max_connections) ++c->refused;
            c->phase == server_phase::serving ? accept() : no_more();
        });
    }
    /// Out of descriptors, or a client that left between SYN and accept: never spin.
    void wait_and_accept() {
        retry.expires_after(std::chrono::milliseconds(50));
        retry.async_wait([this](beast::error_code ec) {
            !ec && c->phase == server_phase::serving ? accept() : no_more();
        });
    }

    void no_more() { accepting = false; }
    void stop_accepting() {
        c->post(strand, [this] {
            beast::error_code ignored;
            acceptor.close(ignored);  // only this duplicate: who waits in the socket's backlog is accepted by another one
            retry.cancel();
        });
    }
    /// Does f, then lends a hand to whoever runs the loop, again and again until `over` or the deadline.
    template <class F, class Over>
    void repeat(std::chrono::steady_clock::time_point deadline, F f, Over over) {
        using clock = std::chrono::steady_clock;
        do {
            f();
            const auto again = std::min(deadline, clock::now() + std::chrono::milliseconds(10));
            while (!over() && clock::now() < again) c->ioc.run_one_for(std::chrono::milliseconds(10));
        } while (!over() && clock::now() < deadline);
    }
    // Told again and again: an upgrade replaces a connection by another, which was on no list a moment ago.
    template <class F>
    void tell_all(F f) {
        for (const auto& connection : c->connections()) f(*connection);
    }

    std::shared_ptr<core> c;
    net::strand<net::io_context::executor_type> strand;  // of the acceptor and its timer
    tcp::acceptor acceptor;
    net::steady_timer retry;
    unsigned short port = 0;
    std::string address;
    std::atomic<bool> accepting{true};  // until the last handler of the acceptor has run

    std::mutex runs_mutex;
    std::condition_variable runs_changed;
    int runs = 0;
    bool stopped = false;
};

http_server::http_server(std::shared_ptr<impl> i) : impl_(std::move(i)) {}
http_server::~http_server() { stop(std::chrono::milliseconds(0)); }

tl::expected<std::unique_ptr<http_server>, std::string> http_server::serve(const server_options& options, http_handler& handler) {
    auto i = std::make_shared<impl>(handler, options.limits);
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    beast::error_code ec;
    if (::getsockname(options.listener, reinterpret_cast<sockaddr*>(&at), &size) != 0) ec.assign(errno, boost::system::system_category());
    if (!ec) i->acceptor.assign(at.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), options.listener, ec);
    if (ec) {
        if (options.listener >= 0) ::close(options.listener);
        return tl::unexpected<std::string>("cannot accept from the socket given: " + ec.message());
    }
    const auto local = i->acceptor.local_endpoint(ec);
    i->port = local.port();
    i->address = local.address().to_string();
    net::post(i->strand, [raw = i.get()] { raw->accept(); });
    return std::unique_ptr<http_server>(new http_server(std::move(i)));
}

void http_server::run(const std::function<bool()>& go_on) {
    auto& i = *impl_;
    {
        const std::lock_guard lock(i.runs_mutex);
        if (i.stopped) return;
        ++i.runs;
    }
    struct leave {
        impl& i;
        ~leave() {
            const std::lock_guard lock(i.runs_mutex);
            --i.runs;
            i.runs_changed.notify_all();
        }
    } leaving{i};
    while (!i.c->finished && go_on()) i.c->ioc.run_for(std::chrono::milliseconds(100));
}

void http_server::drain(std::chrono::steady_clock::time_point deadline) {
    using clock = std::chrono::steady_clock;
    auto& i = *impl_;
    auto& c = *i.c;
    auto serving = server_phase::serving;
    if (!c.phase.compare_exchange_strong(serving, server_phase::leaving)) return;
    i.stop_accepting();
    const auto begin = clock::now();
    const auto idle_until = begin + (deadline - begin) / idle_part;
    i.repeat(deadline, [&] { i.tell_all([idle_too = clock::now() >= idle_until](connection& x) { x.leave(idle_too); }); },
             [&] { return !i.accepting && c.open_connections() == 0; });
}

void http_server::stop(std::chrono::milliseconds grace) {
    using clock = std::chrono::steady_clock;
    auto& i = *impl_;
    {
        const std::lock_guard lock(i.runs_mutex);
        if (std::exchange(i.stopped, true)) return;
    }
    auto& c = *i.c;
    c.phase = server_phase::stopping;
    i.stop_accepting();
    const auto gone = [&] { return c.open_connections() == 0; };
    i.repeat(clock::now() + grace, [&] { i.tell_all([](connection& x) { x.drain(); }); }, gone);
    i.repeat(clock::now() + std::chrono::seconds(2), [&] { i.tell_all([](connection& x) { x.abort(); }); }, gone);
    // Late responders keep a connection alive but can no longer reach the loop; what is queued in it runs out here.
    c.close_gate();
    c.finished = true;
    c.guard.reset();
    c.ioc.stop();
    std::unique_lock lock(i.runs_mutex);
    const bool alone = i.runs_changed.wait_for(lock, std::chrono::seconds(5), [&] { return i.runs == 0; });
    if (!alone) return;  // a handler blocks; the loop stays as it is rather than being run from two owners
    c.ioc.restart();
    for (int round = 0; round < 1000 && c.ioc.poll() > 0; ++round) {
    }
}

void http_server::post(std::function<void()> f) { impl_->c->post(impl_->c->ioc.get_executor(), std::move(f)); }

unsigned short http_server::port() const { return impl_->port; }
std::string http_server::address() const { return impl_->address; }

server_counters http_server::counters() const {
    const auto& c = *impl_->c;
    return {c.accepted, c.refused, c.requests, c.upgrades, c.bad_requests, c.slow_cut, c.open_connections()};
}

}  // namespace holdfast::web
