// The one permanent thread that creates processes (O5: the parent-death signal follows the creating thread), and the children that are processes.
#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>

#include "kernel/supervise/detail/process_actor.hpp"

namespace holdfast::supervise {

json process_usage::to_json() const {
    return {{"pid", pid}, {"memory_bytes", rss_bytes}, {"cpu_ms", cpu_ms}, {"processes", processes}, {"descriptors", descriptors}, {"sockets", sockets}};
}

const std::vector<std::string>& default_environment_names() {
    static const std::vector<std::string> names{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "TZ"};
    return names;
}

std::vector<std::string> allowed_environment(const std::vector<std::string>& allow) {
    std::vector<std::string> out;
    for (const auto& name : allow)
        if (const char* v = std::getenv(name.c_str())) out.push_back(name + "=" + v);
    return out;
}

namespace {

class process_facade final : public process {
  public:
    explicit process_facade(ref<detail::process_actor> p) : p_(std::move(p)) {}
    std::int64_t pid() const noexcept override { return p_->pid(); }
    bool running() const noexcept override { return p_->running(); }
    result<void> write(std::string bytes) override { return p_->write(std::move(bytes)); }
    void close_stdin() override { p_->close_stdin(); }
    void stop() override { p_->stop(); }
    void kill() override { p_->kill(); }
    std::string stderr_tail() const override { return p_->stderr_tail(); }
    process_usage usage() const override { return p_->usage(); }

  private:
    ref<detail::process_actor> p_;
};

/// Between the spawner and one that waits for it to a deadline: either it takes the process or gives up, for good.
class claim {
  public:
    /// Waits for set(). Not beyond the deadline, unless take() has come before it.
    result<std::shared_ptr<process>> wait(nanoseconds deadline) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, deadline, [&] { return taken_ || value_; })) {
            given_up_ = true;
            return fail(errc::timeout, "its program was not executed within " + std::to_string(std::chrono::duration_cast<milliseconds>(deadline).count()) +
                                       " ms: does it lie on a file system that does not answer?");
        }
        changed_.wait(lock, [&] { return value_.has_value(); });
        return std::move(*value_);
    }
    void set(result<std::shared_ptr<process>> value) {
        std::lock_guard lock(mutex_);
        value_ = std::move(value);
        changed_.notify_all();
    }
    bool given_up() const {
        std::lock_guard lock(mutex_);
        return given_up_;
    }
    /// false: nobody waits any more, and nobody will. After true, set() follows.
    bool take() {
        std::lock_guard lock(mutex_);
        return taken_ = !given_up_;
    }

  private:
    mutable std::mutex mutex_;  // leaf
    std::condition_variable changed_;
    std::optional<result<std::shared_ptr<process>>> value_;
    bool taken_ = false, given_up_ = false;
};

}  // namespace

struct process_spawner::impl {
    struct job {
        process_options options;
        process_callbacks callbacks;
        spawned done;
        std::shared_ptr<claim> waiter = {};  // second owner: who waits; null: nobody gives up
    };
    explicit impl(runtime& r) : rt(r) {}
    runtime& rt;
    const std::shared_ptr<detail::census> census = std::make_shared<detail::census>(rt);
    mutable std::mutex mutex;
    std::condition_variable arrived;
    std::deque<job> jobs;
    std::set<detail::process_actor*> known;  // each holds a reference, taken and released with the entry
    bool stopping = false;
    std::thread thread;

    void run(const std::shared_ptr<impl>& self) {
        pthread_setname_np(pthread_self(), "hf-spawner");
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);  // no handler may run in a child that shares our memory
        std::unique_lock lock(mutex);
        for (;;) {
            arrived.wait(lock, [&] { return stopping || !jobs.empty(); });
            if (stopping) break;
            auto j = std::move(jobs.front());
            jobs.pop_front();
            lock.unlock();
            handle(self, std::move(j));
            lock.lock();
        }
        auto rest = std::move(jobs);
        lock.unlock();
        for (auto& j : rest) answer(j.done, fail(errc::unavailable, "the host is stopping"));
    }

    static void answer(spawned& done, result<std::shared_ptr<process>> r) noexcept {
        try {
            if (done) done(std::move(r));
        } catch (...) {  // T1
        }
    }

    struct forget final : lifecycle {
        explicit forget(std::weak_ptr<impl> o) : owner(std::move(o)) {}
        void exited(actor& a, const exit_reason&) noexcept override {
            if (const auto o = owner.lock()) o->remove(static_cast<detail::process_actor*>(&a));
        }
        std::weak_ptr<impl> owner;
    };

    void remove(detail::process_actor* p) {
        {
            std::lock_guard lock(mutex);
            if (known.erase(p) == 0) return;
        }
        p->release();
    }

    void handle(const std::shared_ptr<impl>& self, job j) {
        if (j.waiter && j.waiter->given_up()) return;
        auto made = detail::spawn_process(j.options);
        if (!made) return answer(j.done, tl::unexpected<error>(std::move(made.error())));
        const bool wanted = !j.waiter || j.waiter->take();
        if (!wanted) j.callbacks = {};  // whoever they would tell may be gone
        auto p = make_actor<detail::process_actor>(rt, std::move(j.options), std::move(j.callbacks), *made, census);
        {
            std::lock_guard lock(mutex);
            p->add_reference();
            known.insert(p.get());
        }
        if (wanted) answer(j.done, std::shared_ptr<process>(std::make_shared<process_facade>(p)));
        else p->kill();
        p->start(std::make_unique<forget>(self));  // only now may a line be delivered
    }
};

process_spawner::process_spawner(runtime& rt) : impl_(std::make_shared<impl>(rt)) {
    ::signal(SIGPIPE, SIG_IGN);
    impl_->thread = std::thread([i = impl_] { i->run(i); });
}

process_spawner::~process_spawner() {
    std::set<detail::process_actor*> left;
    {
        std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        impl_->arrived.notify_all();
    }
    impl_->thread.join();
    {
        std::lock_guard lock(impl_->mutex);
        left.swap(impl_->known);
    }
    for (auto* p : left) {
        p->end_now();
        p->request_kill();
        p->release();
    }
}

void process_spawner::spawn(process_options options, process_callbacks callbacks, spawned done) {
    {
        std::lock_guard lock(impl_->mutex);
        if (!impl_->stopping) {
            impl_->jobs.push_back({std::move(options), std::move(callbacks), std::move(done)});
            impl_->arrived.notify_one();
            return;
        }
    }
    impl::answer(done, fail(errc::unavailable, "the host is stopping"));
}

result<std::shared_ptr<process>> process_spawner::spawn(process_options options, process_callbacks callbacks, nanoseconds deadline) {
    const auto waiter = std::make_shared<claim>();
    {
        std::lock_guard lock(impl_->mutex);
        if (impl_->stopping) return fail(errc::unavailable, "the host is stopping");
        impl_->jobs.push_back({std::move(options), std::move(callbacks), [waiter](auto p) { waiter->set(std::move(p)); }, waiter});
        impl_->arrived.notify_one();
    }
    return waiter->wait(deadline);
}

std::size_t process_spawner::running() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->known.size();
}

std::uint64_t process_spawner::readings() const { return impl_->census->readings(); }

std::vector<process_usage> process_spawner::usage() const {
    std::vector<ref<detail::process_actor>> all;
    {
        std::lock_guard lock(impl_->mutex);
        for (auto* p : impl_->known) all.push_back(ref<detail::process_actor>::share(p));
    }
    const auto now = impl_->census->latest();
    std::vector<process_usage> out;
    for (auto& p : all) out.push_back(p->usage(*now));
    return out;
}

namespace {

class process_handle final : public child {
  public:
    explicit process_handle(std::shared_ptr<process> p) : p_(std::move(p)) {}
    void stop() override { p_->stop(); }
    void kill() override { p_->kill(); }
    void describe(json& node) const override {  // only the leader's line: a tree must stay cheap
        node["pid"] = p_->pid();
        detail::process_row row;
        if (p_->running() && detail::read_process(static_cast<pid_t>(p_->pid()), row)) {
            node["cpu_ms"] = row.cpu_ms;
            node["memory_bytes"] = row.rss_bytes;
        }
    }

  private:
    std::shared_ptr<process> p_;
};

}  // namespace

child_spec process_child(std::string id, process_spawner& spawner, process_options options, process_callbacks callbacks,
                         std::function<void(std::shared_ptr<process>)> started) {
    child_spec spec;
    spec.id = std::move(id);
    spec.kind = "process";
    const auto ladder = options.stop.after_stdin + options.stop.after_term + options.drain_timeout;
    spec.shutdown = shutdown_policy::within(ladder + milliseconds(1000));  // the ladder kills first
    spec.start = [&spawner, options = std::move(options), callbacks = std::move(callbacks), started = std::move(started)](child_context ctx) {
        auto cb = callbacks;
        cb.on_exit = [ctx, told = callbacks.on_exit](const process_exit& how) {
            struct report {  // also when the callback throws
                const child_context& ctx;
                const process_exit& how;
                ~report() { ctx.exited(how.reason); }
            } report{ctx, how};
            if (told) told(how);
        };
        spawner.spawn(options, std::move(cb), [ctx, started](result<std::shared_ptr<process>> p) {
            if (!p) return ctx.failed(std::move(p.error()));
            if (started) {
                try {
                    started(*p);
                } catch (const std::exception& e) {
                    (*p)->kill();  // its exit is reported as that of a start that failed
                }
            }
            ctx.started(std::make_shared<process_handle>(*p));
        });
    };
    return spec;
}

}  // namespace holdfast::supervise
