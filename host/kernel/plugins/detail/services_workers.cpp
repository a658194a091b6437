// hf.worker/1: supervised threads.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <stdexcept>

#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/detail/services.hpp"
#include "kernel/plugins/detail/worker_body.hpp"

namespace holdfast::plugins::detail {

struct services::worker_entry {
    std::string name;
    worker_body body;
    std::atomic<std::uint32_t> incarnation{0};
    worker_entry() { body.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
    ~worker_entry() {
        if (body.wake_fd >= 0) close(body.wake_fd);
    }
};

namespace {

constexpr std::uint32_t default_shutdown_ms = 5'000;
constexpr std::uint32_t max_shutdown_ms = 600'000;

/// What the plugin's worker holds in its hands; on the worker's stack.
struct control {
    hf_worker_ctl ctl{};
    supervise::worker_signals* signals = nullptr;
    int wake_fd = -1;
    int beat_every_ms = -1;  ///< while waiting; -1: nobody watches
};

std::int32_t wait(const hf_worker_ctl* ctl, std::int64_t timeout_ns) {
    const auto* c = reinterpret_cast<const control*>(ctl);
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
        if (c->signals->stop.load(std::memory_order_acquire) != 0) return 1;
        c->signals->heartbeats.fetch_add(1, std::memory_order_relaxed);
        const int stop_fd = c->signals->wake_fd.load(std::memory_order_acquire);
        pollfd fds[2] = {{c->wake_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};
        // Without a descriptor that announces stop, look for it now and then.
        int slice = stop_fd >= 0 ? c->beat_every_ms : c->beat_every_ms < 0 ? 50 : std::min(50, c->beat_every_ms);
        timespec ts{}, *limit = nullptr;
        std::int64_t ns = slice < 0 ? -1 : std::int64_t(slice) * 1'000'000;
        if (timeout_ns >= 0) {
            const auto left = timeout_ns - (std::chrono::steady_clock::now() - begin).count();
            if (left <= 0 && timeout_ns > 0) return 0;
            if (ns < 0 || left < ns) ns = std::max<std::int64_t>(left, 0);
        }
        if (ns >= 0) {
            ts = {ns / 1'000'000'000, ns % 1'000'000'000};
            limit = &ts;
        }
        const int n = ppoll(fds, 2, limit, nullptr);
        if (n > 0 && (fds[1].revents & POLLIN) != 0) return c->signals->stop.load(std::memory_order_acquire) != 0 ? 1 : 0;
        if (n > 0 && (fds[0].revents & POLLIN) != 0) {
            std::uint64_t count = 0;
            if (read(c->wake_fd, &count, sizeof count) < 0) continue;  // another incarnation was quicker
            return c->signals->stop.load(std::memory_order_acquire) != 0 ? 1 : 0;
        }
        if (timeout_ns == 0) return 0;
    }
}

// The plugin sees the two atomics as plain memory that it reads and writes atomically.
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::int32_t) && sizeof(std::atomic<std::uint64_t>) == sizeof(std::uint64_t));
static_assert(std::atomic<std::uint32_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

result<supervise::restart_type> restart_from(std::string_view text, supervise::restart_type fallback) {
    if (text.empty()) return fallback;
    if (text == "permanent") return supervise::restart_type::permanent;
    if (text == "transient") return supervise::restart_type::transient;
    if (text == "temporary") return supervise::restart_type::temporary;
    return fail(errc::invalid_argument, "a worker's restart is \"permanent\", \"transient\" or \"temporary\"");
}

}  // namespace

std::int32_t run_controlled(const worker_body& w, supervise::worker_signals& signals, std::uint32_t incarnation, hf_error* err) {
    control c;
    c.signals = &signals;
    c.wake_fd = w.wake_fd;
    c.beat_every_ms = w.heartbeat_ms == 0 ? -1 : std::max<int>(1, static_cast<int>(w.heartbeat_ms / 4));
    c.ctl.size = sizeof c.ctl;
    c.ctl.incarnation = incarnation;
    c.ctl.stop = reinterpret_cast<const volatile std::int32_t*>(&signals.stop);
    c.ctl.beat = reinterpret_cast<volatile std::uint64_t*>(&signals.heartbeats);
    c.ctl.wait = wait;
    c.ctl.stop_fd = signals.wake_fd.load(std::memory_order_acquire);
    return w.run(w.arg, &c.ctl, err);
}

int services::run_worker(worker_entry& w, supervise::worker_signals& signals) {
    host_thread here;
    hf_error err = empty_hf_error();
    std::int32_t rc = HF_OK;
    {
        call_mark mark(mark_key_);
        try {
            rc = run_controlled(w.body, signals, w.incarnation.fetch_add(1) + 1, &err);
        } catch (const std::exception& e) {  // a crash of this worker: its supervisor decides what follows
            throw std::runtime_error(std::string("threw: ") + e.what());
        } catch (...) {
            throw std::runtime_error("threw an exception of an unknown type");
        }
    }
    if (rc < 0) throw std::runtime_error(from_abi(rc, &err).message);
    return 0;
}

result<void> services::start_worker(const hf_worker_spec& spec) {
    const std::string name(view(spec.name));
    if (name.empty() || name.size() > 64 || name.find('/') != std::string::npos) return fail(errc::invalid_argument, "a worker needs a name of at most 64 bytes without '/'");
    if (spec.run == nullptr) return fail(errc::invalid_argument, "worker '" + name + "' has no function");
    auto restart = restart_from(view(spec.restart), worker_restart_);
    if (!restart) return tl::unexpected<error>(restart.error());
    auto w = std::make_shared<worker_entry>();
    if (w->body.wake_fd < 0) return fail(errc::io_error, "no descriptor left for worker '" + name + "'");
    w->name = name;
    w->body.heartbeat_ms = spec.heartbeat_ms;
    w->body.arg = spec.arg;
    w->body.run = spec.run;
    supervise::ref<supervise::supervisor> sup;
    {
        std::lock_guard lock(mutex_);
        if (refusing() || !workers_sup_) return fail(errc::stale, "the instance is being stopped");
        if (workers_.contains(name)) return fail(errc::already_exists, "the instance has a worker '" + name + "' already");
        if (workers_.size() >= max_workers) return fail(errc::overloaded, "more than " + std::to_string(max_workers) + " workers");
        workers_[name] = w;
        sup = workers_sup_;
    }
    supervise::worker_options o;
    o.name = (thread_prefix_ + name).substr(0, 15);
    o.heartbeat_deadline = milliseconds(spec.heartbeat_ms);
    auto self = shared_from_this();
    o.on_quarantine = [self, w] {
        self->thread_lost_.store(true);
        self->context_->write_log(HF_LOG_ERROR, self->id_, "a worker thread does not stop; it is left behind and its plugin stays loaded", {{"worker", w->name}});
    };
    auto child = supervise::thread_child(name, std::move(o), [self, w](supervise::worker_signals& s) { return self->run_worker(*w, s); },
                                         spec.heartbeat_ms > 0 ? context_->dog : nullptr);
    child.restart = *restart;
    child.shutdown = supervise::shutdown_policy::within(milliseconds(std::min(spec.shutdown_ms == 0 ? default_shutdown_ms : spec.shutdown_ms, max_shutdown_ms)));
    // The order of these messages is the order of start (S1) and of rest_for_one.
    sup->start_child(std::move(child), [self, name](result<supervise::child_ref> r) {
        if (r) return;
        {
            std::lock_guard lock(self->mutex_);
            self->workers_.erase(name);
        }
        self->context_->write_log(HF_LOG_ERROR, self->id_, "a worker could not be started: " + r.error().message, {{"worker", name}});
    });
    return {};
}

result<void> services::stop_worker(std::string_view name) {
    supervise::ref<supervise::supervisor> sup;
    {
        std::lock_guard lock(mutex_);
        if (!workers_.contains(name)) return fail(errc::not_found, "the instance has no worker '" + std::string(name) + "'");
        sup = workers_sup_;
    }
    if (!sup) return {};  // all of them are being stopped
    auto self = shared_from_this();
    sup->terminate_child(std::string(name), [self, sup, name = std::string(name)](result<void>) {
        sup->delete_child(name, [self, name](result<void>) {
            std::lock_guard lock(self->mutex_);
            self->workers_.erase(name);  // the name is free again only now
        });
    });
    return {};
}

result<void> services::wake_worker(std::string_view name) {
    std::lock_guard lock(mutex_);
    auto found = workers_.find(name);
    if (found == workers_.end()) return fail(errc::not_found, "the instance has no worker '" + std::string(name) + "'");
    const std::uint64_t one = 1;
    // EAGAIN: the counter is full, so it is readable already.
    (void)!write(found->second->body.wake_fd, &one, sizeof one);
    return {};
}

}  // namespace holdfast::plugins::detail
