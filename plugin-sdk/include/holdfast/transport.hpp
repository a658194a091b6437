#pragma once
// A transport of JSON-RPC messages (hf.transport/1) in C++.
#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "holdfast/ext/transport.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

/// Where a connection reports. Copyable: every copy speaks for the same connection. closed() reaches the host exactly once;
/// when the last copy goes without it, the host is told that the connection was lost. The other functions do nothing after
/// closed(). Call them for one connection from one thread at a time.
class transport_sink {
  public:
    transport_sink() = default;
    explicit transport_sink(const hf_transport_sink* raw) : state_(std::make_shared<shared>(read_struct(raw))) {}

    void opened(std::string_view info_json) const {
        if (live()) state_->raw.on_open(state_->raw.ctx, bytes(info_json));
    }
    void message(std::string_view json_rpc) const {
        if (live()) state_->raw.on_message(state_->raw.ctx, bytes(json_rpc));
    }
    /// One that came on the stream of that request (Streamable HTTP): the host then knows which call it is about.
    void message_of(std::string_view request_id_json, std::string_view json_rpc) const { message(std::string(request_id_json).append(1, '\n').append(json_rpc)); }
    void request_failed(std::string_view request_id_json, const status& s) const {
        if (!live()) return;
        hf_error err = empty_error();
        fill(&err, s);
        state_->raw.on_request_failed(state_->raw.ctx, bytes(request_id_json), &err);
    }
    void log(std::string_view line) const {
        if (live()) state_->raw.on_log(state_->raw.ctx, str(line));
    }
    /// By close() (no status) or lost (the status says how).
    void closed(const status& s = {}) const {
        if (state_) state_->close(s);
    }
    bool is_closed() const { return !live(); }
    explicit operator bool() const { return state_ != nullptr; }

  private:
    friend class transport;
    struct shared {
        hf_transport_sink raw;
        std::atomic<bool> closed{false};
        explicit shared(const hf_transport_sink& r) : raw(r) {}
        ~shared() {
            guard(nullptr, [&] { close({HF_E_TRANSPORT, "the transport dropped the connection"}); });
        }
        void close(const status& s) {
            if (closed.exchange(true, std::memory_order_acq_rel)) return;
            if (s.ok()) return raw.on_closed(raw.ctx, nullptr);
            hf_error err = empty_error();
            fill(&err, s);
            raw.on_closed(raw.ctx, &err);
        }
    };
    bool live() const { return state_ && !state_->closed.load(std::memory_order_acquire); }
    void disarm() const { state_->closed.store(true, std::memory_order_release); }
    std::shared_ptr<shared> state_;  // owners: every copy of the sink
};

class transport : public plugin {
  public:
    using plugin::plugin;

    /// [any & active] Starts opening; opened() or closed() follows. If it throws, the sink must not have been used.
    virtual void open(std::uint64_t conn, std::string_view config_json, transport_sink sink) = 0;
    /// [any & active] Queues one message. Throw plugin_error: HF_E_OVERLOADED, HF_E_NOT_FOUND when closed.
    virtual void send(std::uint64_t conn, std::string_view message) = 0;
    /// [any & active] Nobody waits for this request any more.
    virtual void abandon(std::uint64_t /*conn*/, std::string_view /*request_id_json*/) {}
    /// [any & active|quiescing] Graceful until the deadline, then forced; closed() follows.
    virtual void close(std::uint64_t conn, time_point deadline) = 0;

    const void* find_ext(std::string_view id) override {
        static constexpr hf_transport table{sizeof(hf_transport), 0, &on_open, &on_send, &on_abandon, &on_close};
        return id == HF_EXT_TRANSPORT ? &table : nullptr;
    }

  private:
    static transport& at(void* self) { return static_cast<transport&>(*static_cast<plugin*>(self)); }
    static std::int32_t on_open(void* self, std::uint64_t conn, hf_bytes config, const hf_transport_sink* raw, hf_error* err) noexcept {
        return guard(err, [&] {
            const transport_sink sink(raw);
            try {
                at(self).open(conn, view(config), sink);
            } catch (...) {
                sink.disarm();  // an error was returned: no callback follows
                throw;
            }
        });
    }
    static std::int32_t on_send(void* self, std::uint64_t conn, hf_bytes message, hf_error* err) noexcept {
        return guard(err, [&] { at(self).send(conn, view(message)); });
    }
    static void on_abandon(void* self, std::uint64_t conn, hf_bytes request_id) noexcept {
        guard(nullptr, [&] { at(self).abandon(conn, view(request_id)); });
    }
    static void on_close(void* self, std::uint64_t conn, std::int64_t deadline_ns) noexcept {
        guard(nullptr, [&] { at(self).close(conn, to_time(deadline_ns)); });
    }
};

}  // namespace holdfast::sdk
