#pragma once
// The host's services below a proxy under test: reads every byte it is given, keeps the rules of the ABI and dies when they are broken.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/api.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/worker.h"
#include "kernel/plugins/abi_errors.hpp"

namespace holdfast::fuzz {

using plugins::as_bytes;
using plugins::fill;
using plugins::view;

inline void insist(bool so, const char* what) {
    if (so) return;
    std::fprintf(stderr, "broken: %s\n", what);
    std::abort();
}

/// Every byte is there: the sanitizer looks.
inline void read_all(std::string_view s) {
    unsigned sum = 0;
    for (const char c : s) sum += static_cast<unsigned char>(c);
    static std::atomic<unsigned> sink;
    sink.fetch_add(sum, std::memory_order_relaxed);
}
inline void read_all(const hf_error* e) {
    if (e) read_all(plugins::from_abi(e->code, e).message);
}

class fake_host {
  public:
    ~fake_host() { insist(workers_.empty() && processes_.empty() && api_.empty(), "the host was not closed"); }
    const hf_host* host() const { return &host_; }

    // What happens in the host, by turns. [the fuzzer's thread]
    void event(std::uint8_t which, std::string_view text) {
        std::lock_guard running(event_mutex_);
        std::unique_lock lock(mutex_);
        if (subscriptions_.empty()) return;
        const auto sink = std::next(subscriptions_.begin(), which % subscriptions_.size())->second;
        lock.unlock();
        sink.on_event(sink.ctx, as_bytes(text));
    }
    void process_says(std::uint8_t which, std::uint8_t what, std::string_view text) {
        std::unique_lock lock(mutex_);
        if (processes_.empty()) return;
        const auto it = std::next(processes_.begin(), which % processes_.size());
        const auto sink = it->second;
        if (what % 4 == 3) processes_.erase(it);
        lock.unlock();
        switch (what % 4) {
            case 0: sink.on_stdout(sink.ctx, as_bytes(text)); break;
            case 1: sink.on_stderr(sink.ctx, plugins::as_str(text)); break;
            case 2: sink.on_overflow(sink.ctx, text.size()); break;
            default: sink.on_exit(sink.ctx, as_bytes(text));
        }
    }
    void api_answers(std::uint8_t which, bool well, std::string_view text) {
        std::unique_lock lock(mutex_);
        if (api_.empty()) return;
        const auto it = std::next(api_.begin(), which % api_.size());
        const auto call = it->second;
        api_.erase(it);
        lock.unlock();
        const auto err = plugins::make_hf_error({errc::timeout, std::string(text)});
        if (call.on_chunk) call.on_chunk(call.ctx, call.id, as_bytes(text));
        call.on_done(call.ctx, call.id, well ? nullptr : &err, as_bytes(text));
    }
    void stop_workers() {
        std::vector<std::shared_ptr<running_worker>> all;
        {
            std::lock_guard lock(mutex_);
            all.swap(workers_);
        }
        for (auto& w : all) w->ask_to_stop();
        for (auto& w : all) w->thread.join();
    }
    /// As the real host does before an instance is destroyed.
    void revoke() {
        {
            std::lock_guard lock(mutex_);
            revoked_ = true;
        }
        stop_workers();
        while (count(api_) > 0) api_answers(0, false, "stopped");
        {
            std::lock_guard running(event_mutex_);
            std::lock_guard lock(mutex_);
            subscriptions_.clear();
        }
        while (count(processes_) > 0) process_says(0, 3, "{}");
    }

  private:
    static constexpr std::size_t most = 16;  // of each
    struct running_worker {
        hf_worker_spec spec{};
        std::int32_t stop = 0;
        std::uint64_t beat = 0;
        const int stop_fd = eventfd(0, EFD_CLOEXEC);
        std::thread thread;
        ~running_worker() { close(stop_fd); }
        void ask_to_stop() {
            __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
            const std::uint64_t one = 1;
            insist(write(stop_fd, &one, sizeof one) == sizeof one, "an eventfd");
        }
        void run() {
            for (std::uint32_t i = 1; i <= 2 && __atomic_load_n(&stop, __ATOMIC_ACQUIRE) == 0; ++i) {  // and once more, as after a failure
                hf_worker_ctl ctl{sizeof ctl, i, &stop, &beat, nullptr, stop_fd, 0};
                hf_error err = plugins::empty_hf_error();
                if (spec.run(spec.arg, &ctl, &err) < 0) read_all(&err);
            }
        }
    };
    static fake_host& of(void* ctx) { return *static_cast<fake_host*>(ctx); }
    template <class Map>
    std::size_t count(const Map& m) {
        std::lock_guard lock(mutex_);
        return m.size();
    }
    std::int32_t refuse(hf_error* err) const { return fill(err, {errc::overloaded, "too many"}); }

    static std::int32_t start_worker(void* ctx, const hf_worker_spec* spec, hf_error* err) {
        auto& me = of(ctx);
        read_all(view(spec->name));
        read_all(view(spec->restart));
        std::lock_guard lock(me.mutex_);
        if (me.workers_.size() >= 3 || me.revoked_ || view(spec->name).empty()) return me.refuse(err);
        auto w = std::make_shared<running_worker>();
        w->spec = *spec;
        w->thread = std::thread([raw = w.get()] { raw->run(); });
        me.workers_.push_back(std::move(w));
        return HF_OK;
    }
    static std::int32_t stop_worker(void* ctx, hf_str name, hf_error* err) {
        read_all(view(name));
        auto& me = of(ctx);
        std::lock_guard lock(me.mutex_);
        if (me.workers_.empty()) return fill(err, {errc::not_found, "no such worker"});
        me.workers_.back()->ask_to_stop();
        return HF_OK;
    }
    static std::int32_t publish(void*, hf_bytes event, hf_error* err) {
        read_all(view(event));
        return view(event).starts_with("{") ? HF_OK : fill(err, {errc::invalid_argument, std::string(view(event).substr(0, 600))});
    }
    static std::int32_t subscribe(void* ctx, hf_bytes options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
        read_all(view(options));
        auto& me = of(ctx);
        std::lock_guard lock(me.mutex_);
        if (me.subscriptions_.size() >= most || me.revoked_ || view(options) == "E") return me.refuse(err);
        *id = ++me.last_;
        *seq = 7;
        me.subscriptions_.emplace(*id, *sink);
        return HF_OK;
    }
    static void unsubscribe(void* ctx, std::uint64_t id) {
        auto& me = of(ctx);
        std::lock_guard running(me.event_mutex_);  // waits for a callback that runs
        std::lock_guard lock(me.mutex_);
        insist(me.subscriptions_.erase(id) == 1 || me.revoked_, "unsubscribed what was no subscription");
    }
    static std::int32_t spawn(void* ctx, hf_bytes spec, const hf_process_sink* sink, std::uint64_t* process, std::int64_t* pid, hf_error* err) {
        read_all(view(spec));
        auto& me = of(ctx);
        std::unique_lock lock(me.mutex_);
        if (me.processes_.size() >= most || me.revoked_ || view(spec) == "E") return me.refuse(err);
        *process = ++me.last_;
        *pid = 4711;
        if (view(spec) != "X") return me.processes_.emplace(*process, *sink), HF_OK;
        const auto mine = *sink;  // gone before spawn returned
        lock.unlock();
        mine.on_exit(mine.ctx, as_bytes("{\"kind\":\"exited\"}"));
        return HF_OK;
    }
    bool has_process(std::uint64_t id) {
        std::lock_guard lock(mutex_);
        return processes_.contains(id);
    }
    static std::int32_t write_process(void* ctx, std::uint64_t id, hf_bytes data, hf_error* err) {
        read_all(view(data));
        return of(ctx).has_process(id) ? HF_OK : fill(err, {errc::not_found, "gone"});
    }
    static void stop_process(void* ctx, std::uint64_t id, std::uint32_t) { (void)of(ctx).has_process(id); }
    static std::int32_t stats(void* ctx, std::uint64_t id, hf_buf* out, hf_error* err) {
        if (!of(ctx).has_process(id)) return fill(err, {errc::not_found, "gone"});
        plugins::give(out, "{\"pid\":4711}");
        return HF_OK;
    }
    static std::int32_t submit(void* ctx, const hf_call* call, hf_error* err) {
        read_all(view(call->method));
        read_all(view(call->request));
        auto& me = of(ctx);
        std::lock_guard lock(me.mutex_);
        if (me.api_.size() >= most || me.revoked_) return me.refuse(err);
        if (!me.api_.emplace(call->id, *call).second) return fill(err, {errc::already_exists, "under way already"});
        return HF_PENDING;
    }
    static void cancel(void* ctx, std::uint64_t id) {
        auto& me = of(ctx);
        std::lock_guard lock(me.mutex_);
        me.cancelled_ += me.api_.contains(id);
    }
    static std::int32_t describe(void*, hf_buf* out, hf_error*) { return plugins::give(out, std::string(70'000, 'd')), HF_OK; }
    static std::int32_t authenticate(void*, hf_str token, hf_buf* out, hf_error* err) {
        read_all(view(token));
        if (view(token) != "X") return fill(err, {errc::unauthorized, "not this one"});
        plugins::give(out, "{\"user\":\"u\"}");
        return HF_OK;
    }
    static std::int32_t listen(void*, hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* err) {
        read_all(view(address));
        if (port == 0) return fill(err, {errc::unavailable, "the port is in use"});
        *fd = eventfd(0, EFD_CLOEXEC);
        return HF_OK;
    }
    static const void* extension(void*, hf_str id) {
        static const hf_log log{sizeof log, 0, [](void*, std::int32_t, hf_str m, hf_bytes f) { read_all(view(m)), read_all(view(f)); }};
        constexpr auto metric = [](void*, hf_str n, hf_bytes l, double) { read_all(view(n)), read_all(view(l)); };
        static const hf_metrics metrics{sizeof metrics, 0, metric, metric, metric};
        static const hf_worker worker{sizeof worker, 0, start_worker, stop_worker, [](void*, hf_str) -> std::int32_t { return HF_OK; }};
        static const hf_events events{sizeof events, 0, publish, subscribe, unsubscribe};
        static const hf_process process{sizeof process, 0, spawn, write_process, stop_process, stats};
        static const hf_api api{sizeof api, 0, submit, cancel, describe, authenticate};
        static const hf_listen listener{sizeof listener, 0, listen};
        static const std::pair<std::string_view, const void*> all[] = {{HF_EXT_LOG, &log},         {HF_EXT_METRICS, &metrics}, {HF_EXT_WORKER, &worker}, {HF_EXT_EVENTS, &events},
                                                                       {HF_EXT_PROCESS, &process}, {HF_EXT_API, &api},         {HF_EXT_LISTEN, &listener}};
        for (const auto& [name, table] : all)
            if (view(id) == name) return table;
        return nullptr;
    }

    const std::int32_t log_level_ = 0;
    const hf_host host_{sizeof(hf_host), HF_ABI_VERSION, this, &log_level_, {"fuzzed", 6}, extension};
    std::mutex event_mutex_;  // while an event is delivered
    std::mutex mutex_;        // guards what follows; never held while a callback runs
    std::map<std::uint64_t, hf_event_sink> subscriptions_;
    std::map<std::uint64_t, hf_process_sink> processes_;
    std::map<std::uint64_t, hf_call> api_;
    std::vector<std::shared_ptr<running_worker>> workers_;  // second owner: its thread, which is joined
    std::uint64_t last_ = 0, cancelled_ = 0;
    bool revoked_ = false;
};

}  // namespace holdfast::fuzz
