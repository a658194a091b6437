// One WebSocket client: a reader that pauses while its own output is full, and a writer that notices when nobody reads.
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>

#include "net-server/connection.hpp"

namespace holdfast::web::detail {
namespace {
namespace ws = beast::websocket;
namespace http = beast::http;
constexpr auto close_time = std::chrono::seconds(5);  // for the peer's part of a handshake or a goodbye
constexpr std::size_t write_piece = 16 * 1024;  // bytes per frame: progress of a large message is seen piece by piece

class websocket_connection final : public connection, public websocket {
  public:
    websocket_connection(std::shared_ptr<core> c, beast::tcp_stream&& stream, std::shared_ptr<websocket_handler> handler)
        : connection(std::move(c)), ws_(std::move(stream)), executor_(ws_.get_executor()), stuck_(executor_), goodbye_(executor_), handler_(std::move(handler)) {}

    void start(http::request<http::string_body>&& request, std::string protocol) {
        enlist();
        beast::get_lowest_layer(ws_).expires_never();
        ws::stream_base::timeout t;
        t.handshake_timeout = close_time;
        t.idle_timeout = core_->limits.ping_time;
        t.keep_alive_pings = true;
        ws_.set_option(t);
        ws_.read_message_max(core_->limits.message_bytes);
        // A peer that says goodbye must also hang up: Beast itself would wait for that without a limit.
        ws_.control_callback([this](ws::frame_type kind, beast::string_view) {
            if (kind == ws::frame_type::close) cut_after(close_time);
        });
        if (!protocol.empty())
            ws_.set_option(ws::stream_base::decorator(
                [protocol = std::move(protocol)](ws::response_type& r) { r.set(http::field::sec_websocket_protocol, protocol); }));
        ws_.async_accept(request, [self = me()](beast::error_code ec) {
            if (ec || self->done_) return self->finish();  // done: cut while the success was on its way
            self->accepted_ = true;
            if (self->close_wanted_) return self->send_close();  // stopped during the handshake
            ++self->core_->upgrades;
            self->guarded([&] { self->handler_->on_open(self); });
            self->read();
        });
    }

    bool send(std::shared_ptr<const std::string> text) override { return push(std::move(text), core_->limits.queue_bytes); }

    void reply(std::shared_ptr<const std::string> text) override {
        if (push(std::move(text), core_->limits.reply_queue_bytes)) return;
        const std::lock_guard lock(mutex_);
        if (!closed_ && queued_ >= core_->limits.reply_queue_bytes) {
            ++core_->slow_cut;
            closed_ = true;
            core_->post(executor_, [self = me()] { self->cut(); });
        }
    }

    void close(std::uint16_t code, std::string reason) override {
        core_->post(executor_, [self = me(), code, reason = std::move(reason)] { self->begin_close(code, reason); });
    }

    std::size_t queued() const override {
        const std::lock_guard lock(mutex_);
        return queued_;
    }

    void leave(bool) override {
        core_->post(executor_, [self = me()] {
            if (self->handler_ && !self->handler_->busy()) self->begin_close(1001, "the server is going away; connect again");
        });
    }
    void drain() override { close(1001, "the server is stopping; connect again"); }
    void abort() override {
        core_->post(executor_, [self = me()] { self->cut(); });
    }

  private:
    std::shared_ptr<websocket_connection> me() { return std::static_pointer_cast<websocket_connection>(shared_from_this()); }

    /// A handler that throws loses its client, not the server.
    template <class F>
    void guarded(F&& f) {
        try {
            f();
        } catch (...) {
            begin_close(1011, "internal error");
        }
    }

    bool push(std::shared_ptr<const std::string> text, std::size_t limit) {
        const std::lock_guard lock(mutex_);
        if (closed_ || queued_ >= limit) return false;
        queued_ += text->size();
        queue_.push_back(std::move(text));
        if (!writing_) {
            writing_ = true;
            core_->post(executor_, [self = me()] { self->write(); });
        }
        return true;
    }

    // Everything below: [strand]
    void read() {
        if (done_ || closing_) return;
        {
            const std::lock_guard lock(mutex_);
            if (queued_ >= core_->limits.queue_bytes) {
                paused_ = true;
                return;
            }
        }
        reading_ = true;
        ws_.async_read(buffer_, [self = me()](beast::error_code ec, std::size_t) {
            self->reading_ = false;
            if (ec || self->done_) return self->finish();
            if (self->closing_) return;
            if (!self->ws_.got_text()) return self->begin_close(1003, "text messages only");
            const auto data = self->buffer_.cdata();
            self->guarded([&] { self->handler_->on_message({static_cast<const char*>(data.data()), data.size()}); });
            self->buffer_.consume(self->buffer_.size());
            self->read();
        });
    }

    void write() {
        std::shared_ptr<const std::string> text;
        {
            const std::lock_guard lock(mutex_);
            if (queue_.empty() || done_) {
                writing_ = false;
                queue_.clear();
                queued_ = 0;
            } else {
                text = queue_.front();
            }
        }
        if (!text) {
            if (close_wanted_ && !closing_) send_close();
            return;
        }
        const std::size_t n = std::min(write_piece, text->size() - written_);
        const bool last = written_ + n == text->size();
        stuck_.expires_after(core_->limits.stuck_time);
        stuck_.async_wait([self = me()](beast::error_code ec) {
            if (ec || self->done_) return;
            ++self->core_->slow_cut;
            self->cut();
        });
        ws_.text(true);
        ws_.async_write_some(last, net::const_buffer(text->data() + written_, n), [self = me(), n, last, text](beast::error_code ec, std::size_t) {
            self->stuck_.cancel();
            if (ec) return self->finish();
            self->written_ += n;
            bool resume = false;
            {
                const std::lock_guard lock(self->mutex_);
                self->queued_ -= n;
                if (last) {
                    self->queue_.pop_front();
                    self->written_ = 0;
                }
                resume = self->paused_ && self->queued_ < self->core_->limits.queue_bytes;
                if (resume) self->paused_ = false;
            }
            if (resume) self->read();
            self->write();
        });
    }

    void begin_close(std::uint16_t code, std::string reason) {
        if (done_ || close_wanted_) return;
        close_wanted_ = true;
        close_reason_ = ws::close_reason(static_cast<ws::close_code>(code), reason.substr(0, 120));
        bool idle = false;
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;  // what is queued still goes out, nothing new
            idle = !writing_;
        }
        if (idle && accepted_) send_close();
    }

    void send_close() {
        closing_ = true;
        cut_after(close_time);
        ws_.async_close(close_reason_, [self = me()](beast::error_code) { self->finish(); });
    }

    void cut_after(std::chrono::milliseconds time) {
        goodbye_.expires_after(time);
        goodbye_.async_wait([self = me()](beast::error_code ec) {
            if (!ec) self->cut();
        });
    }

    void cut() {
        beast::get_lowest_layer(ws_).close();
        if (!reading_) finish();
    }

    void finish() {
        if (std::exchange(done_, true)) return;
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            if (!writing_) {
                queue_.clear();
                queued_ = 0;
            }
        }
        stuck_.cancel();
        goodbye_.cancel();
        delist();
        beast::get_lowest_layer(ws_).close();
        if (auto handler = std::exchange(handler_, nullptr)) {
            try {
                handler->on_close();
            } catch (...) {
            }
        }
    }

    ws::stream<beast::tcp_stream, false> ws_;
    net::any_io_executor executor_;
    net::steady_timer stuck_, goodbye_;
    beast::flat_buffer buffer_;
    std::shared_ptr<websocket_handler> handler_;  // shared with whoever publishes to this client
    ws::close_reason close_reason_;
    std::size_t written_ = 0;  // of the front message
    bool accepted_ = false, reading_ = false, paused_ = false, close_wanted_ = false, closing_ = false, done_ = false;

    mutable std::mutex mutex_;  // guards the four below
    std::deque<std::shared_ptr<const std::string>> queue_;
    std::size_t queued_ = 0;
    bool writing_ = false;  // a write() is posted or under way
    bool closed_ = false;   // takes no more messages
};
}  // namespace

void start_websocket(std::shared_ptr<core> c, beast::tcp_stream&& stream, http::request<http::string_body>&& request, upgrade_answer answer) {
    auto connection = std::make_shared<websocket_connection>(std::move(c), std::move(stream), std::move(answer.handler));
    connection->start(std::move(request), std::move(answer.protocol));
}

}  // namespace holdfast::web::detail
