#include "kernel/plugins/detail/services.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "kernel/plugins/detail/files.hpp"
#include "kernel/plugins/detail/lane.hpp"

namespace holdfast::plugins::detail {

void service_context::write_log(int level, const std::string& instance, std::string message, json fields) const noexcept {
    if (!log) return;
    try {
        log({level, instance, std::move(message), std::move(fields)});
    } catch (...) {  // the sink's own trouble must not end a plugin
    }
}

services::services(std::shared_ptr<service_context> context, std::string id, std::string thread_prefix, std::uint64_t mark_key, json settings,
                   supervise::restart_type worker_restart, std::function<void(std::string)> crash)
    : context_(std::move(context)), id_(std::move(id)), thread_prefix_(std::move(thread_prefix)), mark_key_(mark_key), settings_(std::move(settings)),
      worker_restart_(worker_restart), crash_(std::move(crash)) {
    host_.size = sizeof host_;
    host_.abi = HF_ABI_VERSION;
    host_.ctx = this;
    host_.log_level = &context_->log_level;
    host_.instance_id = as_str(id_);
    host_.get_ext = host_extension;
}

services::~services() = default;

void services::set_workers(supervise::ref<supervise::supervisor> workers) {
    std::lock_guard lock(mutex_);
    workers_sup_ = std::move(workers);
}

void services::set_listeners(std::shared_ptr<listeners> from, std::uint64_t serial) {
    listeners_ = std::move(from);
    serial_ = serial;
}

result<void> services::lend_listener(const std::string& address, std::uint16_t port, std::int32_t& fd) {
    if (refusing()) return fail(errc::stale, "the instance is being stopped");
    if (!listeners_) return fail(errc::unavailable, "this host lends no listening sockets");
    auto lent = listeners_->lend(serial_, address, port);
    if (!lent) return tl::unexpected<error>(lent.error());
    fd = lent->release();
    return {};
}

bool services::enter() noexcept {
    std::lock_guard lock(inside_mutex_);
    if (closed_) return false;
    ++inside_;
    return true;
}

void services::leave() noexcept {
    std::lock_guard lock(inside_mutex_);
    --inside_;
    inside_changed_.notify_all();
}

void services::escaped(const char* what, const char* message) noexcept {
    try {
        const std::string why = std::string(what) + " threw: " + message;
        context_->write_log(HF_LOG_ERROR, id_, "an exception came out of the plugin", {{"where", what}, {"what", message}});
        if (crash_) crash_(why);
    } catch (...) {  // out of memory while reporting: the exception itself has been contained
    }
}

bool services::revoke(nanoseconds deadline, std::string& why) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    auto left = [&] { return std::max<nanoseconds>(until - std::chrono::steady_clock::now(), milliseconds(10)); };
    bool clean = true;
    auto trouble = [&](std::string what) {
        clean = false;
        if (why.empty()) why = std::move(what);
    };
    revoked_.store(true, std::memory_order_release);

    supervise::ref<supervise::supervisor> workers;
    std::vector<std::uint64_t> timers;
    std::map<std::uint64_t, events::push_subscription> subscriptions;
    std::map<std::uint64_t, std::shared_ptr<api_call>> calls;
    std::vector<std::uint64_t> processes;
    {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, until, [&] { return subscribing_ == 0; });
        workers = std::exchange(workers_sup_, {});
        for (const auto& t : timers_) timers.push_back(t.first);
        subscriptions.swap(subscriptions_);
        calls.swap(api_calls_);
        for (const auto& p : processes_) processes.push_back(p.first);
    }
    for (const auto id : processes) stop_process(id, 500);
    for (const auto& [id, c] : calls) api_complete(c, fail(errc::cancelled, "the plugin is being stopped"));
    if (workers && !workers->stop_and_wait(left())) trouble("its workers did not end");
    if (thread_lost_.load()) trouble("a worker thread did not end when told to and is left behind");
    for (const auto id : timers) cancel_timer(id);
    subscriptions.clear();
    {
        std::unique_lock lock(mutex_);
        auto none = [&] { return processes_.empty(); };
        // Half of the time for the ladder; then everything is killed, which cannot be refused.
        if (!changed_.wait_until(lock, until - deadline / 2, none)) {
            std::vector<std::uint64_t> rest;
            for (const auto& p : processes_) rest.push_back(p.first);
            lock.unlock();
            for (const auto id : rest) stop_process(id, 0);
            lock.lock();
            if (!changed_.wait_until(lock, until, none)) {
                lock.unlock();
                trouble("its child processes did not end");
            }
        }
    }
    std::unique_lock lock(inside_mutex_);
    closed_ = true;
    if (!inside_changed_.wait_for(lock, left(), [&] { return inside_ == 0; })) trouble("a callback into it has not returned");
    return clean;
}

std::vector<std::string> services::foreign(nanoseconds patience) const { return foreign_threads(thread_prefix_, patience); }

json services::describe() const {
    std::lock_guard lock(mutex_);
    return {{"timers", timers_.size()}, {"subscriptions", subscriptions_.size()}, {"processes", processes_.size()}, {"api_calls", api_calls_.size()}};
}

result<std::string> services::data_dir() {
    if (context_->data_dir.empty()) return fail(errc::unavailable, "the host has no data directory");
    std::string path = context_->data_dir + "/plugins/" + id_;
    auto made = private_directory(path);
    if (!made) return tl::unexpected<error>(made.error());
    return path;
}

result<void> private_directory(const std::string& path) {
    for (std::size_t at = path.find('/', 1);; at = path.find('/', at + 1)) {
        const std::string part = path.substr(0, at);
        if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return fail(errc::io_error, "cannot create " + part + ": " + std::strerror(errno));
        if (at == std::string::npos) break;
    }
    struct stat st {};
    if (stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) return fail(errc::io_error, path + " is not a directory");
    if (st.st_uid != geteuid()) return fail(errc::io_error, path + " belongs to another user");
    if ((st.st_mode & 077) != 0 && chmod(path.c_str(), 0700) != 0) return fail(errc::io_error, path + " cannot be made private: " + std::strerror(errno));
    return {};
}

std::string own_program() {
    std::error_code ec;
    return std::filesystem::read_symlink("/proc/self/exe", ec).string();
}

// ---- timers

struct services::timer_entry {
    std::uint64_t id = 0;
    void (*fire)(void*) = nullptr;
    void* arg = nullptr;
    std::mutex mutex;
    std::condition_variable changed;
    enum { waiting, running, over } state = waiting;  // under mutex
    std::thread::id thread;
    supervise::timer_handle handle;  // under services::mutex_
};

result<void> services::start_timer(std::int64_t delay_ns, void (*fire)(void*), void* arg, std::uint64_t& timer) {
    if (fire == nullptr) return fail(errc::invalid_argument, "a timer needs a function");
    auto t = std::make_shared<timer_entry>();
    t->fire = fire;
    t->arg = arg;
    std::lock_guard lock(mutex_);
    if (refusing()) return fail(errc::stale, "the instance is being stopped");
    if (timers_.size() >= max_timers) return fail(errc::overloaded, "more than " + std::to_string(max_timers) + " timers");
    timer = t->id = next_handle_++;
    timers_[t->id] = t;
    t->handle = context_->rt->after(nanoseconds(std::max<std::int64_t>(delay_ns, 0)), [self = shared_from_this(), t] { self->fire_timer(t); });
    return {};
}

void services::fire_timer(const std::shared_ptr<timer_entry>& t) {
    {
        std::lock_guard lock(t->mutex);
        if (t->state != timer_entry::waiting) return;
        t->state = timer_entry::running;
        t->thread = std::this_thread::get_id();
    }
    call_plugin("a timer", [&] { t->fire(t->arg); });
    supervise::timer_handle handle;
    {
        std::lock_guard lock(mutex_);
        handle = std::move(t->handle);
        timers_.erase(t->id);
    }
    std::lock_guard lock(t->mutex);
    t->state = timer_entry::over;
    t->changed.notify_all();
}

void services::cancel_timer(std::uint64_t id) {
    std::shared_ptr<timer_entry> t;
    supervise::timer_handle handle;
    {
        std::lock_guard lock(mutex_);
        auto found = timers_.find(id);
        if (found == timers_.end()) return;
        t = found->second;
        handle = std::move(t->handle);
    }
    handle.cancel();
    {
        std::unique_lock lock(t->mutex);
        if (t->state == timer_entry::waiting) t->state = timer_entry::over;
        // From fire itself waiting would be for ever.
        else if (t->thread != std::this_thread::get_id()) t->changed.wait(lock, [&] { return t->state == timer_entry::over; });
    }
    std::lock_guard lock(mutex_);
    timers_.erase(id);
}

// ---- processes

struct services::process_entry {
    std::string name;                             // what the plugin calls it
    std::shared_ptr<supervise::process> running;  // under services::mutex_; second owner: the spawner
    hf_process_sink sink{};
    steady_time since{};
    supervise::timer_handle kill;
};

json services::process_nodes() const {
    std::vector<std::shared_ptr<process_entry>> entries;
    std::vector<std::shared_ptr<supervise::process>> running;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [id, e] : processes_)
            if (e->running) {
                entries.push_back(e);
                running.push_back(e->running);
            }
    }
    json out = json::array();
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const auto used = running[i]->usage();  // reads /proc: outside the lock
        const auto uptime = std::chrono::duration_cast<milliseconds>(context_->rt->now() - entries[i]->since);
        out.push_back({{"id", entries[i]->name}, {"kind", "process"}, {"state", "running"}, {"restarts", 0}, {"incarnation", 1}, {"last_exit", nullptr},
                       {"uptime_ms", uptime.count()}, {"pid", used.pid}, {"memory_bytes", used.rss_bytes}, {"cpu_ms", used.cpu_ms},
                       {"descriptors", used.descriptors}, {"sockets", used.sockets}, {"children", json::array()}});
    }
    return out;
}

namespace {

json exit_json(const supervise::process_exit& e, milliseconds uptime) {
    using supervise::exit_kind;
    const auto& r = e.reason;
    json out{{"code", r.code}, {"detail", r.detail}, {"uptime_ms", uptime.count()}, {"intentional", e.intentional}};
    switch (r.kind) {
        case exit_kind::signal:
            out["kind"] = "signaled";
            if (const char* name = sigabbrev_np(r.code)) out["signal"] = std::string("SIG") + name;
            break;
        case exit_kind::memory_limit: out["kind"] = "memory_limit"; break;
        case exit_kind::killed: out["kind"] = "killed"; break;
        default: out["kind"] = "exited"; break;
    }
    if (!e.stderr_tail.empty()) out["stderr_tail"] = e.stderr_tail.substr(e.stderr_tail.size() > 2048 ? e.stderr_tail.size() - 2048 : 0);
    return out;
}

result<supervise::process_options> process_options_from(std::string_view text) {
    auto spec = parse_json(text);
    if (!spec) return tl::unexpected<error>(spec.error());
    supervise::process_options o;
    const auto command = string_or(*spec, "command");
    if (command.empty()) return fail(errc::invalid_argument, "a process needs a \"command\"");
    o.argv.push_back(command);
    for (const auto& a : member(*spec, "args")) {
        if (!a.is_string()) return fail(errc::invalid_argument, "\"args\" must be an array of strings");
        o.argv.push_back(a.get<std::string>());
    }
    o.environment = supervise::allowed_environment(supervise::default_environment_names());
    const json& env = member(*spec, "env");
    if (!env.is_null() && !env.is_object()) return fail(errc::invalid_argument, "\"env\" must be an object of strings");
    for (const auto& [name, value] : env.items()) {
        if (!value.is_string() || name.empty() || name.find('=') != std::string::npos)
            return fail(errc::invalid_argument, "\"env\" must be an object of strings");
        std::erase_if(o.environment, [&, prefix = name + "="](const std::string& e) { return e.starts_with(prefix); });
        o.environment.push_back(name + "=" + value.get<std::string>());
    }
    o.cwd = string_or(*spec, "cwd");
    o.raw_stdout = !bool_or(*spec, "lines", true);
    o.max_line = static_cast<std::size_t>(std::clamp<std::int64_t>(int_or(*spec, "max_line_bytes", 4 << 20), 1024, 256 << 20));
    o.stdin_high_water = process_stdin_high_water;
    o.memory_limit_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(int_or(*spec, "memory_mb", 500), 0)) << 20;
    const milliseconds grace(std::clamp<std::int64_t>(int_or(*spec, "stop_grace_ms", 2000), 0, 600'000));
    o.stop = {grace, grace};
    return o;
}

}  // namespace

result<void> services::spawn(std::string_view spec, const hf_process_sink& sink, std::uint64_t& process, std::int64_t& pid) {
    if (context_->processes == nullptr) return fail(errc::unavailable, "this host starts no processes");
    auto options = process_options_from(spec);
    if (!options) return tl::unexpected<error>(options.error());
    auto entry = std::make_shared<process_entry>();
    std::memcpy(&entry->sink, &sink, std::min<std::size_t>(sink.size, sizeof sink));
    entry->since = context_->rt->now();
    entry->name = string_or(*parse_json(spec), "name", options->argv[0]);
    std::uint64_t id = 0;
    {
        std::lock_guard lock(mutex_);
        if (refusing()) return fail(errc::stale, "the instance is being stopped");
        if (processes_.size() >= max_processes) return fail(errc::overloaded, "more than " + std::to_string(max_processes) + " processes");
        id = next_handle_++;
        processes_[id] = entry;  // before it runs: its exit may come first, and revoke() waits for it
    }
    process = id;
    auto self = shared_from_this();
    supervise::process_callbacks on;
    const hf_process_sink& s = entry->sink;
    if (s.on_stdout) on.on_line = [self, entry](std::string_view line) { self->call_plugin("on_stdout", [&] { entry->sink.on_stdout(entry->sink.ctx, as_bytes(line)); }); };
    if (s.on_stderr) on.on_stderr = [self, entry](std::string_view line) { self->call_plugin("on_stderr", [&] { entry->sink.on_stderr(entry->sink.ctx, as_str(line)); }); };
    if (s.on_overflow) on.on_oversize = [self, entry](std::size_t n) { self->call_plugin("on_overflow", [&] { entry->sink.on_overflow(entry->sink.ctx, n); }); };
    on.on_exit = [self, entry, id](const supervise::process_exit& e) {
        const auto uptime = std::chrono::duration_cast<milliseconds>(self->context_->rt->now() - entry->since);
        const std::string status = dump(exit_json(e, uptime));
        if (entry->sink.on_exit) self->call_plugin("on_exit", [&] { entry->sink.on_exit(entry->sink.ctx, as_bytes(status)); });
        std::shared_ptr<supervise::process> last;  // released outside the lock
        supervise::timer_handle kill;
        std::lock_guard lock(self->mutex_);
        last = std::move(entry->running);
        kill = std::move(entry->kill);
        self->processes_.erase(id);
        self->changed_.notify_all();
    };
    // Waits about a millisecond for the exec, on whatever thread the plugin called from: the answer comes from the spawner's own.
    auto started = context_->processes->spawn(std::move(*options), std::move(on), spawn_deadline);
    std::lock_guard lock(mutex_);
    if (!started) {
        processes_.erase(id);
        changed_.notify_all();
        return tl::unexpected<error>(started.error());
    }
    pid = (*started)->pid();
    if (processes_.contains(id)) entry->running = *started;  // else it has exited already
    return {};
}

result<std::shared_ptr<supervise::process>> services::find_process(std::uint64_t id) {
    std::lock_guard lock(mutex_);
    auto found = processes_.find(id);
    if (found == processes_.end() || !found->second->running)
        return fail(errc::not_found, "there is no process " + std::to_string(id) + "; it may have exited");
    return found->second->running;
}

void services::stop_process(std::uint64_t id, std::uint32_t grace_ms) {
    std::shared_ptr<supervise::process> p;
    {
        std::lock_guard lock(mutex_);
        auto found = processes_.find(id);
        if (found == processes_.end() || !found->second->running) return;
        p = found->second->running;
        // The ladder's steps were given at the spawn; a shorter grace ends it early.
        if (grace_ms > 0)
            found->second->kill = context_->rt->after(2 * milliseconds(grace_ms) + milliseconds(50), [weak = std::weak_ptr(p)] {
                if (auto late = weak.lock()) late->kill();
            });
    }
    if (grace_ms == 0) p->kill();
    else p->stop();
}

}  // namespace holdfast::plugins::detail
