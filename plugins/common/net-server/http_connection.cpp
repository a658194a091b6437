// One HTTP/1.1 client: its requests one after the other, answered whole or in pieces.
#include <sys/socket.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include <charconv>

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
constexpr std::size_t linger_bytes = 8 * 1024 * 1024;
constexpr std::string_view comment = ":\n\n";          // server-sent events' way of saying nothing
constexpr std::string_view last_chunk = "0\r\n\r\n";

std::string_view reason_phrase(int status) {
    const auto text = http::obsolete_reason(static_cast<http::status>(status));
    return {text.data(), text.size()};
}

/// A streamed answer between its writer, on any thread, and its connection's strand.
struct flow {
    flow(bool chunks, bool has_no_end) : chunked(chunks), endless(has_no_end) {}
    const bool chunked;  // HTTP/1.1; else the end of the connection is the end of the body
    const bool endless;
    std::mutex mutex;    // guards what follows
    std::string pending;
    std::size_t in_flight = 0;
    bool scheduled = false;  // the connection will look
    bool ended = false, gone = false;

    // mutex held.
    void append(std::string_view bytes) {
        if (!chunked) return static_cast<void>(pending.append(bytes));
        char size[2 * sizeof(std::size_t)];
        const auto end = std::to_chars(size, size + sizeof size, bytes.size(), 16).ptr;
        pending.append(size, end).append("\r\n").append(bytes).append("\r\n");
    }
    // mutex held.
    void finish() {
        ended = true;
        if (chunked) pending.append(last_chunk);
    }
};

class http_connection final : public connection {
  public:
    http_connection(std::shared_ptr<core> c, tcp::socket&& socket, std::string peer)
        : connection(std::move(c)), stream_(std::move(socket)), executor_(stream_.get_executor()), buffer_(read_buffer_bytes), peer_(std::move(peer)),
          idle_timer_(executor_), comment_timer_(executor_) {}

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
            self->end_endless();
            if (!self->idle_) return;
            self->leaves_ = true;
            self->stream_.cancel();  // the reader looks whether a request has come at the last moment
        });
    }
    void drain() override {
        core_->post(executor_, [self = me()] {
            self->keep_alive_ = false;
            self->end_endless();
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
        idle_timer_.cancel();
        comment_timer_.cancel();
        delist();
        if (const auto f = std::exchange(flow_, nullptr)) {
            const std::lock_guard lock(f->mutex);
            f->gone = true;
        }
        tell_gone();
    }
    void tell_gone() {
        if (const auto gone = std::exchange(gone_, nullptr)) gone();
    }

    /// The writer's end of a flow.
    class outlet final : public response_stream {
      public:
        outlet(std::shared_ptr<core> c, std::shared_ptr<http_connection> to, std::shared_ptr<flow> f) : core_(std::move(c)), to_(std::move(to)), flow_(std::move(f)) {}
        ~outlet() override {
            {
                const std::lock_guard lock(flow_->mutex);
                if (flow_->ended || flow_->gone) return;
            }
            cut();
        }
        bool write(std::string_view bytes) override {
            bool full = false, look = false;
            {
                const std::lock_guard lock(flow_->mutex);
                if (flow_->ended || flow_->gone) return false;
                if (bytes.empty()) return true;
                full = flow_->pending.size() + flow_->in_flight + bytes.size() > core_->limits.reply_queue_bytes;
                if (full) flow_->gone = true;
                else flow_->append(bytes), look = !std::exchange(flow_->scheduled, true);
            }
            if (full) {
                ++core_->slow_cut;
                cut();
                return false;
            }
            return !look || core_->post(to_->executor_, [to = to_, f = flow_] { to->pump(f); });
        }
        void end() override {
            bool look = false;
            {
                const std::lock_guard lock(flow_->mutex);
                if (flow_->ended || flow_->gone) return;
                flow_->finish();
                look = !std::exchange(flow_->scheduled, true);
            }
            if (look) core_->post(to_->executor_, [to = to_, f = flow_] { to->pump(f); });
        }

      private:
        void cut() {
            core_->post(to_->executor_, [to = to_, f = flow_] {
                if (to->flow_ == f) to->close();
            });
        }
        std::shared_ptr<core> core_;
        std::shared_ptr<http_connection> to_;
        std::shared_ptr<flow> flow_;  // shared with the connection
    };

    /// Where the handler's answer to one request goes.
    class answers final : public answer_sink {
      public:
        answers(std::shared_ptr<core> c, std::shared_ptr<http_connection> to, bool head_only, bool chunked)
            : core_(std::move(c)), to_(std::move(to)), head_only_(head_only), chunked_(chunked) {}
        void answer(http_response r) override {
            core_->post(to_->executor_, [to = to_, head_only = head_only_, r = std::move(r)] { to->write_response(r, head_only); });
        }
        std::shared_ptr<response_stream> stream(http_response head, bool endless) override {
            auto f = std::make_shared<flow>(chunked_, endless);
            f->scheduled = true;
            core_->post(to_->executor_, [to = to_, f, r = std::move(head)] { to->start_stream(f, r); });
            return std::make_shared<outlet>(core_, to_, std::move(f));
        }
        void on_gone(std::function<void()> f) override {
            to_->gone_ = std::move(f);
            to_->watch();
        }

      private:
        std::shared_ptr<core> core_;
        std::shared_ptr<http_connection> to_;
        const bool head_only_, chunked_;
    };
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
        if (watching_) {  // the watch tells of the next request as well
            idle_until_ = std::chrono::steady_clock::now() + patience;
            if (!idle_armed_) arm_idle_timer();
            return;
        }
        stream_.expires_after(patience);
        stream_.async_read_some(buffer_.prepare(first_read_bytes), [self = me(), patience](beast::error_code ec, std::size_t n) {
            self->idle_ = false;
            if (ec == net::error::operation_aborted && self->leaves_ && self->more_has_come()) return self->await_request(patience);
            if (ec) return self->close();
            self->buffer_.commit(n);
            self->read_header();
        });
    }

    /// Looks out for the end of the client. A timer that is only moved when it fires costs nothing per request.
    void watch() {
        if (std::exchange(watching_, true)) return;
        stream_.socket().async_wait(tcp::socket::wait_read, [self = me()](beast::error_code ec) {
            self->watching_ = false;
            if (!self->stream_.socket().is_open() || self->upgraded_) return;
            if (std::exchange(self->idle_, false)) {
                if (ec && !(self->leaves_ && self->more_has_come())) return self->close();
                return self->read_header();
            }
            if (!self->gone_) return;  // another request's
            // What it sends ahead is taken: behind it its end would not be seen. One that fills the buffer is looked at when it is answered.
            const auto room = std::min(first_read_bytes, self->buffer_.max_size() - self->buffer_.size());
            if (room == 0) return;
            const auto n = ::recv(self->stream_.socket().native_handle(), self->buffer_.prepare(room).data(), room, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return self->close();
            if (n > 0) self->buffer_.commit(static_cast<std::size_t>(n));
            self->watch();
        });
    }
    void arm_idle_timer() {
        idle_armed_ = true;
        idle_timer_.expires_at(idle_until_);
        idle_timer_.async_wait([self = me()](beast::error_code ec) {
            self->idle_armed_ = false;
            if (ec || !self->idle_) return;
            if (std::chrono::steady_clock::now() >= self->idle_until_) return self->close();
            self->arm_idle_timer();
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
        if (!stream_.socket().is_open()) return;  // sent ahead, and then its sender left
        stream_.expires_never();
        ++core_->requests;
        keep_alive_ = parser_->get().keep_alive();
        http_request request;
        if (!convert(request)) return reject(400, "invalid_argument", "the request target is not a path");
        if (beast::websocket::is_upgrade(parser_->get())) return upgrade(request);
        responder respond(std::make_shared<answers>(core_, me(), request.method == "HEAD", parser_->get().version() >= 11));
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

    void begin_head(const http_response& r) {
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
    }

    void start_stream(const std::shared_ptr<flow>& f, const http_response& r) {
        if (!stream_.socket().is_open()) {
            const std::lock_guard lock(f->mutex);
            return static_cast<void>(f->gone = true);
        }
        if (!f->chunked) keep_alive_ = false;
        begin_head(r);
        if (f->chunked) head_ += "Transfer-Encoding: chunked\r\n";
        head_ += keep_alive_ ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
        flow_ = f;
        if (f->endless && core_->phase != server_phase::serving) return end_endless();
        pump(f);
        if (!comment_armed_) arm_comment_timer();
    }
    /// Sends what is waiting, unless something is on its way already.
    void pump(const std::shared_ptr<flow>& f) {
        if (!f || f != flow_ || sending_) return;  // closed meanwhile, or at it
        bool over = false;
        body_text_.clear();
        {
            const std::lock_guard lock(f->mutex);
            f->scheduled = false;
            body_text_.swap(f->pending);
            f->in_flight = body_text_.size();
            over = f->ended;
        }
        if (head_.empty() && body_text_.empty()) return over ? written() : void();
        sending_ = true;
        written_ = 0;
        last_sent_ = std::chrono::steady_clock::now();
        write_pieces();
    }
    void write_pieces() {
        const std::size_t total = head_.size() + body_text_.size();
        if (written_ == total) {
            sending_ = false;
            head_.clear();
            return pump(flow_);
        }
        const std::size_t of_head = std::min(written_, head_.size());
        const std::array<net::const_buffer, 2> rest{net::buffer(head_) + of_head, net::buffer(body_text_) + (written_ - of_head)};
        stream_.expires_after(core_->limits.stuck_time);
        stream_.async_write_some(rest, [self = me()](beast::error_code ec, std::size_t n) {
            if (ec == beast::error::timeout) ++self->core_->slow_cut;
            if (ec) return self->close();
            self->written_ += n;
            self->write_pieces();
        });
    }
    /// A stream without an end of its own ends here; its writer hears that nobody listens.
    void end_endless() {
        if (!flow_ || !flow_->endless) return;
        {
            const std::lock_guard lock(flow_->mutex);
            if (flow_->ended || flow_->gone) return;
            flow_->finish();
            flow_->gone = true;
        }
        keep_alive_ = false;
        tell_gone();
        pump(flow_);
    }
    /// Moved only when it fires, as the idle timer.
    void arm_comment_timer() {
        comment_armed_ = true;
        comment_timer_.expires_at(last_sent_ + core_->limits.comment_time);
        comment_timer_.async_wait([self = me()](beast::error_code ec) {
            self->comment_armed_ = false;
            const auto f = self->flow_;
            if (ec || !f) return;
            if (std::chrono::steady_clock::now() >= self->last_sent_ + self->core_->limits.comment_time) {
                if (!self->sending_) {
                    {
                        const std::lock_guard lock(f->mutex);
                        if (!f->ended) f->append(comment);
                    }
                    self->pump(f);
                }
                self->last_sent_ = std::chrono::steady_clock::now();
            }
            if (self->stream_.socket().is_open()) self->arm_comment_timer();
        });
    }

    void write_response(const http_response& r, bool head_only) {
        if (!stream_.socket().is_open()) return;
        begin_head(r);
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
        flow_.reset();
        gone_ = nullptr;
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
    std::string peer_, head_, body_text_;
    std::shared_ptr<const std::string> body_;
    std::shared_ptr<flow> flow_;  // of the answer under way, if it is streamed
    std::function<void()> gone_;  // whoever answers wants to know
    net::steady_timer idle_timer_, comment_timer_;
    std::chrono::steady_clock::time_point idle_until_, last_sent_;
    bool watching_ = false, idle_armed_ = false, comment_armed_ = false, sending_ = false;
    std::size_t written_ = 0, lingered_ = 0;
    bool keep_alive_ = true, linger_ = false, lingering_ = false, idle_ = false, leaves_ = false, upgraded_ = false;
};
}  // namespace

void start_http(std::shared_ptr<core> c, tcp::socket&& socket, std::string peer, bool turned_away) {
    auto made = std::make_shared<http_connection>(std::move(c), std::move(socket), std::move(peer));
    turned_away ? made->turn_away() : made->start();
}

}  // namespace detail
}  // namespace holdfast::web
