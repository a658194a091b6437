#include <algorithm>
#include <chrono>

#include "parts.hpp"

namespace holdfast::testing {

struct fake_workers::worker {
    hf_worker_ctl ctl{};  // first: wait() gets back from the ctl to the worker
    volatile std::int32_t stop_flag = 0;
    volatile std::uint64_t beat = 0;
    std::string name, restart;
    void* arg = nullptr;
    std::int32_t (*run)(void*, const hf_worker_ctl*, hf_error*) = nullptr;
    std::mutex mutex;  // woken
    std::condition_variable wake;
    bool woken = false;
    std::thread thread;
    // Guarded by fake_workers::mutex_:
    bool running = false, removed = false;
    std::int32_t last_code = 0;
    std::string last_message;
};

std::int32_t fake_workers::wait(const hf_worker_ctl* ctl, std::int64_t timeout_ns) {
    auto& w = *reinterpret_cast<worker*>(const_cast<hf_worker_ctl*>(ctl));
    std::unique_lock lock(w.mutex);
    const auto done = [&w] { return w.woken || __atomic_load_n(&w.stop_flag, __ATOMIC_ACQUIRE); };
    if (timeout_ns < 0)
        w.wake.wait(lock, done);
    else
        w.wake.wait_for(lock, nanoseconds(timeout_ns), done);
    w.woken = false;
    return __atomic_load_n(&w.stop_flag, __ATOMIC_ACQUIRE);
}

void fake_workers::launch(worker& w) {
    if (w.thread.joinable()) w.thread.join();  // ended before: joins at once
    w.ctl.size = sizeof(hf_worker_ctl);
    w.ctl.stop_fd = -1;
    ++w.ctl.incarnation;
    w.ctl.stop = &w.stop_flag;
    w.ctl.beat = &w.beat;
    w.ctl.wait = &fake_workers::wait;
    w.running = true;
    w.thread = std::thread([this, &w] {
        hf_error err = sdk::empty_error();
        const std::int32_t code = w.run(w.arg, &w.ctl, &err);
        std::lock_guard lock(mutex_);
        w.last_code = code;
        w.last_message = code < 0 ? sdk::from_error(code, &err).message : "";
        w.running = false;
        changed_.notify_all();
    });
}

std::int32_t fake_workers::start(const hf_worker_spec* raw, hf_error* err) {
    const hf_worker_spec spec = sdk::read_struct(raw);
    const std::string name(sdk::view(spec.name));
    if (name.empty() || !spec.run) return sdk::fill(err, HF_E_INVALID, "a worker needs a name and a run function");
    std::lock_guard lock(mutex_);
    for (const auto& w : workers_)
        if (w->name == name && !w->removed) return sdk::fill(err, HF_E_EXISTS, "there is a worker of that name: " + name);
    auto w = std::make_shared<worker>();
    w->name = name;
    w->restart = spec.restart.length ? std::string(sdk::view(spec.restart)) : "permanent";
    w->arg = spec.arg;
    w->run = spec.run;
    workers_.push_back(w);
    launch(*w);
    return HF_OK;
}

std::int32_t fake_workers::stop(std::string_view name, hf_error* err) {
    std::lock_guard lock(mutex_);
    for (const auto& w : workers_) {
        if (w->name != name || w->removed) continue;
        w->removed = true;
        std::lock_guard inner(w->mutex);
        __atomic_store_n(&w->stop_flag, 1, __ATOMIC_RELEASE);
        w->wake.notify_all();
        return HF_OK;
    }
    return sdk::fill(err, HF_E_NOT_FOUND, "no worker of that name");
}

std::int32_t fake_workers::wake(std::string_view name) {
    std::lock_guard lock(mutex_);
    for (const auto& w : workers_) {
        if (w->name != name || w->removed) continue;
        std::lock_guard inner(w->mutex);
        w->woken = true;
        w->wake.notify_all();
        return HF_OK;
    }
    return HF_E_NOT_FOUND;
}

std::size_t fake_workers::threads() const {
    std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(workers_.begin(), workers_.end(), [](const auto& w) { return w->thread.joinable(); }));
}

worker_report fake_workers::report(const worker& w) {
    return {w.name, w.restart, w.last_message, w.running, w.ctl.incarnation, w.last_code, __atomic_load_n(&w.beat, __ATOMIC_RELAXED)};
}

std::vector<worker_report> fake_workers::reports() const {
    std::lock_guard lock(mutex_);
    std::vector<worker_report> out;
    for (const auto& w : workers_)
        if (!w->removed) out.push_back(report(*w));
    return out;
}

bool fake_workers::restart(std::string_view name) {
    std::lock_guard lock(mutex_);
    for (const auto& w : workers_) {
        if (w->name != name || w->removed) continue;
        if (w->running) return false;
        launch(*w);
        return true;
    }
    return false;
}

bool fake_workers::wait_for(std::string_view name, const std::function<bool(const worker_report&)>& is, milliseconds timeout) const {
    std::unique_lock lock(mutex_);
    const auto holds = [&] {
        return std::any_of(workers_.begin(), workers_.end(), [&](const auto& w) { return w->name == name && !w->removed && is(report(*w)); });
    };
    // Beats are plain memory and notify nobody: look again every few milliseconds.
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (!holds()) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        changed_.wait_for(lock, milliseconds(5));
    }
    return true;
}

std::vector<std::string> fake_workers::stop_all() {
    std::vector<std::string> names;
    std::list<std::shared_ptr<worker>> all;
    {
        std::lock_guard lock(mutex_);
        all = workers_;
        for (const auto& w : all) {
            if (w->running && !w->removed) names.push_back(w->name);
            w->removed = true;
            std::lock_guard inner(w->mutex);
            __atomic_store_n(&w->stop_flag, 1, __ATOMIC_RELEASE);
            w->wake.notify_all();
        }
    }
    for (const auto& w : all)
        if (w->thread.joinable()) w->thread.join();
    std::lock_guard lock(mutex_);
    workers_.clear();
    return names;
}

const hf_worker* fake_workers::table() {
    static constexpr hf_worker t{
        sizeof(hf_worker), 0,
        [](void* c, const hf_worker_spec* s, hf_error* e) -> std::int32_t { return fake_host::impl::of(c).workers.start(s, e); },
        [](void* c, hf_str n, hf_error* e) -> std::int32_t { return fake_host::impl::of(c).workers.stop(sdk::view(n), e); },
        [](void* c, hf_str n) -> std::int32_t { return fake_host::impl::of(c).workers.wake(sdk::view(n)); }};
    return &t;
}

}  // namespace holdfast::testing
