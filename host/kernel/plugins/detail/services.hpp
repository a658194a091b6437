#pragma once
// hf_host and every host-side interface for one incarnation of one instance. Everything handed out is an integer looked up in a
// table here, and everything is taken back by revoke(), before the instance is destroyed.
#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/abi/call.h"
#include "holdfast/abi/plugin.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/worker.h"
#include "kernel/events/bus.hpp"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/crash_report.hpp"
#include "kernel/plugins/detail/listeners.hpp"
#include "kernel/plugins/host_services.hpp"
#include "kernel/plugins/loader.hpp"
#include "kernel/plugins/metrics.hpp"
#include "kernel/plugins/pin.hpp"
#include "kernel/supervise/process.hpp"
#include "kernel/supervise/supervisor.hpp"
#include "kernel/supervise/worker_thread.hpp"

namespace holdfast::plugins::detail {

inline constexpr std::size_t max_timers = 10'000;         // per instance, like the rest
inline constexpr std::size_t max_subscriptions = 1'024;
inline constexpr std::size_t max_processes = 1'024;
inline constexpr seconds spawn_deadline{10};  // a plugin's call waits no longer for a program to be executed
inline constexpr std::size_t max_workers = 256;
inline constexpr std::size_t max_api_calls = 10'000;
inline constexpr std::size_t max_plugin_event_bytes = 1u << 20;
inline constexpr std::size_t process_stdin_high_water = 4u << 20;

/// What all instances share. Owner: the plugin set; lives as long as any instance.
struct service_context {
    supervise::runtime* rt = nullptr;
    supervise::process_spawner* processes = nullptr;
    events::bus* bus = nullptr;
    supervise::watchdog* dog = nullptr;
    metrics_registry* metrics = nullptr;
    std::string data_dir;
    std::function<void(crash_report, std::shared_ptr<const private_copy>)> crash_reported;
    std::string runner;  // the program that hosts a plugin in a process of its own
    log_sink log;
    api_services api;
    std::int32_t log_level = HF_LOG_INFO;  // what plugins read; written with __atomic_store
    void write_log(int level, const std::string& instance, std::string message, json fields = nullptr) const noexcept;
};

class services : public std::enable_shared_from_this<services> {
  public:
    /// crash: an exception came out of a callback or worker call; any thread. thread_prefix: begins the names of the
    /// instance's threads, and of nobody else's.
    services(std::shared_ptr<service_context> context, std::string id, std::string thread_prefix, std::uint64_t mark_key, json settings,
             supervise::restart_type worker_restart, std::function<void(std::string)> crash);
    ~services();

    const hf_host* host() const noexcept { return &host_; }
    /// Before create. The supervisor that workers go under.
    void set_workers(supervise::ref<supervise::supervisor> workers);
    /// Before create. The sockets of the plugin `id`, and which incarnation of it this is.
    void set_listeners(std::shared_ptr<listeners> from, std::uint64_t serial);

    /// [a thread that may block] Refuses new requests, ends workers, timers, subscriptions, processes and API calls, and waits
    /// until no callback runs. false: something is still inside the plugin's code at the deadline; `why` says what.
    bool revoke(nanoseconds deadline, std::string& why);
    bool thread_lost() const noexcept { return thread_lost_.load(); }  ///< a worker was given up: never unload, never destroy
    std::vector<std::string> foreign(nanoseconds patience) const;

    const std::string& id() const noexcept { return id_; }
    std::uint64_t mark() const noexcept { return mark_key_; }
    /// The instance's own directory, made if need be.
    result<std::string> data_dir();
    json describe() const;  ///< counts of what it holds
    json process_nodes() const;  ///< its child processes as nodes of the tree. Reads /proc

    /// Runs f, a call into the plugin, if callbacks may still run: marked, counted, and with nothing escaping. false: not run.
    template <class F>
    bool call_plugin(const char* what, F&& f) noexcept {
        if (!enter()) return false;
        {
            call_mark mark(mark_key_);
            try {
                f();
            } catch (const std::exception& e) {
                escaped(what, e.what());
            } catch (...) {
                escaped(what, "an exception of an unknown type");
            }
        }
        leave();
        return true;
    }

    // The tables behind get_ext; `ctx` is `this`.
    struct tables;

  private:
    friend struct tables;
    struct timer_entry;
    struct worker_entry;
    struct process_entry;
    struct api_call;

    bool enter() noexcept;
    void leave() noexcept;
    void escaped(const char* what, const char* message) noexcept;
    bool refusing() const noexcept { return revoked_.load(std::memory_order_acquire); }

    result<void> start_worker(const hf_worker_spec& spec);
    result<void> stop_worker(std::string_view name);
    result<void> wake_worker(std::string_view name);
    int run_worker(worker_entry& w, supervise::worker_signals& signals);

    /// Handles are stored before any callback can come: it may read them.
    result<void> start_timer(std::int64_t delay_ns, void (*fire)(void*), void* arg, std::uint64_t& timer);
    void cancel_timer(std::uint64_t id);
    void fire_timer(const std::shared_ptr<timer_entry>& t);

    result<void> subscribe(std::string_view options, const hf_event_sink& sink, std::uint64_t& subscription, std::uint64_t& seq);
    void unsubscribe(std::uint64_t id);
    result<void> publish(std::string_view event);

    result<void> spawn(std::string_view spec, const hf_process_sink& sink, std::uint64_t& process, std::int64_t& pid);
    result<std::shared_ptr<supervise::process>> find_process(std::uint64_t id);
    void stop_process(std::uint64_t id, std::uint32_t grace_ms);

    result<void> lend_listener(const std::string& address, std::uint16_t port, std::int32_t& fd);

    result<void> api_submit(const hf_call& call);
    void api_cancel(std::uint64_t id);
    void api_chunk(const std::shared_ptr<api_call>& c, std::string_view piece);
    void api_complete(const std::shared_ptr<api_call>& c, result<json> r);
    void api_finish(api_call& c, const result<json>& r);

    const std::shared_ptr<service_context> context_;  // second owners: the set and the other instances
    const std::string id_;
    const std::string thread_prefix_;
    const std::uint64_t mark_key_;
    const json settings_;
    const supervise::restart_type worker_restart_;
    const std::function<void(std::string)> crash_;
    std::shared_ptr<listeners> listeners_;  // second owner: the set, for all incarnations
    std::uint64_t serial_ = 0;
    hf_host host_{};
    std::atomic<bool> revoked_{false};
    std::atomic<bool> thread_lost_{false};

    // Calls into the plugin under way. `closed_`: no new one may begin.
    std::mutex inside_mutex_;
    std::condition_variable inside_changed_;
    std::size_t inside_ = 0;
    bool closed_ = false;

    mutable std::mutex mutex_;  // guards the tables below; never held while the plugin or another box is called
    std::condition_variable changed_;
    std::uint64_t next_handle_ = 1;
    supervise::ref<supervise::supervisor> workers_sup_;
    std::map<std::string, std::shared_ptr<worker_entry>, std::less<>> workers_;      // second owner: the worker's thread
    std::map<std::uint64_t, std::shared_ptr<timer_entry>> timers_;                   // second owner: the timer's closure
    std::map<std::uint64_t, events::push_subscription> subscriptions_;
    std::size_t subscribing_ = 0;
    std::map<std::uint64_t, std::shared_ptr<process_entry>> processes_;              // second owner: the process's callbacks
    std::map<std::uint64_t, std::shared_ptr<api_call>> api_calls_;                   // second owner: the reply
};

/// hf_host.get_ext.
const void* host_extension(void* ctx, hf_str id);

}  // namespace holdfast::plugins::detail
