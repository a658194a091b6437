#pragma once
// One-shot timers (hf.timer/1).
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/timer.h"
#include "holdfast/log.hpp"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

/// A timer under way; cancels when destroyed. After the destructor (or cancel) returns the function does not run and will
/// not, unless it was called from the function itself.
class timer {
  public:
    timer() = default;
    timer(timer&& o) noexcept { *this = std::move(o); }
    timer& operator=(timer&& o) noexcept {
        if (this != &o) {
            cancel();
            host_ = o.host_, table_ = o.table_, id_ = std::exchange(o.id_, 0), record_ = std::move(o.record_);
        }
        return *this;
    }
    ~timer() { cancel(); }
    void cancel() {
        if (!id_) return;
        table_->cancel(host_->ctx, std::exchange(id_, 0));
        record_->self.reset();
        record_.reset();
    }

  private:
    friend class timers;
    struct record {
        std::function<void()> fire;
        log logger;
        std::shared_ptr<record> self;  // held from `after` until it fired or was cancelled
    };
    const hf_host* host_ = nullptr;
    const hf_timer* table_ = nullptr;
    std::uint64_t id_ = 0;
    std::shared_ptr<record> record_;  // second owner: the record itself, while the host may still fire it
};

class timers {
  public:
    timers(const hf_host* host, const hf_timer* table, log logger) : host_(host), table_(table), log_(logger) {}

    /// [any] CLOCK_MONOTONIC as the host sees it (simulated under the fake host).
    time_point now() const { return table_ ? to_time(table_->now(host_->ctx)) : std::chrono::steady_clock::now(); }

    /// [any & active] Calls `fire` once on a host thread. Keep it short; what it throws is logged. Throws plugin_error.
    [[nodiscard]] timer after(std::chrono::nanoseconds delay, std::function<void()> fire) const {
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.timer/1");
        timer t;
        t.host_ = host_, t.table_ = table_;
        t.record_ = std::make_shared<timer::record>(timer::record{std::move(fire), log_, nullptr});
        t.record_->self = t.record_;
        timer::record* const raw = t.record_.get();
        hf_error err = empty_error();
        const std::int32_t code = table_->after(host_->ctx, delay.count(), &on_fire, raw, &t.id_, &err);
        if (code < 0) {
            t.id_ = 0;
            t.record_->self.reset();
        }
        check(code, err);
        return t;
    }

  private:
    static void on_fire(void* arg) noexcept {
        const auto keep = std::move(static_cast<timer::record*>(arg)->self);
        hf_error err = empty_error();
        if (guard(&err, [&] { keep->fire(); }) < 0) keep->logger.write(HF_LOG_ERROR, err.message);
        keep->fire = {};  // it may own what owns the timer
    }
    const hf_host* host_;
    const hf_timer* table_;
    log log_;
};

}  // namespace holdfast::sdk
