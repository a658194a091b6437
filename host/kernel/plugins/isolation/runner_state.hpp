#pragma once
// The one plugin of a runner process, and the host as it sees it. Private to the runner.
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/timer.h"
#include "holdfast/ext/config.h"
#include "kernel/plugins/detail/services.hpp"
#include "kernel/plugins/detail/worker_body.hpp"
#include "kernel/plugins/isolation/channel.hpp"
#include "kernel/plugins/isolation/runner.hpp"
#include "kernel/plugins/loader.hpp"

namespace holdfast::plugins::isolation {

inline constexpr std::size_t runner_queue_bytes = 64u << 20;  ///< told and not yet read by the host; then the plugin's threads wait
inline constexpr auto service_patience = seconds(30);         ///< for the host's answer to a service request

/// What a request's handler answers with.
struct answer {
    std::int32_t rc = HF_OK;
    hf_error err{};
    answer() { err.size = sizeof err; }
};

class runner {
  public:
    runner();
    int run();

    // ---- for the host's tables (runner_host.cpp)
    bool tell(const frame_writer& f) {
        in_order();
        return tells_.tell(f);
    }
    /// Asks the host. rc of the reply; its further fields through `more`; `attached`: a descriptor that comes with it.
    std::int32_t ask(const frame_writer& request, hf_error* err, const std::function<void(frame_reader&)>& more = {}, unique_fd* attached = nullptr);
    std::int32_t start_worker(const hf_worker_spec& spec, hf_error* err);
    std::int32_t with_worker(std::string_view name, kind what, hf_error* err);
    std::int32_t spawn(hf_bytes spec, const hf_process_sink& sink, std::uint64_t* process, std::int64_t* pid, hf_error* err);
    std::int32_t subscribe(hf_bytes options, const hf_event_sink& sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err);
    void unsubscribe(std::uint64_t id);
    std::int32_t api_submit(const hf_call& call, hf_error* err);
    std::int32_t listen(hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* err);
    bool host_offers(std::string_view ext) const { return !missing_.contains(ext); }
    std::int32_t level() const noexcept { return __atomic_load_n(&level_, __ATOMIC_RELAXED); }
    detail::services& local() noexcept { return *local_; }
    const hf_timer* timers = nullptr;   ///< the tables over local()
    const hf_config* config = nullptr;
    /// Runs f, the plugin's code, on this thread: what it throws is told to the host as a crash of the instance.
    template <class F>
    void guarded(const char* what, F&& f) noexcept {
        try {
            f();
        } catch (const std::exception& e) {
            escaped(what, e.what());
        } catch (...) {
            escaped(what, "an exception of an unknown type");
        }
    }
    void escaped(const char* what, const char* message) noexcept;

  private:
    struct worker;
    /// Around whatever goes to the host or comes from it. The host hears one of our threads and then speaks to another: an order that
    /// comes about in another process, and that the language (and ThreadSanitizer) knows of only by this.
    void in_order() noexcept { order_.fetch_add(1, std::memory_order_acq_rel); }
    void start_threads();
    /// Serves one request socket until it closes.
    void serve(int fd, void (runner::*handle)(frame_reader&, frame_writer&), bool control);
    void on_control(frame_reader& in, frame_writer& out);
    void on_call(frame_reader& in, frame_writer& out);
    void on_policy(frame_reader& in, frame_writer& out);
    void on_told(const frame& f);
    void on_told(frame_reader& in);

    void hello(frame_reader& in, frame_writer& out);
    void create(frame_reader& in, frame_writer& out);
    std::vector<std::string> destroy();
    void watch_beat(const std::shared_ptr<worker>& w, const std::shared_ptr<supervise::worker_signals>& signals);
    void run_worker(const std::shared_ptr<worker>& w, std::uint32_t incarnation);
    template <class Table>
    const Table* ext(const char* id) {
        const auto* t = static_cast<const Table*>(find_ext(id));
        if (t == nullptr) throw std::runtime_error(std::string("it does not offer ") + id);
        return t;
    }
    const void* find_ext(std::string_view id, table_shape* shape = nullptr);
    std::uint64_t next_handle() { return handle_.fetch_add(1) + 1; }

    unique_fd control_, calls_;
    teller tells_;
    caller services_;

    std::string id_, prefix_, data_dir_;
    std::set<std::string, std::less<>> missing_;  // set by create, before the plugin's code asks
    volatile std::int32_t level_ = HF_LOG_INFO;
    std::shared_ptr<generation> gen_;
    hf_host host_{};
    hf_instance table_{};
    bool exists_ = false;
    std::unique_ptr<supervise::pool_runtime> rt_;
    std::shared_ptr<detail::service_context> context_;  // second owner: local_
    std::shared_ptr<detail::services> local_;           // second owners: timers under way
    std::atomic<std::uint64_t> handle_{0};
    std::atomic<std::uint64_t> order_{0};

    std::mutex mutex_;  // guards what follows; never held while the plugin or the host is called
    struct extension {
        std::unique_ptr<std::byte[]> table;  ///< complete
        table_shape theirs;
    };
    std::map<std::string, extension, std::less<>> exts_;
    std::unordered_map<std::uint64_t, void*> policies_;
    std::unordered_map<std::uint64_t, hf_call> api_calls_;               // by our number; .id is the plugin's
    std::unordered_map<std::uint64_t, hf_event_sink> subscriptions_;     // by our number, as the rest
    std::unordered_map<std::uint64_t, std::uint64_t> host_subscriptions_;
    std::unordered_map<std::uint64_t, hf_process_sink> processes_;
    std::unordered_map<std::uint64_t, std::shared_ptr<worker>> workers_;
};

/// hf_host.get_ext of a runner; ctx is the runner.
const void* runner_extension(void* ctx, hf_str id);

}  // namespace holdfast::plugins::isolation
