// What the plugin tells its host and asks of it, from a process that is not trusted: everything is checked before it is used.
#include <poll.h>
#include <pthread.h>

#include "holdfast/ext/api.h"
#include "holdfast/ext/events.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/process.h"
#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/isolation/proxy_parts.hpp"

namespace holdfast::plugins::isolation {
namespace {

constexpr std::size_t max_records = 10'000;               // workers, processes, subscriptions each
constexpr std::uint32_t default_shutdown_ms = 5'000;      // as hf_worker_spec says
constexpr int stop_slice_ms = 10;                         // how often the stop flag is looked at where no descriptor tells of it
constexpr auto stop_margin = milliseconds(300);           // given up before the supervisor gives up the thread here

/// Which of the host's interfaces serves a request.
const char* interface_of(kind k) {
    switch (k) {
        case kind::worker_start:
        case kind::worker_stop: return HF_EXT_WORKER;
        case kind::publish:
        case kind::subscribe:
        case kind::unsubscribe: return HF_EXT_EVENTS;
        case kind::spawn:
        case kind::process_write:
        case kind::process_stop:
        case kind::process_stats: return HF_EXT_PROCESS;
        case kind::api_submit:
        case kind::api_cancel:
        case kind::api_describe:
        case kind::api_authenticate: return HF_EXT_API;
        case kind::listen: return HF_EXT_LISTEN;
        default: return nullptr;
    }
}

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

void proxy::told(frame_reader& in) {
    const auto what = in.what();
    if (what == kind::log_line) {
        const auto level = in.get<std::int32_t>();
        const auto message = in.text(), fields = in.text();
        if (!in.whole()) return broken("a damaged log line");
        if (const auto* log = host_ext<hf_log>(HF_EXT_LOG)) log->write(host_ctx(), level, as_str(message), as_bytes(fields));
        return;
    }
    if (what == kind::metric) {
        const auto op = in.get<std::uint8_t>();
        const auto name = in.text(), labels = in.text();
        const auto value = in.get<double>();
        if (!in.whole() || op > 2) return broken("a damaged metric");
        if (const auto* m = host_ext<hf_metrics>(HF_EXT_METRICS)) (op == 0 ? m->add : op == 1 ? m->set : m->observe)(host_ctx(), as_str(name), as_bytes(labels), value);
        return;
    }
    if (what == kind::escaped) {
        const auto why = std::string(in.text());
        if (!in.whole()) return broken("a damaged report");
        return options_.crashed(why);
    }

    const auto number = in.get<std::uint64_t>();
    /// A copy of the record, and with `take` its end. Unknown numbers are late news and no fault.
    auto find = [&](auto& map, bool take = false) {
        using value = typename std::decay_t<decltype(map)>::mapped_type;
        std::lock_guard lock(mutex_);
        auto it = map.find(number);
        if (it == map.end()) return std::optional<value>();
        std::optional<value> out(it->second);
        if (take) map.erase(it);
        return out;
    };
    /// As find, for a callback that is not the last: forget() waits for it to return.
    struct until_it_returns {
        proxy& p;
        ~until_it_returns() {
            std::lock_guard lock(p.mutex_);
            p.calling_back_ = nullptr;
            p.changed_.notify_all();
        }
    };
    auto calling = [&](auto& map) {
        std::lock_guard lock(mutex_);
        auto it = map.find(number);
        if (it == map.end()) return std::optional<typename std::decay_t<decltype(map)>::mapped_type>();
        calling_back_ = &map;
        calling_number_ = number;
        return std::optional(it->second);
    };
    switch (what) {
        case kind::call_chunk: {
            const auto text = in.text();
            if (!in.whole()) return broken("a damaged chunk");
            const until_it_returns after{*this};
            auto c = calling(pending_);
            if (!c) return misused("a chunk came after the completion");
            if (c->on_chunk) c->on_chunk(c->ctx, number, as_bytes(text));
            return;
        }
        case kind::call_done: {
            const bool failed = in.get<std::uint8_t>() != 0;
            hf_error err{};
            if (failed) err = in.fault();
            const auto text = in.text();
            if (!in.whole()) return broken("a damaged completion");
            auto c = find(pending_, true);
            if (!c) return misused("a second completion came");
            if (c->on_done) c->on_done(c->ctx, number, failed ? &err : nullptr, as_bytes(text));
            return;
        }
        case kind::conn_opened:
        case kind::conn_message:
        case kind::conn_log: {
            const auto text = in.text();
            if (!in.whole()) return broken("a damaged message");
            const until_it_returns after{*this};
            auto c = calling(conns_);
            if (!c) return;
            if (what == kind::conn_opened && c->on_open) c->on_open(c->ctx, as_bytes(text));
            if (what == kind::conn_message && c->on_message) c->on_message(c->ctx, as_bytes(text));
            if (what == kind::conn_log && c->on_log) c->on_log(c->ctx, as_str(text));
            return;
        }
        case kind::conn_request_failed: {
            const auto id = in.text();
            const auto err = in.fault();
            if (!in.whole()) return broken("a damaged failure");
            const until_it_returns after{*this};
            if (auto c = calling(conns_); c && c->on_request_failed) c->on_request_failed(c->ctx, as_bytes(id), &err);
            return;
        }
        case kind::conn_closed: {
            const bool lost_it = in.get<std::uint8_t>() != 0;
            hf_error err{};
            if (lost_it) err = in.fault();
            if (!in.whole()) return broken("a damaged end");
            if (auto c = find(conns_, true); c && c->on_closed) c->on_closed(c->ctx, lost_it ? &err : nullptr);
            return;
        }
        case kind::worker_ended: {
            const auto incarnation = in.get<std::uint32_t>();
            const auto rc = in.get<std::int32_t>();
            hf_error err = empty_hf_error();
            if (rc < 0) err = in.fault();
            if (!in.whole()) return broken("a damaged worker's end");
            auto w = find(workers_);
            if (!w) return;
            {
                std::lock_guard lock((*w)->mutex);
                if ((*w)->incarnation != incarnation) return;
            }
            return (*w)->over(rc, err);
        }
        case kind::worker_beat:
            if (!in.whole()) return broken("a damaged heartbeat");
            if (auto w = find(workers_)) (*w)->last_beat.store(now_ns(), std::memory_order_relaxed);
            return;
        default: return broken("a message of an unknown kind");
    }
}

void proxy::serve_requests() {
    detail::host_thread here;
    pthread_setname_np(pthread_self(), "hf-isolated-s");
    frame f;
    for (;;) {
        const auto r = receive(requests_.get(), f, 0);
        if (r == received::broken) broken("what it asked is no frame");
        if (r != received::one) return;
        auto in = f.read();
        frame_writer out(kind::reply);
        unique_fd attached;
        try {
            asked(in, out, attached);
        } catch (const std::exception& e) {
            hf_error err = empty_hf_error();
            out = frame_writer(kind::reply);
            out.put(std::uint64_t(0)).put(fill(&err, {errc::internal, e.what()})).fault(err);
        }
        const auto sent_it = send_frame(requests_.get(), out.bytes(), 0, attached.get());
        if (sent_it == sent::closed) return;
        if (sent_it != sent::yes) return kill("an answer could not be sent to it");
    }
}

void proxy::asked(frame_reader& in, frame_writer& out, unique_fd& attached) {
    hf_error err = empty_hf_error();
    std::int32_t rc = HF_E_UNSUPPORTED;
    frame_writer more(kind::reply);
    out.put(std::uint64_t(0));  // calls tell how far the tells are; services need not
    void* ctx = host_ctx();
    auto text_of = [&](std::int32_t (*f)(void*, hf_buf*, hf_error*)) {
        hf_buf b{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
        rc = f(ctx, &b, &err);
        if (rc >= 0) more.text(take(b));
    };
    /// The host's own number of what the runner calls `number`; 0: there is none.
    auto host_number = [&](auto& map, std::uint64_t number) {
        std::lock_guard lock(mutex_);
        auto it = map.find(number);
        return it == map.end() ? std::uint64_t(0) : it->second->host_number;
    };
    auto damaged = [&] {
        broken("a damaged request");
        rc = fill(&err, {errc::protocol_error, "a damaged request"});
    };

    if (const char* ext = interface_of(in.what()); ext && !host_ext<void>(ext)) {
        fill(&err, {errc::unavailable, std::string("this host does not offer ") + ext});
        err.code = HF_E_UNSUPPORTED;
        out.put(err.code).fault(err);
        return;
    }
    switch (in.what()) {
        case kind::worker_start: rc = serve_worker_start(in, &err); break;
        case kind::worker_stop: {
            const auto name = in.text();
            if (!in.whole()) { damaged(); break; }
            rc = host_ext<hf_worker>(HF_EXT_WORKER)->stop(ctx, as_str(name), &err);
            break;
        }
        case kind::publish: {
            const auto event = in.text();
            if (!in.whole()) { damaged(); break; }
            rc = host_ext<hf_events>(HF_EXT_EVENTS)->publish(ctx, as_bytes(event), &err);
            break;
        }
        case kind::subscribe: {
            const auto number = in.get<std::uint64_t>();
            const auto options = in.text();
            if (!in.whole()) { damaged(); break; }
            rc = serve_subscribe(number, options, more, &err);
            break;
        }
        case kind::unsubscribe: {
            const auto number = in.get<std::uint64_t>();
            if (const auto host = host_number(subscriptions_, number)) host_ext<hf_events>(HF_EXT_EVENTS)->unsubscribe(ctx, host);
            std::unique_ptr<event_sink> gone;  // destroyed outside the lock
            std::lock_guard lock(mutex_);
            if (auto it = subscriptions_.find(number); it != subscriptions_.end()) gone = std::move(it->second), subscriptions_.erase(it);
            rc = HF_OK;
            break;
        }
        case kind::spawn: {
            const auto number = in.get<std::uint64_t>();
            const auto spec = in.text();
            if (!in.whole()) { damaged(); break; }
            rc = serve_spawn(number, spec, more, &err);
            break;
        }
        case kind::process_write: {
            const auto number = in.get<std::uint64_t>();
            const auto data = in.text();
            if (!in.whole()) { damaged(); break; }
            const auto host = host_number(processes_, number);
            rc = host ? host_ext<hf_process>(HF_EXT_PROCESS)->write(ctx, host, as_bytes(data), &err) : fill(&err, {errc::not_found, "there is no such process; it may have exited"});
            break;
        }
        case kind::process_stop: {
            const auto number = in.get<std::uint64_t>();
            const auto grace = in.get<std::uint32_t>();
            if (!in.whole()) { damaged(); break; }
            if (const auto host = host_number(processes_, number)) host_ext<hf_process>(HF_EXT_PROCESS)->stop(ctx, host, grace);
            rc = HF_OK;
            break;
        }
        case kind::process_stats: {
            const auto host = host_number(processes_, in.get<std::uint64_t>());
            if (!in.whole()) { damaged(); break; }
            if (!host) { rc = fill(&err, {errc::not_found, "there is no such process; it may have exited"}); break; }
            hf_buf b{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
            rc = host_ext<hf_process>(HF_EXT_PROCESS)->stats(ctx, host, &b, &err);
            if (rc >= 0) more.text(take(b));
            break;
        }
        case kind::api_submit: {
            hf_call call{};
            call.size = sizeof call;
            call.id = in.get<std::uint64_t>();
            call.deadline_ns = in.get<std::int64_t>();
            call.method = as_str(in.text());
            call.request = as_bytes(in.text());
            const bool chunks = in.get<std::uint8_t>() != 0;
            if (!in.whole()) { damaged(); break; }
            call.ctx = this;
            if (chunks)
                call.on_chunk = [](void* self, std::uint64_t id, hf_bytes piece) { static_cast<proxy*>(self)->tells_->tell(frame_writer(kind::api_chunk).put(id).text(piece)); };
            call.on_done = [](void* self, std::uint64_t id, const hf_error* why, hf_bytes result) {
                frame_writer f(kind::api_done);
                f.put(id).put(std::uint8_t(why != nullptr));
                if (why) f.fault(*why);
                static_cast<proxy*>(self)->tells_->tell(f.text(result));
            };
            rc = host_ext<hf_api>(HF_EXT_API)->submit(ctx, &call, &err);
            break;
        }
        case kind::api_cancel: host_ext<hf_api>(HF_EXT_API)->cancel(ctx, in.get<std::uint64_t>()); rc = HF_OK; break;
        case kind::api_describe: text_of(host_ext<hf_api>(HF_EXT_API)->describe); break;
        case kind::api_authenticate: {
            const auto token = in.text();
            if (!in.whole()) { damaged(); break; }
            hf_buf b{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
            rc = host_ext<hf_api>(HF_EXT_API)->authenticate(ctx, as_str(token), &b, &err);
            if (rc >= 0) more.text(take(b));
            break;
        }
        case kind::listen: {
            const auto address = in.text();
            const auto port = in.get<std::uint16_t>();
            if (!in.whole()) { damaged(); break; }
            std::int32_t fd = -1;
            rc = host_ext<hf_listen>(HF_EXT_LISTEN)->open(ctx, as_str(address), port, &fd, &err);
            attached = unique_fd(fd);
            break;
        }
        default:
            broken("a request of an unknown kind");
            rc = fill(&err, {errc::protocol_error, "a request of an unknown kind"});
    }
    out.put(rc);
    if (rc < 0) out.fault(err);
    else out.raw(std::string_view(more.bytes()).substr(sizeof(std::uint16_t)));
}

// ---- processes and subscriptions

std::int32_t proxy::serve_spawn(std::uint64_t number, std::string_view spec, frame_writer& more, hf_error* err) {
    auto mine = std::make_unique<process_sink>();
    mine->who = this;
    mine->number = number;
    process_sink* at = mine.get();
    {
        std::lock_guard lock(mutex_);
        if (processes_.size() >= max_records) return fill(err, {errc::overloaded, "too many processes"});
        if (!processes_.emplace(number, std::move(mine)).second) return fill(err, {errc::already_exists, "this number is in use"});
    }
    using sink_ptr = process_sink*;
    hf_process_sink sink{sizeof(hf_process_sink), 0, at,
                         [](void* c, hf_bytes line) { sink_ptr(c)->who->tells_->tell(frame_writer(kind::process_stdout).put(sink_ptr(c)->number).text(line)); },
                         [](void* c, hf_str line) { sink_ptr(c)->who->tells_->tell(frame_writer(kind::process_stderr).put(sink_ptr(c)->number).text(line)); },
                         [](void* c, std::uint64_t n) { sink_ptr(c)->who->tells_->tell(frame_writer(kind::process_overflow).put(sink_ptr(c)->number).put(n)); },
                         [](void* c, hf_bytes status) {
                             auto* me = sink_ptr(c);
                             me->who->tells_->tell(frame_writer(kind::process_exited).put(me->number).text(status));
                             std::unique_ptr<process_sink> last;  // this is the last callback
                             std::lock_guard lock(me->who->mutex_);
                             auto& all = me->who->processes_;
                             if (auto it = all.find(me->number); it != all.end()) last = std::move(it->second), all.erase(it);
                         }};
    std::int64_t pid = 0;
    const auto rc = host_ext<hf_process>(HF_EXT_PROCESS)->spawn(host_ctx(), as_bytes(spec), &sink, &at->host_number, &pid, err);
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        processes_.erase(number);
    }
    more.put(pid);
    return rc;
}

std::int32_t proxy::serve_subscribe(std::uint64_t number, std::string_view options, frame_writer& more, hf_error* err) {
    auto mine = std::make_unique<event_sink>();
    mine->who = this;
    mine->number = number;
    event_sink* at = mine.get();
    {
        std::lock_guard lock(mutex_);
        if (subscriptions_.size() >= max_records) return fill(err, {errc::overloaded, "too many subscriptions"});
        if (!subscriptions_.emplace(number, std::move(mine)).second) return fill(err, {errc::already_exists, "this number is in use"});
    }
    const hf_event_sink sink{sizeof(hf_event_sink), 0, at, [](void* c, hf_bytes event) {
                                 auto* me = static_cast<event_sink*>(c);
                                 me->who->tells_->tell(frame_writer(kind::event).put(me->number).text(event));
                             }};
    std::uint64_t seq = 0;
    const auto rc = host_ext<hf_events>(HF_EXT_EVENTS)->subscribe(host_ctx(), as_bytes(options), &sink, &at->host_number, &seq, err);
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        subscriptions_.erase(number);
    }
    more.put(seq);
    return rc;
}

// ---- workers

std::int32_t proxy::serve_worker_start(frame_reader& in, hf_error* err) {
    auto w = std::make_shared<worker>();
    w->who = this;
    w->number = in.get<std::uint64_t>();
    w->name = in.text();
    const std::string restart(in.text());
    w->heartbeat_ms = in.get<std::uint32_t>();
    w->shutdown_ms = in.get<std::uint32_t>();
    if (!in.whole()) {
        broken("a damaged request");
        return fill(err, {errc::protocol_error, "a damaged request"});
    }
    if (w->shutdown_ms == 0) w->shutdown_ms = default_shutdown_ms;
    if (!w->ended_fd) return fill(err, {errc::io_error, "no descriptor left for worker '" + w->name + "'"});
    {
        std::lock_guard lock(mutex_);
        if (workers_.size() >= max_records) return fill(err, {errc::overloaded, "too many workers"});
        if (!workers_.emplace(w->number, w).second) return fill(err, {errc::already_exists, "this number is in use"});
    }
    // No watchdog for the thread here, which only waits: run_worker() judges the heartbeat of the one there.
    hf_worker_spec spec{};
    spec.size = sizeof spec;
    spec.name = as_str(w->name);
    spec.restart = as_str(restart);
    spec.shutdown_ms = w->shutdown_ms;
    spec.arg = w.get();
    spec.run = [](void* arg, const hf_worker_ctl* ctl, hf_error* e) {
        auto& me = *static_cast<worker*>(arg);
        return me.who->run_worker(me, ctl, e);
    };
    const auto rc = host_ext<hf_worker>(HF_EXT_WORKER)->start(host_ctx(), &spec, err);
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        workers_.erase(w->number);
    }
    return rc;
}

/// The process is gone, and with it the whole instance: that is what is reported, and not each of its workers' failure. Until then
/// the thread here waits to be stopped.
std::int32_t proxy::await_stop(const hf_worker_ctl* ctl) {
    while (__atomic_load_n(ctl->stop, __ATOMIC_ACQUIRE) == 0) {
        pollfd p{ctl->stop_fd, POLLIN, 0};
        poll(&p, 1, ctl->stop_fd >= 0 ? -1 : stop_slice_ms);
    }
    return HF_OK;
}

std::int32_t proxy::run_worker(worker& w, const hf_worker_ctl* ctl, hf_error* err) {
    {
        std::lock_guard lock(w.mutex);
        w.incarnation = ctl->incarnation;
        w.ended = false;
        std::uint64_t old = 0;
        (void)!read(w.ended_fd.get(), &old, sizeof old);
    }
    w.last_beat.store(now_ns(), std::memory_order_relaxed);
    if (is_dead() || !tells_->tell(frame_writer(kind::worker_run).put(w.number).put(ctl->incarnation)))
        return await_stop(ctl);
    const auto heartbeat = milliseconds(w.heartbeat_ms) * 5 / 4;  // the runner looks four times in a heartbeat
    const auto patience = std::max(milliseconds(w.shutdown_ms) - stop_margin, milliseconds(w.shutdown_ms) / 2);
    std::optional<steady_time> stop_by;
    for (;;) {
        pollfd p[2] = {{w.ended_fd.get(), POLLIN, 0}, {stop_by ? -1 : ctl->stop_fd, POLLIN, 0}};
        nanoseconds wait{-1};
        if (stop_by) wait = *stop_by - std::chrono::steady_clock::now();
        else if (w.heartbeat_ms > 0) wait = nanoseconds(w.last_beat.load(std::memory_order_relaxed) + std::chrono::nanoseconds(heartbeat).count() - now_ns());
        if (wait < nanoseconds(0) && (stop_by || w.heartbeat_ms > 0)) {
            kill(stop_by ? "worker '" + w.name + "' did not stop within " + std::to_string(patience.count()) + " ms; its process was ended"
                         : "worker '" + w.name + "' is hung: no heartbeat within " + std::to_string(w.heartbeat_ms) + " ms; its process was ended");
            return stop_by ? HF_OK : await_stop(ctl);
        }
        const bool look = ctl->stop_fd < 0 && !stop_by;  // at the flag, from time to time
        const int longest = look ? stop_slice_ms : 60'000;
        const int ms = wait < nanoseconds(0) ? (look ? longest : -1) : static_cast<int>(std::min<std::int64_t>(wait.count() / 1'000'000 + 1, longest));
        if (poll(p, 2, ms) <= 0 && !look) continue;
        if ((p[0].revents & POLLIN) != 0) {
            std::lock_guard lock(w.mutex);
            if (w.lost) return stop_by ? HF_OK : await_stop(ctl);
            if (w.rc < 0 && err) {
                const auto size = err->size;
                std::memcpy(err, &w.err, std::min<std::size_t>(size, sizeof w.err));
                err->size = size;
            }
            return w.rc;
        }
        if (((p[1].revents & POLLIN) != 0 || look) && __atomic_load_n(ctl->stop, __ATOMIC_ACQUIRE) != 0) {
            tells_->tell(frame_writer(kind::worker_please_stop).put(w.number));
            stop_by = std::chrono::steady_clock::now() + patience;
        }
    }
}

}  // namespace holdfast::plugins::isolation
