#pragma once
// A plugin instance in a process of its own, seen from the host: the same tables as the plugin itself would offer. Every function is
// carried to the runner and back; what comes from there is checked like any stranger's input, and a runner that breaks the protocol,
// does not answer or does not read is killed. Its end completes every call in flight.
//
// Threads: one receives what the plugin tells and calls the host's sinks, one serves what it asks of its host. Calls into the plugin
// run on the caller's thread.
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "holdfast/abi/call.h"
#include "holdfast/abi/plugin.h"
#include "holdfast/ext/transport.h"
#include "holdfast/ext/worker.h"
#include "kernel/plugins/crash_report.hpp"
#include "kernel/plugins/host_services.hpp"
#include "kernel/plugins/isolation/channel.hpp"
#include "kernel/plugins/isolation/mode.hpp"
#include "kernel/plugins/isolation/sandbox.hpp"
#include "kernel/plugins/loader.hpp"
#include "kernel/supervise/process.hpp"

namespace holdfast::plugins::isolation {

/// Times that a runner states are taken as at most so far away: the host calculates with them.
inline constexpr std::int64_t longest_ns = std::int64_t(10) * 365 * 24 * 3600 * 1'000'000'000;

struct proxy_options {
    supervise::process_spawner* processes = nullptr;  ///< borrowed; outlives the proxy
    std::string runner;                               ///< the program to start as a runner
    std::string id, thread_prefix;
    std::string data_dir;                             ///< the host's; the instance's own directory is below it
    std::int32_t level = HF_LOG_INFO;
    sandbox_wish sandbox;
    runner_limits limits;
    milliseconds init_timeout{10'000}, start_timeout{10'000}, quiesce_timeout{2'000}, stop_timeout{5'000};
    milliseconds quiesce_margin{400};  ///< beyond the deadline that quiesce was given
    std::function<void(int level, std::string message, json fields)> log;
    /// The instance is lost, and why: its process ended, hung or broke the protocol. Once; any thread.
    std::function<void(std::string why)> crashed;
    /// The process died of its own accord: what it said. `copy` keeps the file that the stack points into. May be empty.
    std::function<void(crash_report report, std::shared_ptr<const private_copy> copy)> report;
    /// The plugin broke a rule of completion, which did no harm here: a sentence. Any thread. May be empty.
    std::function<void(const char* what)> misused;
};

class proxy : public std::enable_shared_from_this<proxy> {
  public:
    static std::shared_ptr<proxy> create(proxy_options options);
    ~proxy();

    // [control] The steps of an instance up to create; the rest is in the table that create answers.
    /// Starts the runner and lets it load the file. Errors: as loader::open, and those of the process.
    result<void> launch(const staged_plugin& file, std::shared_ptr<const private_copy> copy);
    std::int32_t make(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err);
    /// After destroy, or instead of it: ends the process and waits for its end. Idempotent.
    void end() noexcept;

    /// What the instance's own table looked like.
    table_shape shape() const;
    /// What get_ext answers, and what the plugin's own table looks like.
    const void* find(hf_str id, table_shape& theirs);
    std::vector<std::string> own_threads();  ///< that the plugin has started itself and that run now

    void kill(const std::string& why) noexcept;  ///< [any thread] the reason becomes the crash's
    void give_up() noexcept;                     ///< [any thread] ends it without a word: nobody is left to tell
    void set_level(std::int32_t level);          ///< [any thread]
    json describe() const;                       ///< {"pid", "memory_bytes", "sandbox", …}; reads /proc
    std::int64_t pid() const noexcept;
    json sandbox_level() const;                  ///< what took effect in the runner
    std::vector<std::string> leaked_threads() const;  ///< after destroy: threads that the plugin started itself and that still ran

    /// The host's ends of what the two talk over.
    struct lines {
        unique_fd control, calls, tells, services;
    };
    /// For tests, instead of launch(): the runner is whoever holds the other ends, and there is no process to be killed.
    void attach(lines ours);

    struct tables;

  private:
    friend struct tables;
    struct worker;
    struct process_sink;
    struct event_sink;
    explicit proxy(proxy_options options);

    /// request: begun with control_frame(), so that what was told before it is heard before it.
    std::int32_t control(kind what, const frame_writer& request, milliseconds timeout, hf_error* err, const std::function<void(frame_reader&)>& more = {});
    frame_writer control_frame(kind what) const;
    std::int32_t call(const frame_writer& request, hf_error* err, const std::function<void(frame_reader&)>& more = {}, milliseconds patience = {});
    std::int32_t answered(result<frame> r, const char* what, bool is_control, milliseconds timeout, hf_error* err, const std::function<void(frame_reader&)>& more);
    error lost(const char* what, const error& how, milliseconds timeout);
    std::string reason(milliseconds patience);
    void use(lines ours);
    void hear_runner();  ///< starts receive_tells()
    void told(frame_reader& in);
    /// attached: a descriptor that goes with the reply.
    void asked(frame_reader& in, frame_writer& out, unique_fd& attached);
    void receive_tells();
    void serve_requests();
    void fail_everything(const std::string& why);
    crash_report report_of(const supervise::process_exit& e) const;
    void on_exit(const supervise::process_exit& e);
    void broken(const char* what);
    void misused(const char* what);
    void fill_instance();
    /// For what the runner has refused: no callback of it starts any more, and none runs when this returns. false: it has ended by one.
    template <class Map>
    bool forget(Map& map, std::uint64_t number) {
        std::unique_lock lock(mutex_);
        if (map.erase(number) == 0) return false;
        if (tells_thread_.get_id() != std::this_thread::get_id()) changed_.wait(lock, [&] { return calling_back_ != &map || calling_number_ != number; });
        return true;
    }
    bool is_dead() const {
        std::lock_guard lock(mutex_);
        return dead_;
    }
    static std::int32_t await_stop(const hf_worker_ctl* ctl);
    std::int32_t run_worker(worker& w, const hf_worker_ctl* ctl, hf_error* err);
    std::int32_t serve_worker_start(frame_reader& in, hf_error* err);
    std::int32_t serve_spawn(std::uint64_t number, std::string_view spec, frame_writer& more, hf_error* err);
    std::int32_t serve_subscribe(std::uint64_t number, std::string_view options, frame_writer& more, hf_error* err);
    template <class T>
    const T* host_ext(const char* id) const {
        const hf_host* h = host_.load();
        return h ? static_cast<const T*>(h->get_ext(h->ctx, {id, std::strlen(id)})) : nullptr;
    }
    void* host_ctx() const { return host_.load()->ctx; }

    const proxy_options options_;
    hf_instance instance_{};
    std::atomic<const hf_host*> host_{nullptr};  // of the incarnation's services; set by make()
    std::unique_ptr<caller> control_, calls_;
    std::unique_ptr<teller> tells_;
    unique_fd requests_;
    std::thread tells_thread_, requests_thread_;
    mutable std::mutex mutex_;  // guards what follows; never held while the host or the runner is called
    std::condition_variable changed_;
    std::shared_ptr<supervise::process> process_;  // second owner: the spawner
    std::optional<supervise::process_exit> exit_;
    std::shared_ptr<const private_copy> copy_;     // second owner: whoever makes a report of a crash
    std::string doom_;           // why it was killed
    bool ending_ = false;        // told to end: its end is no crash
    bool destroying_ = false;    // asked for its last step, after which it ends by itself: only a clean end is none
    bool dead_ = false;
    json sandbox_ = json::object();
    const void* calling_back_ = nullptr;  // the map whose record a callback runs for at this moment, and the record's number
    std::uint64_t calling_number_ = 0;
    std::unordered_map<std::uint64_t, hf_call> pending_;
    std::unordered_map<std::uint64_t, hf_transport_sink> conns_;
    std::unordered_map<std::uint64_t, std::shared_ptr<worker>> workers_;          // second owner: its thread
    std::unordered_map<std::uint64_t, std::unique_ptr<process_sink>> processes_;  // by the runner's number
    std::unordered_map<std::uint64_t, std::unique_ptr<event_sink>> subscriptions_;
    table_shape shape_;
    std::uint64_t last_policy_ = 0;
    std::vector<std::string> leaked_;
};

}  // namespace holdfast::plugins::isolation
