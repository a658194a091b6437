#pragma once
// Supervised child processes (hf.process/1). The host owns them; the plugin sees bytes.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/process.h"
#include "holdfast/gate.hpp"
#include "holdfast/log.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

/// [any thread, one at a time per process] Empty functions are skipped; what one throws is logged.
struct process_handlers {
    std::function<void(std::string_view line)> on_stdout;   ///< a line when the spec says "lines", else raw bytes
    std::function<void(std::string_view line)> on_stderr;
    std::function<void(std::uint64_t bytes)> on_overflow;
    std::function<void(std::string_view status_json)> on_exit;  ///< exactly once, last
};

/// A running child. When destroyed, the child is stopped and no handler runs any more (unless it was destroyed from one).
class process {
  public:
    process() = default;
    process(process&& o) noexcept { *this = std::move(o); }
    process& operator=(process&& o) noexcept {
        if (this != &o) {
            reset();
            host_ = std::exchange(o.host_, nullptr), table_ = o.table_, id_ = o.id_, pid_ = o.pid_;
            record_ = std::move(o.record_);
        }
        return *this;
    }
    ~process() { reset(); }

    std::int64_t pid() const { return pid_; }
    explicit operator bool() const { return host_ != nullptr; }
    /// [any & active] Queues bytes for stdin. Returns HF_OK, HF_E_OVERLOADED (4 MiB waiting) or another code.
    status write(std::string_view data) const {
        if (!host_) return {HF_E_STATE, "no process"};
        hf_error err = empty_error();
        return from_error(table_->write(host_->ctx, id_, bytes(data), &err), &err);
    }
    /// [any] Close stdin → SIGTERM → SIGKILL to the group, `grace` apart. on_exit follows.
    void stop(std::chrono::milliseconds grace) const {
        if (host_) table_->stop(host_->ctx, id_, static_cast<std::uint32_t>(grace.count()));
    }
    /// [any] {"pid","memory_bytes","cpu_percent","fds","uptime_ms"}. Throws plugin_error.
    std::string stats() const {
        if (!host_) throw plugin_error(HF_E_STATE, "no process");
        buffer out;
        hf_error err = empty_error();
        check(table_->stats(host_->ctx, id_, out.out(), &err), err);
        return std::string(out.text());
    }

  private:
    friend class processes;
    struct record {
        process_handlers handlers;
        log logger;
        detail::gate open;
        record(process_handlers h, log l) : handlers(std::move(h)), logger(l) {}
        std::shared_ptr<record> host_share;  // the host's share, given back after on_exit
    };
    void reset() {
        if (!host_) return;
        stop(default_grace);
        record_->open.close();
        record_.reset();
        host_ = nullptr;
    }
    static constexpr std::chrono::milliseconds default_grace{2000};
    const hf_host* host_ = nullptr;
    const hf_process* table_ = nullptr;
    std::uint64_t id_ = 0;
    std::int64_t pid_ = 0;
    std::shared_ptr<record> record_;  // second owner: the host, until on_exit returned
};

/// [any & active]
class processes {
  public:
    processes(const hf_host* host, const hf_process* table, log logger) : host_(host), table_(table), log_(logger) {}

    /// `spec_json`: see hf_process.spawn. Handlers may run before this returns. Throws plugin_error, and then none ever runs.
    [[nodiscard]] process spawn(std::string_view spec_json, process_handlers handlers) const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.process/1");
        process p;
        p.record_ = std::make_shared<process::record>(std::move(handlers), log_);
        p.record_->host_share = p.record_;
        const hf_process_sink sink{sizeof(hf_process_sink), 0, p.record_.get(), &on_stdout, &on_stderr, &on_overflow, &on_exit};
        hf_error err = empty_error();
        const std::int32_t code = table_->spawn(host_->ctx, bytes(spec_json), &sink, &p.id_, &p.pid_, &err);
        if (code < 0) p.record_->host_share.reset();
        check(code, err);
        p.table_ = table_;
        p.host_ = host_;
        return p;
    }

  private:
    using record = process::record;
    template <class F, class... Args>
    static void run(void* ctx, F process_handlers::*f, Args... args) noexcept {
        record& r = *static_cast<record*>(ctx);
        hf_error err = empty_error();
        const auto call = [&] {
            if (r.handlers.*f) (r.handlers.*f)(args...);
        };
        if (guard(&err, [&] { detail::through(r.open, call); }) < 0) r.logger.write(HF_LOG_ERROR, err.message);
    }
    static void on_stdout(void* ctx, hf_bytes line) noexcept { run(ctx, &process_handlers::on_stdout, view(line)); }
    static void on_stderr(void* ctx, hf_str line) noexcept { run(ctx, &process_handlers::on_stderr, view(line)); }
    static void on_overflow(void* ctx, std::uint64_t n) noexcept { run(ctx, &process_handlers::on_overflow, n); }
    static void on_exit(void* ctx, hf_bytes status) noexcept {
        const auto keep = std::move(static_cast<record*>(ctx)->host_share);
        run(ctx, &process_handlers::on_exit, view(status));
        keep->handlers = {};  // they may own what owns the process
    }
    const hf_host* host_;
    const hf_process* table_;
    log log_;
};

}  // namespace holdfast::sdk
