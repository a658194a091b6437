#pragma once
// The parts of the fake host. Each owns one interface's table; every function gets fake_host::impl as its context.
#include <atomic>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "holdfast/ext/api.h"
#include "holdfast/ext/config.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/timer.h"
#include "holdfast/ext/worker.h"
#include "holdfast/status.hpp"
#include "holdfast/testing/fake_host.hpp"

namespace holdfast::testing {

class fake_workers {
  public:
    std::int32_t start(const hf_worker_spec* spec, hf_error* err);
    std::int32_t stop(std::string_view name, hf_error* err);
    std::int32_t wake(std::string_view name);
    std::vector<worker_report> reports() const;
    std::size_t threads() const;
    bool restart(std::string_view name);
    bool wait_for(std::string_view name, const std::function<bool(const worker_report&)>& is, milliseconds timeout) const;
    std::vector<std::string> stop_all();  ///< joins; the names of those that were running
    static const hf_worker* table();

  private:
    struct worker;
    static std::int32_t wait(const hf_worker_ctl* ctl, std::int64_t timeout_ns);
    void launch(worker& w);
    static worker_report report(const worker& w);
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::list<std::shared_ptr<worker>> workers_;  // second owner: the worker's thread
};

class fake_timers {
  public:
    explicit fake_timers(bool manual);
    ~fake_timers();
    std::int64_t now() const;
    std::int32_t after(std::int64_t delay_ns, void (*fire)(void*), void* arg, std::uint64_t* id);
    void cancel(std::uint64_t id);
    void advance(nanoseconds by);
    std::size_t pending() const;
    std::size_t cancel_all();
    static const hf_timer* table();
    std::size_t threads() const { return manual_ ? 0 : 1; }

  private:
    struct entry {
        std::uint64_t id;
        void (*fire)(void*);
        void* arg;
    };
    bool fire_one(std::unique_lock<std::mutex>& lock, std::int64_t until);
    void loop();
    const bool manual_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::multimap<std::int64_t, entry> due_;
    std::uint64_t last_id_ = 0;
    std::int64_t manual_now_ = 1'000'000'000;  // not 0: a zero time means "none" in the ABI
    std::uint64_t firing_ = 0;
    std::thread::id firing_on_;
    bool closing_ = false;
    std::thread thread_;
};

class fake_processes {
  public:
    ~fake_processes();
    std::int32_t spawn(std::string_view spec, const hf_process_sink* sink, std::uint64_t* id, std::int64_t* pid, hf_error* err);
    std::int32_t write(std::uint64_t id, std::string_view data, hf_error* err);
    void stop(std::uint64_t id, std::uint32_t grace_ms);
    std::int32_t stats(std::uint64_t id, hf_buf* out, hf_error* err);
    std::size_t running() const;
    std::size_t threads() const;  ///< one per child that was ever started
    std::size_t kill_all();  ///< how many were running; returns when all have been reaped
    static const hf_process* table();

  private:
    struct child;
    std::shared_ptr<child> find(std::uint64_t id) const;
    mutable std::mutex mutex_;
    std::map<std::uint64_t, std::shared_ptr<child>> children_;  // second owner: the child's thread
    std::uint64_t last_id_ = 0;
};

class fake_events {
  public:
    std::int32_t publish(std::string_view event, std::string_view instance, hf_error* err);
    std::int32_t subscribe(std::string_view options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err);
    void unsubscribe(std::uint64_t id);
    void emit(std::string_view topic, std::string_view event);
    std::vector<std::string> published() const;
    std::size_t subscriptions() const;
    std::size_t close_all();
    static const hf_events* table();

  private:
    struct subscription {
        std::string topic;
        hf_event_sink sink;
        std::recursive_mutex one_at_a_time;
        std::atomic<bool> closed{false};
    };
    mutable std::mutex mutex_;
    std::map<std::uint64_t, std::shared_ptr<subscription>> all_;  // second owner: a delivery under way
    std::map<std::string, std::uint64_t, std::less<>> seq_;
    std::vector<std::string> published_;
    std::uint64_t last_id_ = 0;
};

class fake_listeners {
  public:
    ~fake_listeners();
    std::int32_t open(std::string_view address, std::uint16_t port, std::int32_t* fd, hf_error* err);
    static const hf_listen* table();

  private:
    std::mutex mutex_;
    std::map<std::pair<std::string, std::uint16_t>, int> all_;  // as asked for → the host's own descriptor
};

struct fake_host::impl {
    explicit impl(fake_host_options o);
    ~impl();

    fake_host_options options;
    bool own_dir = false;
    volatile std::int32_t level;
    struct {
        hf_host now{};
        unsigned char future[64];
    } abi;
    fake_workers workers;
    fake_timers timers;
    fake_processes processes;
    fake_events events;
    fake_listeners listeners;

    mutable std::mutex mutex;  // logs, metrics, api
    mutable std::condition_variable logged_more;
    std::vector<logged> logs;
    std::map<std::string, double, std::less<>> metrics;
    std::map<std::string, std::function<api_reply(const std::string&)>, std::less<>> scripts;
    std::vector<std::string> api_calls;

    static const void* failing_table(std::string_view id);
    static impl& of(void* ctx) { return *static_cast<impl*>(ctx); }
};

}  // namespace holdfast::testing
