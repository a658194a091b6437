#pragma once
// Supervised threads (hf.worker/1). Plugins start no threads of their own: what the host did not start it cannot restart,
// stop or wait for.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/worker.h"
#include "holdfast/status.hpp"

namespace holdfast::sdk {

/// What a running worker sees. Valid until its function returns.
class worker_ctl {
  public:
    explicit worker_ctl(const hf_worker_ctl* raw) : raw_(raw) {}

    bool stop_requested() const noexcept { return __atomic_load_n(raw_->stop, __ATOMIC_ACQUIRE) != 0; }
    /// Call at least once per heartbeat; waiting beats by itself.
    void beat() const noexcept { __atomic_fetch_add(raw_->beat, 1, __ATOMIC_RELAXED); }
    /// Waits until stop, wake or the timeout (none: for ever). Returns true when the worker should return.
    bool wait() const { return raw_->wait(raw_, -1) != 0; }
    bool wait(std::chrono::nanoseconds timeout) const { return raw_->wait(raw_, std::max<std::int64_t>(timeout.count(), 0)) != 0; }
    /// 1 for the first run, 2 after the first restart …
    std::uint32_t incarnation() const noexcept { return raw_->incarnation; }
    const hf_worker_ctl* raw() const noexcept { return raw_; }

  private:
    const hf_worker_ctl* raw_;
};

/// Returning is a normal exit, throwing an abnormal one; the supervisor decides what follows. Restarted workers run the same
/// function object again, so it must not consume its captures.
using worker_function = std::function<void(worker_ctl&)>;

struct worker_options {
    std::string name;                          ///< unique within the instance
    std::string restart = "permanent";         ///< "permanent", "transient", "temporary"
    std::chrono::milliseconds heartbeat{0};    ///< 0: no watchdog
    std::chrono::milliseconds shutdown{0};     ///< how long stop waits; 0: the host's default, 5 s
};

/// [control or worker & ready|active] Owner of every worker function until the instance is destroyed.
class workers {
  public:
    workers(const hf_host* host, const hf_worker* table) : host_(host), table_(table) {}
    workers(const workers&) = delete;
    workers& operator=(const workers&) = delete;

    /// Throws plugin_error (HF_E_EXISTS: the name is taken).
    void start(worker_options options, worker_function run) {
        hf_worker_spec spec{};
        record* r = take(options, std::move(run));
        spec.size = sizeof spec;
        spec.heartbeat_ms = static_cast<std::uint32_t>(options.heartbeat.count());
        spec.name = str(options.name);
        spec.restart = str(options.restart);
        spec.shutdown_ms = static_cast<std::uint32_t>(options.shutdown.count());
        spec.arg = r;
        spec.run = &on_run;
        hf_error err = empty_error();
        const std::int32_t code = table_ ? table_->start(host_->ctx, &spec, &err) : HF_OK;
        if (!table_ || code < 0) r->drop();
        if (!table_) throw plugin_error(HF_E_UNSUPPORTED, "the host offers no hf.worker/1");
        check(code, err);
    }
    /// [any & active] Asks the worker to stop and removes it; does not wait.
    void stop(std::string_view name) {
        hf_error err = empty_error();
        if (table_) check(table_->stop(host_->ctx, str(name), &err), err);
    }
    /// [any & active, not from the worker itself] Stops it and waits until its function is not running. True: it never runs
    /// again. False: it is still inside at the deadline.
    bool stop_and_wait(std::string_view name, time_point deadline) {
        record* const r = find(name);
        if (!r) return true;
        {
            std::lock_guard lock(r->mutex);
            r->retired = true;
        }
        hf_error err = empty_error();
        if (table_) table_->stop(host_->ctx, str(name), &err);  // an unknown name: it has ended by itself
        std::unique_lock lock(r->mutex);
        return r->returned.wait_until(lock, deadline, [r] { return !r->running; });
    }
    /// [any & active] Ends the worker's current or next wait().
    void wake(std::string_view name) noexcept {
        if (table_) table_->wake(host_->ctx, str(name));
    }

  private:
    // Never freed before the instance: the host may still be about to call run. A temporary worker's function is dropped
    // after its only run and its record used again, so that short-lived workers do not pile up.
    struct record {
        std::mutex mutex;
        std::condition_variable returned;
        std::string name;
        worker_function run;
        bool once = false;
        bool free = false;
        bool running = false;
        bool retired = false;  // a run that begins now returns at once
        void drop() {
            worker_function last;  // destroyed outside the lock
            std::lock_guard lock(mutex);
            last.swap(run);
            free = true;
        }
    };
    static void fill_in(record& r, const worker_options& options, worker_function&& run) {
        r.name = options.name;
        r.run = std::move(run);
        r.once = options.restart == "temporary";
        r.free = r.retired = false;
    }
    record* take(const worker_options& options, worker_function run) {
        std::lock_guard lock(mutex_);
        for (record& r : records_) {
            std::lock_guard inner(r.mutex);
            if (!r.free || r.running) continue;
            fill_in(r, options, std::move(run));
            return &r;
        }
        fill_in(records_.emplace_back(), options, std::move(run));
        return &records_.back();
    }
    record* find(std::string_view name) {
        std::lock_guard lock(mutex_);
        for (record& r : records_) {
            std::lock_guard inner(r.mutex);
            if (!r.free && !r.retired && r.name == name) return &r;
        }
        return nullptr;
    }
    static std::int32_t on_run(void* arg, const hf_worker_ctl* raw, hf_error* err) noexcept {
        record& r = *static_cast<record*>(arg);
        {
            std::lock_guard lock(r.mutex);
            if (r.retired || r.free) return HF_OK;
            r.running = true;
        }
        const std::int32_t code = guard(err, [&] {
            worker_ctl ctl(raw);
            r.run(ctl);
        });
        if (r.once) r.drop();
        std::lock_guard lock(r.mutex);
        r.running = false;
        r.returned.notify_all();
        return code;
    }
    const hf_host* host_;
    const hf_worker* table_;
    std::mutex mutex_;
    std::list<record> records_;
};

}  // namespace holdfast::sdk
