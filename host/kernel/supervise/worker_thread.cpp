#include "kernel/supervise/worker_thread.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace holdfast::supervise {
namespace {

std::atomic<std::uint64_t> quarantined_count{0};

/// One incarnation. Shared by its thread, its handle and, for the beats, the watchdog: a thread that is left behind keeps what it
/// may still touch alive.
struct thread_body : std::enable_shared_from_this<thread_body> {
    worker_signals signals;
    worker_function run;
    std::function<void()> on_quarantine;
    std::string name;
    child_context ctx;                    // Owner: whoever won `reported`
    std::atomic<bool> reported{false};
    std::atomic<bool> quarantined{false};
    std::atomic<pid_t> tid{0};
    std::atomic<clockid_t> cpu_clock{0};

    ~thread_body() {
        if (const int fd = signals.wake_fd.load(); fd >= 0) ::close(fd);
    }
    void ask_to_stop() noexcept {
        signals.stop.store(1, std::memory_order_release);
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto r = ::write(signals.wake_fd.load(), &one, sizeof one);
    }
    void report(exit_reason why) {
        if (reported.exchange(true)) return;
        const auto to = std::move(ctx);
        to.exited(std::move(why));
    }
    /// It does not end and cannot be ended: leave it behind, for ever (T2).
    void quarantine(const char* why) {
        if (reported.load() || quarantined.exchange(true)) return;
        ask_to_stop();
        quarantined_count.fetch_add(1);
        if (on_quarantine) on_quarantine();
        report({exit_kind::hang, 0, why});
    }
};

class thread_handle final : public child {
  public:
    explicit thread_handle(std::shared_ptr<thread_body> body) : body_(std::move(body)) {}
    void stop() override { body_->ask_to_stop(); }
    void kill() override { body_->quarantine("did not stop within its shutdown timeout; the thread is left behind"); }
    void describe(json& node) const override {
        node["tid"] = body_->tid.load();
        node["quarantined"] = body_->quarantined.load();
        node["heartbeats"] = body_->signals.heartbeats.load(std::memory_order_relaxed);
        timespec ts{};
        if (const auto clock = body_->cpu_clock.load(); clock && clock_gettime(clock, &ts) == 0)
            node["cpu_ms"] = ts.tv_sec * 1000 + ts.tv_nsec / 1'000'000;
    }
    watchdog::registration watch;

  private:
    std::shared_ptr<thread_body> body_;
};

void* thread_main(void* arg) {
    const std::unique_ptr<std::shared_ptr<thread_body>> owned(static_cast<std::shared_ptr<thread_body>*>(arg));
    auto& body = **owned;
    pthread_setname_np(pthread_self(), body.name.substr(0, 15).c_str());
    body.tid.store(static_cast<pid_t>(syscall(SYS_gettid)));
    clockid_t clock{};
    if (pthread_getcpuclockid(pthread_self(), &clock) == 0) body.cpu_clock.store(clock);
    exit_reason why;
    try {
        const int code = body.run(body.signals);
        if (code != 0)
            why = {exit_kind::exit_code, code, {}};
        else if (body.signals.stop.load(std::memory_order_acquire))
            why.kind = exit_kind::shutdown;
    } catch (const std::exception& e) {
        why = {exit_kind::error, 0, e.what()};
    } catch (...) {
        why = {exit_kind::error, 0, "an exception that is not a std::exception"};
    }
    body.report(std::move(why));
    return nullptr;
}

}  // namespace

std::uint64_t quarantined_threads() noexcept { return quarantined_count.load(); }

child_spec thread_child(std::string id, worker_options options, worker_function run, watchdog* dog) {
    child_spec spec;
    spec.id = std::move(id);
    spec.kind = "worker";
    spec.start = [options = std::move(options), run = std::move(run), dog](child_context ctx) {
        auto body = std::make_shared<thread_body>();
        body->run = run;
        body->on_quarantine = options.on_quarantine;
        body->name = options.name;
        body->ctx = ctx;
        body->signals.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (body->signals.wake_fd < 0) return ctx.failed({errc::io_error, "no descriptor left for the thread's wake-up"});
        auto handle = std::make_shared<thread_handle>(body);
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);  // never joined: a join could hang the host
        if (options.stack_bytes) pthread_attr_setstacksize(&attr, options.stack_bytes);
        auto arg = std::make_unique<std::shared_ptr<thread_body>>(body);
        pthread_t thread{};
        const int failed = pthread_create(&thread, &attr, thread_main, arg.get());
        pthread_attr_destroy(&attr);
        if (failed) return ctx.failed({errc::io_error, std::string("the thread cannot be created: ") + std::strerror(failed)});
        arg.release();  // the thread's now
        if (dog && options.heartbeat_deadline.count() > 0) {
            // Aliasing: the beats live in the body.
            std::shared_ptr<const std::atomic<std::uint64_t>> beats(body, &body->signals.heartbeats);
            handle->watch = dog->watch(std::move(beats), options.heartbeat_deadline, [weak = std::weak_ptr(body)](watch_stage stage) {
                if (stage == watch_stage::hung)
                    if (auto b = weak.lock()) b->quarantine("no heartbeat within its deadline; the thread is left behind");
            });
        }
        ctx.started(std::move(handle));
    };
    return spec;
}

}  // namespace holdfast::supervise
