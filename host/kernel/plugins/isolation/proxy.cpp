#include "kernel/plugins/isolation/proxy.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "holdfast/ext/api.h"
#include "holdfast/ext/config.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/process.h"
#include "holdfast/ext/timer.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/isolation/proxy_parts.hpp"
#include "kernel/plugins/isolation/runner.hpp"

namespace holdfast::plugins::isolation {
namespace {

constexpr std::size_t host_queue_bytes = 64u << 20;   // told and not yet read by the runner; beyond it the runner is killed
constexpr auto call_patience = milliseconds(5'000);   // for calls that the interface says are short
constexpr auto exit_patience = milliseconds(500);     // from a closed socket to the news of the exit
constexpr auto end_patience = milliseconds(1'000);

constexpr const char* host_interfaces[] = {HF_EXT_LOG, HF_EXT_METRICS, HF_EXT_TIMER, HF_EXT_CONFIG, HF_EXT_WORKER, HF_EXT_EVENTS, HF_EXT_PROCESS, HF_EXT_API, HF_EXT_LISTEN};

/// What a runner inherits of our environment: what a child process does, and what network libraries look for.
const std::vector<std::string>& runner_environment() {
    static const std::vector<std::string> names = [] {
        auto all = supervise::default_environment_names();
        for (const char* more : {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
                                 "LD_LIBRARY_PATH", "COLORTERM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"})
            all.emplace_back(more);
        return all;
    }();
    return names;
}

}  // namespace

std::shared_ptr<proxy> proxy::create(proxy_options options) { return std::shared_ptr<proxy>(new proxy(std::move(options))); }
proxy::proxy(proxy_options options) : options_(std::move(options)) { fill_instance(); }
proxy::~proxy() { end(); }

result<void> proxy::launch(const staged_plugin& file, std::shared_ptr<const private_copy> copy) {
    copy_ = std::move(copy);
    if (options_.processes == nullptr) return fail(errc::unavailable, "this host starts no processes: \"isolation\": \"process\" needs it");
    std::pair<unique_fd, unique_fd> pairs[4];
    for (auto& p : pairs) {
        auto made = socket_pair();
        if (!made) return tl::unexpected<error>(made.error());
        p = std::move(*made);
    }
    use({std::move(pairs[0].first), std::move(pairs[1].first), std::move(pairs[2].first), std::move(pairs[3].first)});

    supervise::process_options o;
    o.argv = {options_.runner, runner_flag};
    o.environment = supervise::allowed_environment(runner_environment());
    o.inherit = {{pairs[0].second.get(), control_fd}, {pairs[1].second.get(), calls_fd}, {pairs[2].second.get(), tells_fd}, {pairs[3].second.get(), services_fd}};
    if (file.about.kind == "ui" && ::isatty(STDIN_FILENO) == 1) o.inherit.insert(o.inherit.end(), {{STDIN_FILENO, terminal_in_fd}, {STDOUT_FILENO, terminal_out_fd}});
    o.memory_limit_bytes = options_.limits.memory_mb << 20;
    o.sample_interval = milliseconds(250);
    o.cpu_limit_percent = options_.limits.cpu_percent;
    o.nofile_limit = options_.limits.descriptors;
    o.stop = {milliseconds(200), milliseconds(300)};
    supervise::process_callbacks on;
    on.on_line = [log = options_.log](std::string_view line) { log(HF_LOG_INFO, std::string(line), {{"stream", "stdout"}}); };
    on.on_stderr = [log = options_.log](std::string_view line) { log(HF_LOG_WARN, std::string(line), {{"stream", "stderr"}}); };
    on.on_exit = [weak = weak_from_this()](const supervise::process_exit& e) {
        if (auto me = weak.lock()) me->on_exit(e);
    };
    auto started = options_.processes->spawn(std::move(o), std::move(on), options_.init_timeout);
    if (!started) return fail(errc::plugin_failed, "its process could not be started: " + started.error().message);
    {
        std::lock_guard lock(mutex_);
        process_ = std::move(*started);
    }
    for (auto& p : pairs) p.second.reset();  // the runner's ends: only its death may keep them open
    hear_runner();

    hf_error err = empty_hf_error();
    auto hello = control_frame(kind::hello);
    hello.put(protocol_version).text(options_.id).text(file.path).text(file.sha256).text(file.origin).text(options_.data_dir);
    hello.put(options_.level).text(options_.thread_prefix).text(dump(options_.sandbox.to_json()));
    const auto rc = control(kind::hello, hello, options_.init_timeout, &err, [&](frame_reader& in) {
        auto level = parse_json(in.text(), 8);
        std::lock_guard lock(mutex_);
        if (level && level->is_object()) sandbox_ = std::move(*level);
    });
    if (rc < 0) return tl::unexpected<error>(from_abi(rc, &err));
    return {};
}

void proxy::use(lines ours) {
    control_ = std::make_unique<caller>(std::move(ours.control));
    calls_ = std::make_unique<caller>(std::move(ours.calls));
    tells_ = std::make_unique<teller>(std::move(ours.tells), host_queue_bytes, false);
    requests_ = std::move(ours.services);
}

void proxy::hear_runner() {
    tells_thread_ = std::thread([self = shared_from_this()] { self->receive_tells(); });
}

void proxy::attach(lines ours) {
    use(std::move(ours));
    hear_runner();
}

std::int32_t proxy::make(const hf_host* host, hf_bytes settings, const hf_instance** out, hf_error* err) {
    host_ = host;
    requests_thread_ = std::thread([self = shared_from_this()] { self->serve_requests(); });
    auto request = control_frame(kind::create);
    request.text(settings);
    std::vector<const char*> missing;
    for (const char* ext : host_interfaces)
        if (!host_ext<void>(ext)) missing.push_back(ext);
    request.put(static_cast<std::uint32_t>(missing.size()));
    for (const char* ext : missing) request.text(std::string_view(ext));
    const auto rc = control(kind::create, request, options_.init_timeout, err, [this](frame_reader& in) {
        const auto theirs = in.shape();
        std::lock_guard lock(mutex_);
        shape_ = theirs;
    });
    if (rc >= 0) *out = &instance_;
    return rc;
}

void proxy::end() noexcept {
    std::shared_ptr<supervise::process> p;
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
        p = process_;
    }
    if (control_) control_->close();  // the runner's main thread ends with it
    if (p) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, end_patience, [&] { return exit_.has_value(); })) {
            lock.unlock();
            p->kill();
            lock.lock();
            changed_.wait_for(lock, end_patience, [&] { return exit_.has_value(); });
        }
    }
    if (calls_) calls_->close();
    if (tells_) tells_->close();
    if (requests_) shutdown(requests_.get(), SHUT_RDWR);
    for (auto* t : {&tells_thread_, &requests_thread_}) {
        if (!t->joinable()) continue;
        if (t->get_id() == std::this_thread::get_id()) t->detach();  // the last owner was a callback: this thread is on its way out
        else t->join();
    }
}

void proxy::kill(const std::string& why) noexcept {
    std::shared_ptr<supervise::process> p;
    {
        std::lock_guard lock(mutex_);
        if (doom_.empty()) doom_ = why;
        p = process_;
    }
    if (p) p->kill();
}

void proxy::give_up() noexcept {
    std::shared_ptr<supervise::process> p;
    {
        std::lock_guard lock(mutex_);
        ending_ = true;
        p = process_;
    }
    if (p) p->kill();
}

void proxy::set_level(std::int32_t level) {
    if (tells_) tells_->tell(frame_writer(kind::log_level).put(level));
}

std::int64_t proxy::pid() const noexcept {
    std::lock_guard lock(mutex_);
    return process_ && !exit_ ? process_->pid() : 0;
}

table_shape proxy::shape() const {
    std::lock_guard lock(mutex_);
    return shape_;
}

json proxy::sandbox_level() const {
    std::lock_guard lock(mutex_);
    return sandbox_;
}

std::vector<std::string> proxy::leaked_threads() const {
    std::lock_guard lock(mutex_);
    return leaked_;
}

json proxy::describe() const {
    std::shared_ptr<supervise::process> p;
    json out{{"sandbox", sandbox_level()}};
    {
        std::lock_guard lock(mutex_);
        if (exit_) return out;
        p = process_;
    }
    if (!p) return out;
    const auto used = p->usage();
    out.update({{"pid", used.pid}, {"memory_bytes", used.rss_bytes}, {"cpu_ms", used.cpu_ms}, {"descriptors", used.descriptors}});
    return out;
}

void proxy::on_exit(const supervise::process_exit& e) {
    std::lock_guard lock(mutex_);
    exit_ = e;
    changed_.notify_all();
}

/// Why the process is gone, in words. Waits a moment for the news of its exit.
std::string proxy::reason(milliseconds patience) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, patience, [&] { return exit_.has_value() || !process_; });
    if (!doom_.empty()) return doom_;
    if (!exit_) return "its process has closed the connection";
    const auto& r = exit_->reason;
    using supervise::exit_kind;
    switch (r.kind) {
        case exit_kind::signal: {
            const char* name = sigabbrev_np(r.code);
            return "its process was ended by signal " + (name ? "SIG" + std::string(name) : std::to_string(r.code));
        }
        case exit_kind::memory_limit: return "its process exceeded its memory limit of " + std::to_string(options_.limits.memory_mb) + " MB";
        case exit_kind::cpu_limit: return "its process exceeded its CPU limit of " + std::to_string(options_.limits.cpu_percent) + " % of a core";
        case exit_kind::normal: return "its process ended by itself (exit code 0)";
        case exit_kind::exit_code: return "its process ended with exit code " + std::to_string(r.code);
        default: return "its process ended: " + r.text();
    }
}

// ---- asking the runner

error proxy::lost(const char* what, const error& how, milliseconds timeout) {
    if (how.code == errc::overloaded) return how;
    if (how.code == errc::timeout) kill(std::string(what) + " did not return within " + std::to_string(timeout.count()) + " ms; its process was ended");
    else if (how.code == errc::protocol_error) kill("its process broke the protocol: " + how.message);
    return {how.code == errc::timeout ? errc::timeout : errc::plugin_failed, "plugin '" + options_.id + "': " + reason(exit_patience)};
}

std::int32_t proxy::answered(result<frame> r, const char* what, bool is_control, milliseconds timeout, hf_error* err, const std::function<void(frame_reader&)>& more) {
    if (!r) return fill(err, lost(what, r.error(), timeout));
    auto in = r->read();
    const auto told = in.get<std::uint64_t>();
    // What the plugin told before it returned is heard before we return, where that can matter.
    auto hear = [&] { tells_->await_handled(told, std::chrono::steady_clock::now() + call_patience); };
    if (is_control) hear();
    if (in.what() == kind::threw) throw std::runtime_error(std::string(in.text()));
    if (in.what() != kind::reply) return fill(err, lost(what, {errc::protocol_error, "a reply of an unknown kind"}, timeout));
    const auto rc = in.get<std::int32_t>();
    if (rc < 0) {
        hear();
        const auto theirs = in.fault();
        if (in.ok() && err) {
            const auto size = err->size;
            std::memcpy(err, &theirs, std::min<std::size_t>(size, sizeof theirs));
            err->size = size;
        }
    } else if (more) {
        more(in);
    }
    if (!in.ok()) return fill(err, lost(what, {errc::protocol_error, "a damaged reply"}, timeout));
    return rc;
}

frame_writer proxy::control_frame(kind what) const {
    frame_writer f(what);
    f.put(tells_->told());
    return f;
}

std::int32_t proxy::control(kind what, const frame_writer& request, milliseconds timeout, hf_error* err, const std::function<void(frame_reader&)>& more) {
    return answered(control_->ask(request, std::chrono::steady_clock::now() + timeout), name_of(what), true, timeout, err, more);
}

std::int32_t proxy::call(const frame_writer& request, hf_error* err, const std::function<void(frame_reader&)>& more, milliseconds patience) {
    if (patience.count() == 0) patience = call_patience;
    return answered(calls_->ask(request, std::chrono::steady_clock::now() + patience), name_of(frame_reader(request.bytes()).what()), false, patience, err, more);
}

// ---- what the plugin tells

void proxy::broken(const char* what) { kill(std::string("its process broke the protocol: ") + what); }

void proxy::misused(const char* what) {
    count_late_answer();
    if (options_.misused) options_.misused(what);
}

void proxy::receive_tells() {
    detail::host_thread here;
    pthread_setname_np(pthread_self(), "hf-isolated");
    const auto how = tells_->run([this](const frame& f) {
        auto in = f.read();
        try {
            told(in);
        } catch (...) {  // a sink's own trouble; the runner is not to blame and goes on
        }
    });
    if (how == received::broken) broken("what it told is no frame");
    else if (tells_->overflowed()) kill("it does not read what its host tells it");
    std::string why = reason(exit_patience);
    std::shared_ptr<supervise::process> p;
    bool expected = false;
    {
        std::lock_guard lock(mutex_);
        dead_ = true;
        const auto how = exit_ ? std::optional(exit_->reason.kind) : std::nullopt;
        using supervise::exit_kind;
        // Whoever has just been told of a crash may have called end() already: that makes no crash an end as asked.
        const bool by_itself = how == exit_kind::signal || how == exit_kind::exit_code;
        expected = doom_.empty() && !by_itself && (ending_ || (destroying_ && how == exit_kind::normal));
        p = process_;
    }
    if (!expected && p) p->kill();  // it closed the socket and lives on
    control_->close();
    calls_->close();
    fail_everything(why);
    if (expected) return;
    std::optional<supervise::process_exit> how_it_ended;
    {
        std::lock_guard lock(mutex_);
        how_it_ended = exit_;
    }
    // Of its own accord: a signal that was not ours, or an exit that nobody asked for.
    using supervise::exit_kind;
    if (how_it_ended && options_.report && (how_it_ended->reason.kind == exit_kind::signal || how_it_ended->reason.kind == exit_kind::exit_code || how_it_ended->reason.kind == exit_kind::normal)) {
        auto report = report_of(*how_it_ended);
        if (!report.call.empty() && report.call != "?") why += " in " + report.call;
        options_.report(std::move(report), copy_);
    }
    options_.log(HF_LOG_ERROR, why, {{"pid", p ? p->pid() : 0}});
    options_.crashed(std::move(why));
}

crash_report proxy::report_of(const supervise::process_exit& e) const {
    crash_report r = parse_crash_trace(e.stderr_tail).value_or(crash_report{});
    if (r.signal.empty() && e.reason.kind == supervise::exit_kind::signal) {
        const char* name = sigabbrev_np(e.reason.code);
        r.signal = name ? "SIG" + std::string(name) : std::to_string(e.reason.code);
    }
    if (r.signal.empty()) r.signal = "exit(" + std::to_string(e.reason.code) + ")";
    r.plugin = options_.id;
    r.isolated = true;
    r.at = std::chrono::system_clock::now();
    return r;
}

/// Completes what the runner cannot complete any more.
void proxy::fail_everything(const std::string& why) {
    decltype(pending_) calls;
    decltype(conns_) conns;
    decltype(workers_) workers;
    {
        std::lock_guard lock(mutex_);
        calls.swap(pending_);
        conns.swap(conns_);
        workers = workers_;
    }
    const auto err = make_hf_error({errc::plugin_failed, "plugin '" + options_.id + "': " + why});
    for (auto& [id, c] : calls)
        if (c.on_done) c.on_done(c.ctx, id, &err, {});
    auto gone = err;
    gone.code = HF_E_TRANSPORT;
    for (auto& [conn, sink] : conns)
        if (sink.on_closed) sink.on_closed(sink.ctx, &gone);
    for (auto& [number, w] : workers) w->over(HF_E_INTERNAL, err, true);
}

}  // namespace holdfast::plugins::isolation
