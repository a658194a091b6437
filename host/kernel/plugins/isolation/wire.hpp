#pragma once
// What host and runner say to each other: one frame = one kind and a list of fields, in this machine's byte order (both ends are this
// binary on this machine). Everything a runner sends is read with a frame_reader, which never trusts a length.
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "holdfast/abi/base.h"

namespace holdfast::plugins::isolation {

inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::size_t inline_bytes = 48u << 10;      ///< a longer frame travels in a sealed memfd
inline constexpr std::size_t max_frame_bytes = 256u << 20;  ///< nothing longer is accepted

/// What a frame says. `→` host to runner, `←` runner to host. Calls and control wait for their reply; tell never does.
enum class kind : std::uint16_t {
    reply = 1,  ///< rc, [hf_error if rc < 0], then what the request's comment says. Also: threw(text)
    threw,      ///< an exception came out of the plugin

    // control → (one at a time)
    hello = 16,  ///< version, instance, file, data dir, log level, thread prefix, sandbox JSON → effective sandbox JSON
    create,      ///< settings, what the host does not offer → table_shape of the instance
    init,
    start,
    quiesce,     ///< deadline
    stop,
    destroy,
    find_ext,    ///< id → table_shape, all zero when there is none
    ui_describe, ui_export, ui_import,  ///< [state] → text
    own_threads,  ///< → names of the threads that the plugin started itself

    // calls → (any thread, short)
    submit = 64,  ///< ext, call, deadline, method, request
    cancel,       ///< ext, call
    conn_open, conn_send, conn_abandon, conn_close,
    policy_open, policy_close, breaker_permit, breaker_report, breaker_state, breaker_force,
    health_observe, health_verdict, health_reset,

    // services ← (the plugin asks its host)
    worker_start = 128,  ///< worker, name, restart, heartbeat, shutdown
    worker_stop, worker_wake,
    publish, subscribe, unsubscribe,
    spawn, process_write, process_stop, process_stats,
    api_submit, api_cancel, api_describe, api_authenticate,
    listen,  ///< address, port → with the socket

    // tell ←
    call_chunk = 192, call_done,
    conn_opened, conn_message, conn_request_failed, conn_log, conn_closed,
    log_line, metric, worker_ended, worker_beat, escaped,

    // tell →
    worker_run = 224, worker_please_stop, api_done, event, process_stdout, process_stderr, process_overflow, process_exited, log_level, api_chunk,
};

/// "start", "submit" … for messages.
const char* name_of(kind k) noexcept;

/// A table as the plugin made it, before what it lacks was filled in.
struct table_shape {
    std::uint32_t size = 0;    ///< what its size field says
    std::uint64_t filled = 0;  ///< bit n: pointer n after the eight bytes of the head is there and not null
};

class frame_writer {
  public:
    explicit frame_writer(kind k) { put(static_cast<std::uint16_t>(k)); }
    template <class T>
        requires std::is_arithmetic_v<T>
    frame_writer& put(T v) {
        const auto at = data_.size();
        data_.resize(at + sizeof v);
        std::memcpy(data_.data() + at, &v, sizeof v);
        return *this;
    }
    frame_writer& text(std::string_view s) {
        put(static_cast<std::uint32_t>(s.size()));
        data_.append(s);
        return *this;
    }
    frame_writer& text(hf_str s) { return text(std::string_view(s.data ? s.data : "", s.data ? s.length : 0)); }
    frame_writer& text(hf_bytes s) { return text(std::string_view(s.data ? static_cast<const char*>(s.data) : "", s.data ? s.length : 0)); }
    frame_writer& fault(const hf_error& e);
    frame_writer& shape(const table_shape& s) { return put(s.size).put(s.filled); }
    /// Fields that another writer has put.
    frame_writer& raw(std::string_view fields) {
        data_.append(fields);
        return *this;
    }
    const std::string& bytes() const noexcept { return data_; }

  private:
    std::string data_;
};

/// Reads what a frame_writer wrote. Past the end or a wrong length: zero, empty, and ok() is false from then on.
class frame_reader {
  public:
    frame_reader() = default;
    explicit frame_reader(std::string_view bytes) : rest_(bytes) { kind_ = static_cast<kind>(get<std::uint16_t>()); }
    kind what() const noexcept { return kind_; }
    bool ok() const noexcept { return ok_; }
    /// Everything was there, and nothing more.
    bool whole() const noexcept { return ok_ && rest_.empty(); }
    template <class T>
        requires std::is_arithmetic_v<T>
    T get() {
        T v{};
        if (rest_.size() < sizeof v) return fail(), v;
        std::memcpy(&v, rest_.data(), sizeof v);
        rest_.remove_prefix(sizeof v);
        return v;
    }
    /// Borrowed from the frame. Never a null pointer, so that it can be copied from whatever its length.
    std::string_view text() {
        const auto n = get<std::uint32_t>();
        if (!ok_ || rest_.size() < n) return fail(), std::string_view("");
        const auto out = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return out;
    }
    hf_error fault();
    table_shape shape() {
        const auto size = get<std::uint32_t>();
        return {size, get<std::uint64_t>()};
    }

  private:
    void fail() noexcept {
        ok_ = false;
        rest_ = {};
    }
    std::string_view rest_;
    kind kind_{};
    bool ok_ = true;
};

}  // namespace holdfast::plugins::isolation
