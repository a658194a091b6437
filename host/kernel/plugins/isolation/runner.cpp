#include "kernel/plugins/isolation/runner_state.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "holdfast/ext/ui.h"
#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/detail/tables.hpp"
#include "kernel/plugins/isolation/crash_trace.hpp"
#include "kernel/plugins/isolation/sandbox.hpp"

namespace holdfast::plugins::isolation {
namespace {

constexpr std::size_t runner_threads = 2;  // timers only
constexpr auto revoke_patience = seconds(2);
constexpr auto thread_patience = milliseconds(300);

void reply(frame_writer& out, std::int32_t rc, const hf_error& err) {
    out.put(rc);
    if (rc < 0) out.fault(err);
}

void name_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

/// size: how much of it can be read.
table_shape shape_of(const void* table, std::size_t size) {
    table_shape out;
    std::memcpy(&out.size, table, sizeof out.size);
    constexpr std::size_t head = 2 * sizeof(std::uint32_t);
    for (std::size_t n = 0, at = head; n < 64 && at + sizeof(void*) <= std::min<std::size_t>(size, out.size); ++n, at += sizeof(void*)) {
        void* slot = nullptr;
        std::memcpy(&slot, static_cast<const std::byte*>(table) + at, sizeof slot);
        if (slot != nullptr) out.filled |= std::uint64_t(1) << n;
    }
    return out;
}

void put_names(frame_writer& out, const std::vector<std::string>& names) {
    out.put(HF_OK + 0).put(static_cast<std::uint32_t>(names.size()));
    for (const auto& name : names) out.text(name);
}

std::string take_text(hf_buf& b) {
    std::string out(b.data ? static_cast<const char*>(b.data) : "", b.data ? b.length : 0);
    if (b.release) b.release(&b);
    return out;
}

}  // namespace

struct runner::worker {
    std::uint64_t number = 0;
    std::string name;
    detail::worker_body body;
    std::mutex mutex;
    std::shared_ptr<supervise::worker_signals> signals;  // under mutex: of the incarnation that runs
    std::atomic<bool> running{false};
    supervise::timer_handle beat;
    std::uint64_t seen = 0;  // heartbeats at the last look
    worker() { body.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }
    ~worker() {
        if (body.wake_fd >= 0) close(body.wake_fd);
    }
};

runner::runner()
    : control_(control_fd), calls_(calls_fd), tells_(unique_fd(tells_fd), runner_queue_bytes, true), services_(unique_fd(services_fd)) {
    host_.size = sizeof host_;
    host_.abi = HF_ABI_VERSION;
    host_.ctx = this;
    host_.log_level = &level_;
    host_.get_ext = runner_extension;
}

int runner::run() {
    detail::host_thread here;
    serve(control_.get(), &runner::on_control, true);
    return 0;
}

/// Only once the sandbox is entered: it holds for the thread that enters it and those it starts.
void runner::start_threads() {
    std::thread tells([this] {
        name_thread("hf-tells");
        alternate_stack stack;
        tells_.run([this](const frame& f) { on_told(f); });
    });
    std::thread calls([this] {
        detail::host_thread here;
        name_thread(prefix_ + id_);
        alternate_stack stack;
        serve(calls_.get(), &runner::on_call, false);
    });
    // A thread is named after the one that starts it: by this prefix the plugin's own are known.
    name_thread(prefix_ + id_);
    tells.detach();  // both end with the process: a plugin may sit in them for ever
    calls.detach();
}

void runner::serve(int fd, void (runner::*handle)(frame_reader&, frame_writer&), bool control) {
    frame f;
    for (;;) {
        const auto r = receive(fd, f, 0);
        if (r != received::one) return;
        in_order();
        auto in = f.read();
        const auto told = control ? in.get<std::uint64_t>() : 0;
        if (control && in.what() == kind::destroy) tells_.await_handled(told, std::chrono::steady_clock::now() + revoke_patience);
        frame_writer body(kind::reply);
        kind how = kind::reply;
        std::string threw;
        current_call::entered(in.what());
        try {
            (this->*handle)(in, body);
        } catch (const std::exception& e) {
            how = kind::threw, threw = e.what();
        } catch (...) {
            how = kind::threw, threw = "an exception of an unknown type";
        }
        current_call::left();
        frame_writer out(how);
        out.put(tells_.told());
        if (how == kind::threw) out.text(threw);
        else out.raw(std::string_view(body.bytes()).substr(sizeof(std::uint16_t)));
        in_order();
        if (send_frame(fd, out.bytes(), 0) != sent::yes) return;
        if (how == kind::reply && in.what() == kind::destroy) return;
    }
}

// ---- control

void runner::on_control(frame_reader& in, frame_writer& out) {
    answer a;
    switch (in.what()) {
        case kind::hello: return hello(in, out);
        case kind::create: return create(in, out);
        case kind::init: a.rc = table_.init(table_.self, &a.err); break;
        case kind::start: a.rc = table_.start(table_.self, &a.err); break;
        case kind::quiesce: a.rc = table_.quiesce(table_.self, in.get<std::int64_t>(), &a.err); break;
        case kind::stop: a.rc = table_.stop(table_.self, &a.err); break;
        case kind::destroy: {
            put_names(out, destroy());
            return;
        }
        case kind::own_threads: return put_names(out, detail::foreign_threads(prefix_, thread_patience));
        case kind::find_ext: {
            const auto id = in.text();
            table_shape theirs;
            (void)find_ext(id, &theirs);
            out.put(HF_OK + 0).shape(theirs);
            return;
        }
        case kind::ui_describe:
        case kind::ui_export: {
            hf_buf text{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
            const auto* ui = ext<hf_ui>(HF_EXT_UI);
            a.rc = (in.what() == kind::ui_describe ? ui->describe : ui->export_state)(table_.self, &text, &a.err);
            reply(out, a.rc, a.err);
            if (a.rc >= 0) out.text(take_text(text));
            return;
        }
        case kind::ui_import: {
            const auto state = in.text();
            a.rc = ext<hf_ui>(HF_EXT_UI)->import_state(table_.self, as_bytes(state), &a.err);
            break;
        }
        default: a.rc = fill(&a.err, {errc::protocol_error, "unknown request"});
    }
    reply(out, a.rc, a.err);
}

void runner::hello(frame_reader& in, frame_writer& out) {
    answer a;
    auto refuse = [&](const error& e) { reply(out, fill(&a.err, e), a.err); };
    if (in.get<std::uint32_t>() != protocol_version) return refuse({errc::protocol_error, "host and runner are of different versions"});
    id_ = in.text();
    const std::string file(in.text()), hash(in.text()), origin(in.text());
    data_dir_ = in.text();
    __atomic_store_n(&level_, in.get<std::int32_t>(), __ATOMIC_RELAXED);
    prefix_ = in.text();
    const std::string wanted(in.text());
    if (!in.whole()) return refuse({errc::protocol_error, "a damaged hello"});
    host_.instance_id = as_str(id_);

    // A user interface: the host's terminal is its own.
    if (fcntl(terminal_in_fd, F_GETFD) >= 0) dup2(terminal_in_fd, STDIN_FILENO);
    if (fcntl(terminal_out_fd, F_GETFD) >= 0) dup2(terminal_out_fd, STDOUT_FILENO);

    // Read before the sandbox closes: the plugin's own code runs only after it.
    auto facts = read_elf_file(file);
    if (!facts) return refuse(facts.error());
    auto about = parse_manifest(facts->manifest_text);
    if (!about) return refuse(about.error());
    auto wish = parse_json(wanted, 8);
    if (!wish) return refuse(wish.error());
    const std::string effective = dump(enter_sandbox(sandbox_wish::from_json(*wish)));
    start_threads();
    auto g = loader::open({std::move(*about), hash, file, origin, 1}, id_);
    if (!g) return refuse(g.error());
    gen_ = std::move(*g);
    if (auto ok = gen_->initialise(); !ok) return refuse(ok.error());
    out.put(HF_OK + 0).text(effective);
}

void runner::create(frame_reader& in, frame_writer& out) {
    answer a;
    const std::string settings(in.text());
    for (auto n = in.get<std::uint32_t>(); in.ok() && n > 0; --n) missing_.emplace(in.text());
    rt_ = std::make_unique<supervise::pool_runtime>(supervise::pool_options{runner_threads, nullptr, "hf-timer"});
    context_ = std::make_shared<detail::service_context>();
    context_->rt = rt_.get();
    context_->data_dir = data_dir_;
    local_ = std::make_shared<detail::services>(context_, id_, prefix_, 0, parse_json(settings).value_or(json::object()), supervise::restart_type::permanent, [this](std::string why) {
        tell(frame_writer(kind::escaped).text(why));
    });
    timers = static_cast<const hf_timer*>(detail::host_extension(nullptr, as_str(HF_EXT_TIMER)));
    config = static_cast<const hf_config*>(detail::host_extension(nullptr, as_str(HF_EXT_CONFIG)));
    const hf_instance* made = nullptr;
    a.rc = gen_->entry().create(&host_, as_bytes(settings), &made, &a.err);
    if (a.rc >= 0) {
        auto complete = detail::complete_instance(made);
        if (!complete) a.rc = fill(&a.err, complete.error());
        else table_ = *complete, exists_ = true;
    }
    reply(out, a.rc, a.err);
    if (a.rc >= 0) out.shape(shape_of(made, sizeof *made));
}

/// Names of threads that the plugin started itself and that still run.
std::vector<std::string> runner::destroy() {
    std::string why;
    if (local_) local_->revoke(revoke_patience, why);
    auto left = detail::foreign_threads(prefix_, thread_patience);
    if (std::exchange(exists_, false)) table_.destroy(table_.self);
    return left;
}

const void* runner::find_ext(std::string_view id, table_shape* shape) {
    auto known = [&]() -> const void* {
        std::lock_guard lock(mutex_);
        auto it = exts_.find(id);
        if (it == exts_.end()) return nullptr;
        if (shape) *shape = it->second.theirs;
        return it->second.table.get();
    };
    if (const void* table = known()) return table;
    const void* theirs = exists_ ? table_.get_ext(table_.self, as_str(id)) : nullptr;
    const auto& carried = detail::known_interfaces();
    if (theirs == nullptr || std::find(carried.begin(), carried.end(), id) == carried.end()) return nullptr;
    std::string why;
    auto whole = detail::complete_ext(id, theirs, why);
    if (!whole) throw std::runtime_error(std::string(id) + ": " + why);
    {
        std::lock_guard lock(mutex_);
        std::uint32_t size = 0;  // of the complete one: no slot that the host does not know is looked at
        std::memcpy(&size, whole.get(), sizeof size);
        exts_.emplace(id, extension{std::move(whole), shape_of(theirs, size)});
    }
    return known();
}

void runner::escaped(const char* what, const char* message) noexcept {
    try {
        tell(frame_writer(kind::escaped).text(std::string(what) + " threw: " + message));
    } catch (...) {  // out of memory while reporting
    }
}

// ---- workers

std::int32_t runner::start_worker(const hf_worker_spec& spec, hf_error* err) {
    if (spec.run == nullptr) return fill(err, {errc::invalid_argument, "a worker needs a function"});
    auto w = std::make_shared<worker>();
    w->number = next_handle();
    w->name = view(spec.name);
    w->body.heartbeat_ms = spec.heartbeat_ms;
    w->body.arg = spec.arg;
    w->body.run = spec.run;
    {
        std::lock_guard lock(mutex_);
        workers_[w->number] = w;  // before it is told to run
    }
    const auto rc = ask(frame_writer(kind::worker_start).put(w->number).text(spec.name).text(spec.restart).put(spec.heartbeat_ms).put(spec.shutdown_ms), err);
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        workers_.erase(w->number);
    }
    return rc;
}

std::int32_t runner::with_worker(std::string_view name, kind what, hf_error* err) {
    // A wake-up need not travel when the worker runs here.
    if (what == kind::worker_wake) {
        std::lock_guard lock(mutex_);
        for (const auto& [n, w] : workers_)
            if (w->name == name) {
                const std::uint64_t one = 1;
                (void)!write(w->body.wake_fd, &one, sizeof one);
                return HF_OK;
            }
        return fill(err, {errc::not_found, "the instance has no worker '" + std::string(name) + "'"});
    }
    return ask(frame_writer(what).text(name), err);
}

/// Passed on only while it beats: silence here is silence there, and the host's watchdog judges it.
void runner::watch_beat(const std::shared_ptr<worker>& w, const std::shared_ptr<supervise::worker_signals>& signals) {
    const auto every = milliseconds(std::max<std::uint32_t>(1, w->body.heartbeat_ms / 4));
    std::lock_guard lock(w->mutex);
    if (w->signals != signals) return;
    const auto now = signals->heartbeats.load(std::memory_order_relaxed);
    if (std::exchange(w->seen, now) != now) tell(frame_writer(kind::worker_beat).put(w->number));
    w->beat = rt_->after(every, [this, weak = std::weak_ptr(w), signals] {
        if (auto me = weak.lock()) watch_beat(me, signals);
    });
}

void runner::run_worker(const std::shared_ptr<worker>& w, std::uint32_t incarnation) {
    auto signals = std::make_shared<supervise::worker_signals>();  // second owners: the worker's thread and its record
    signals->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    {
        std::lock_guard lock(w->mutex);
        w->signals = signals;
        w->seen = 0;
    }
    if (w->body.heartbeat_ms > 0) watch_beat(w, signals);
    std::thread([this, w, signals, incarnation] {
        detail::host_thread here;
        name_thread(prefix_ + w->name);
        alternate_stack stack;
        current_call::worker(w->name);
        hf_error err = empty_hf_error();
        std::int32_t rc = HF_OK;
        std::string threw;
        try {
            rc = detail::run_controlled(w->body, *signals, incarnation, &err);
        } catch (const std::exception& e) {
            threw = e.what();
        } catch (...) {
            threw = "an exception of an unknown type";
        }
        {
            std::lock_guard lock(w->mutex);
            if (w->signals == signals) w->signals.reset();
            w->beat.cancel();
        }
        if (const int fd = signals->wake_fd.exchange(-1); fd >= 0) close(fd);
        if (!threw.empty()) rc = HF_E_INTERNAL, fill(&err, {errc::plugin_failed, "threw: " + threw});
        frame_writer out(kind::worker_ended);
        out.put(w->number).put(incarnation);
        reply(out, rc, err);
        tell(out);
    }).detach();  // ends before the host calls destroy, or with the process
}

// ---- what the host tells

void runner::on_told(const frame& f) {
    auto in = f.read();
    in_order();
    guarded("a callback", [&] { on_told(in); });
    in_order();
}

void runner::on_told(frame_reader& in) {
    current_call::entered(in.what());
    struct leave {
        ~leave() { current_call::left(); }
    } at_end;
    if (in.what() == kind::log_level) return __atomic_store_n(&level_, in.get<std::int32_t>(), __ATOMIC_RELAXED);
    const auto number = in.get<std::uint64_t>();
    auto find = [&](auto& map) {
        using value = typename std::decay_t<decltype(map)>::mapped_type;
        std::lock_guard lock(mutex_);
        auto it = map.find(number);
        return it == map.end() ? std::optional<value>() : std::optional<value>(it->second);
    };
    switch (in.what()) {
        case kind::worker_run:
            if (auto w = find(workers_)) run_worker(*w, in.get<std::uint32_t>());
            break;
        case kind::worker_please_stop:
            if (auto w = find(workers_)) {
                std::lock_guard lock((*w)->mutex);
                if (!(*w)->signals) break;
                (*w)->signals->stop.store(1, std::memory_order_release);
                const std::uint64_t one = 1;
                if (const int fd = (*w)->signals->wake_fd.load(); fd >= 0) (void)!write(fd, &one, sizeof one);
            }
            break;
        case kind::api_done: {
            auto call = find(api_calls_);
            if (!call) break;
            {
                std::lock_guard lock(mutex_);
                api_calls_.erase(number);
            }
            const bool failed = in.get<std::uint8_t>() != 0;
            hf_error err{};
            if (failed) err = in.fault();
            const auto text = in.text();
            if (call->on_done) call->on_done(call->ctx, call->id, failed ? &err : nullptr, as_bytes(text));
            break;
        }
        case kind::api_chunk:
            if (auto call = find(api_calls_); call && call->on_chunk) call->on_chunk(call->ctx, call->id, as_bytes(in.text()));
            break;
        case kind::event:
            if (auto s = find(subscriptions_)) s->on_event(s->ctx, as_bytes(in.text()));
            break;
        case kind::process_stdout:
            if (auto s = find(processes_); s && s->on_stdout) s->on_stdout(s->ctx, as_bytes(in.text()));
            break;
        case kind::process_stderr:
            if (auto s = find(processes_); s && s->on_stderr) s->on_stderr(s->ctx, as_str(in.text()));
            break;
        case kind::process_overflow:
            if (auto s = find(processes_); s && s->on_overflow) s->on_overflow(s->ctx, in.get<std::uint64_t>());
            break;
        case kind::process_exited: {
            auto s = find(processes_);
            {
                std::lock_guard lock(mutex_);
                processes_.erase(number);
            }
            if (s && s->on_exit) s->on_exit(s->ctx, as_bytes(in.text()));
            break;
        }
        default: break;
    }
}

int run_plugin() {
    ::signal(SIGPIPE, SIG_IGN);
    install_crash_trace();
    static runner* self = new runner;  // never destroyed: the plugin's threads may still use it
    const int code = self->run();
    ::_exit(code);  // no destructors of a plugin's statics: the host has what it needs
}

}  // namespace holdfast::plugins::isolation
