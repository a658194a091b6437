#pragma once
// A host for tests, in memory: every host interface of holdfast/ext, recorded and scriptable. Workers are real threads that
// are joined, processes are real children, time is manual or real.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/abi/plugin.h"

namespace holdfast::testing {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

struct fake_host_options {
    std::string instance_id = "under-test";
    std::string settings = "{}";
    bool manual_time = true;        ///< hf.timer/1 only: timers fire in advance(). Workers wait in real time.
    std::int32_t log_level = HF_LOG_TRACE;
    std::string data_dir;           ///< empty: a temporary directory, removed with the host
    std::vector<std::string> without;  ///< host interfaces this host does not have, e.g. "hf.metrics/1"
    bool failing = false;  ///< every function of every host interface that can fail does
    bool newer = false;    ///< hf_host is longer than this SDK knows, as that of a later host
};

struct logged {
    std::int32_t level;
    std::string message, fields;
};
struct worker_report {
    std::string name, restart, last_message;
    bool running = false;
    std::uint32_t incarnation = 0;
    std::int32_t last_code = 0;   ///< of the last run that ended
    std::uint64_t beats = 0;
};
/// What a scripted API method answers.
struct api_reply {
    std::int32_t code = HF_OK;
    std::string text;  ///< the result as JSON, or the error's message
};

class fake_host {
  public:
    explicit fake_host(fake_host_options options = {});
    ~fake_host();  ///< revokes
    fake_host(const fake_host&) = delete;
    fake_host& operator=(const fake_host&) = delete;

    const hf_host* abi() const;
    std::size_t threads() const;  ///< how many threads of this process are this host's: workers, timers, processes
    const std::string& data_dir() const;
    void set_log_level(std::int32_t level);

    /// What the host does between stop and destroy: workers are told to stop and joined, timers and subscriptions end,
    /// processes are killed and reaped. Returns what the plugin had left, for tests that demand that it leaves nothing.
    struct leftovers {
        std::vector<std::string> workers;
        std::size_t timers = 0, subscriptions = 0, processes = 0;
    };
    leftovers revoke();

    // Time
    std::int64_t now_ns() const;
    void advance(nanoseconds by);  ///< manual time only: fires what is due, in order, on this thread
    std::size_t pending_timers() const;

    // Logs
    std::vector<logged> logs() const;
    bool wait_for_log(std::string_view part, milliseconds timeout = milliseconds(5000)) const;

    // Workers
    std::vector<worker_report> workers() const;
    /// Runs a worker that has ended once more, as the supervisor would. False: unknown or still running.
    bool restart_worker(std::string_view name);
    bool wait_for_worker(std::string_view name, const std::function<bool(const worker_report&)>& is,
                         milliseconds timeout = milliseconds(5000)) const;
    void stop_workers();  ///< tells all to stop and joins them

    // Processes
    std::size_t processes_running() const;

    // Events
    std::vector<std::string> published() const;
    /// Delivers to the subscriptions of `topic` on this thread. The event gets topic and seq.
    void emit(std::string_view topic, std::string_view event_json);
    std::size_t subscriptions() const;

    // API: methods without a script answer HF_E_UNSUPPORTED. Scripts run on the caller's thread.
    void on_api(std::string_view method, std::function<api_reply(const std::string& request)> script);
    std::vector<std::string> api_calls() const;  ///< method names in order

    // Metrics: the sum of a counter, the last value of a gauge, the number of observations of a histogram.
    double metric(std::string_view name) const;

    struct impl;

  private:
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::testing
