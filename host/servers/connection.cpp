#include "servers/connection.hpp"

#include <mutex>

#include "holdfast/status.hpp"
#include "kernel/plugins/call_port.hpp"

namespace holdfast::servers {
namespace {
std::atomic<std::uint64_t> next_connection{1};  // unique in the process, hence unique per transport instance

error from_plugin(std::int32_t code, const hf_error* err) {
    const auto s = sdk::from_error(code, err);
    error out{errc_of(code), s.message.empty() ? "the transport gave no reason" : s.message};
    out.retry_after = s.retry_after;
    return out;
}
}  // namespace

errc errc_of(std::int32_t code) noexcept {
    switch (code) {
        case HF_E_INVALID: return errc::invalid_argument;
        case HF_E_NOT_FOUND: return errc::transport_lost;  // the connection is gone
        case HF_E_EXISTS: return errc::already_exists;
        case HF_E_TIMEOUT: return errc::timeout;
        case HF_E_CANCELLED: return errc::cancelled;
        case HF_E_STATE:
        case HF_E_UNAVAILABLE: return errc::unavailable;
        case HF_E_OVERLOADED: return errc::overloaded;
        case HF_E_TRANSPORT: return errc::transport_lost;
        case HF_E_PROTOCOL: return errc::protocol_error;
        case HF_E_PEER: return errc::server_error;
        case HF_E_IO: return errc::io_error;
        case HF_E_AUTH: return errc::unauthorized;
        case HF_E_RATE_LIMITED: return errc::rate_limited;
        case HF_E_COMMAND_NOT_FOUND: return errc::command_not_found;
        default: return errc::plugin_failed;
    }
}

struct connection::shared {
    plugins::bound<hf_transport> transport;
    std::uint64_t id = 0;
    milliseconds grace{0};
    receiver report;
    std::atomic<std::size_t> bytes{0}, messages{0};
    std::atomic<bool> flooded{false}, over{false}, closing{false};
    plugins::end_watch plugin_end;         // a plugin that crashed says nothing more
    std::shared_ptr<shared> of_transport;  // the transport's share. Owner: open() until it succeeded, then on_closed

    void tell(transport_report r) {
        try {
            report(id, std::move(r));
        } catch (...) {  // T1: nothing unwinds into a plugin; the actor behind it is gone or out of memory
        }
    }
    static shared& at(void* ctx) { return *static_cast<shared*>(ctx); }

    static void on_open(void* ctx, hf_bytes info) noexcept {
        auto parsed = parse_json(sdk::view(info));
        at(ctx).tell(heard::opened{parsed ? std::move(*parsed) : json::object()});
    }
    static void on_message(void* ctx, hf_bytes message) noexcept {
        shared& s = at(ctx);
        const std::size_t queued = s.bytes.fetch_add(message.length) + message.length;
        if (queued > max_queued_bytes || s.messages.fetch_add(1) + 1 > max_queued_messages) {
            if (!s.flooded.exchange(true)) s.tell(heard::flooded{});
            return;
        }
        if (s.flooded.load()) return;
        s.tell(heard::message{std::string(sdk::view(message))});
    }
    static void on_request_failed(void* ctx, hf_bytes id, const hf_error* err) noexcept {
        at(ctx).tell(heard::request_failed{std::string(sdk::view(id)), from_plugin(err ? err->code : HF_E_TRANSPORT, err),
                                           err ? err->peer_status : 0});
    }
    static void on_log(void* ctx, hf_str line) noexcept { at(ctx).tell(heard::log{std::string(sdk::view(line))}); }
    static void on_closed(void* ctx, const hf_error* err) noexcept {
        shared& s = at(ctx);
        const auto keep = std::move(s.of_transport);
        if (s.over.exchange(true)) return;
        s.tell(heard::closed{err == nullptr, err ? from_plugin(err->code, err) : error{errc::cancelled, "closed by the host"}});
    }
};

result<std::unique_ptr<connection>> connection::open(plugins::bound<hf_transport> transport, const json& config, milliseconds grace,
                                                     receiver r) {
    auto s = std::make_shared<shared>();
    s->transport = std::move(transport);
    s->id = next_connection.fetch_add(1);
    s->grace = grace;
    s->report = std::move(r);
    s->of_transport = s;
    const hf_transport_sink sink{sizeof sink, 0, s.get(), &shared::on_open, &shared::on_message, &shared::on_request_failed,
                                 &shared::on_log, &shared::on_closed};
    const std::string text = dump(config);
    hf_error err = sdk::empty_error();
    const std::int32_t rc = plugins::invoke(
        s->transport, [&](const hf_transport& t, void* self) { return t.open(self, s->id, sdk::bytes(text), &sink, &err); });
    if (rc != HF_OK) {
        s->of_transport.reset();  // no callback follows
        return tl::unexpected(from_plugin(rc, &err));
    }
    s->plugin_end = plugins::end_watch(s->transport.lease, [weak = std::weak_ptr(s)](const std::string& why) {
        auto alive = weak.lock();
        if (!alive || alive->over.exchange(true)) return;
        alive->tell(heard::closed{false, {errc::transport_lost, "the transport plugin ended: " + why}});
    });
    return std::unique_ptr<connection>(new connection(std::move(s)));
}

connection::~connection() { close(); }

std::uint64_t connection::id() const noexcept { return shared_->id; }

result<void> connection::send(const std::string& message) {
    if (shared_->over.load()) return fail(errc::transport_lost, "the connection is closed");
    hf_error err = sdk::empty_error();
    const std::int32_t rc = plugins::invoke(
        shared_->transport, [&](const hf_transport& t, void* self) { return t.send(self, shared_->id, sdk::bytes(message), &err); });
    if (rc != HF_OK) return tl::unexpected(from_plugin(rc, &err));
    return {};
}

void connection::abandon(const std::string& id) {
    if (shared_->over.load() || !shared_->transport.table->abandon) return;
    plugins::invoke(shared_->transport, [&](const hf_transport& t, void* self) { t.abandon(self, shared_->id, sdk::bytes(id)); });
}

void connection::set_grace(milliseconds grace) noexcept { shared_->grace = grace; }

void connection::close() {
    if (shared_->over.load() || shared_->closing.exchange(true)) return;
    // Real time: the deadline is the transport's to keep, whatever clock the actors run on.
    const auto deadline = std::chrono::steady_clock::now() + shared_->grace;
    plugins::invoke(shared_->transport, [&](const hf_transport& t, void* self) { t.close(self, shared_->id, sdk::to_ns(deadline)); });
}

void connection::consumed(std::size_t n) noexcept {
    shared_->bytes.fetch_sub(n);
    shared_->messages.fetch_sub(1);
}

}  // namespace holdfast::servers
