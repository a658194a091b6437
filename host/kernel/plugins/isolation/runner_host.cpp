// The host as a plugin in a runner sees it: the same tables, each function carried over or done here.
#include "holdfast/ext/api.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "kernel/plugins/isolation/runner_state.hpp"

namespace holdfast::plugins::isolation {
namespace {

runner& of(void* ctx) { return *static_cast<runner*>(ctx); }

std::int32_t guarded(hf_error* err, const std::function<std::int32_t()>& f) noexcept {
    try {
        return f();
    } catch (const std::exception& e) {
        return fill(err, {errc::internal, e.what()});
    } catch (...) {
        return fill(err, {errc::internal, "the runner failed"});
    }
}
void quietly(const std::function<void()>& f) noexcept {
    try {
        f();
    } catch (...) {  // a void function of the ABI has no way to say so
    }
}
template <class T>
void put(T* to, T v) {
    if (to) *to = v;
}
std::int32_t text_reply(runner& r, const frame_writer& f, hf_buf* out, hf_error* err) {
    return r.ask(f, err, [&](frame_reader& in) { give(out, std::string(in.text())); });
}
enum metric_op : std::uint8_t { add, set, observe };
template <metric_op Op>
void metric(void* ctx, hf_str name, hf_bytes labels, double value) {
    quietly([&] { of(ctx).tell(frame_writer(kind::metric).put(std::uint8_t(Op)).text(name).text(labels).put(value)); });
}
void* local(void* ctx) { return of(ctx).local().host()->ctx; }

const hf_log log_table{sizeof(hf_log), 0, [](void* ctx, std::int32_t level, hf_str message, hf_bytes fields) {
                           if (level < of(ctx).level()) return;
                           quietly([&] { of(ctx).tell(frame_writer(kind::log_line).put(level).text(message).text(fields)); });
                       }};
const hf_metrics metrics_table{sizeof(hf_metrics), 0, metric<add>, metric<set>, metric<observe>};
const hf_timer timer_table{
    sizeof(hf_timer), 0, [](void* ctx) { return of(ctx).timers->now(local(ctx)); },
    [](void* ctx, std::int64_t delay, void (*fire)(void*), void* arg, std::uint64_t* timer, hf_error* err) { return of(ctx).timers->after(local(ctx), delay, fire, arg, timer, err); },
    [](void* ctx, std::uint64_t timer) { of(ctx).timers->cancel(local(ctx), timer); }};
const hf_config config_table{sizeof(hf_config), 0, [](void* ctx, hf_buf* out, hf_error* err) { return of(ctx).config->settings(local(ctx), out, err); },
                             [](void* ctx, hf_buf* out, hf_error* err) { return of(ctx).config->data_dir(local(ctx), out, err); }};
const hf_worker worker_table{sizeof(hf_worker), 0,
                             [](void* ctx, const hf_worker_spec* from, hf_error* err) {
                                 return guarded(err, [&] {
                                     hf_worker_spec spec{};
                                     std::memcpy(&spec, from, std::min<std::size_t>(from->size, sizeof spec));
                                     return of(ctx).start_worker(spec, err);
                                 });
                             },
                             [](void* ctx, hf_str name, hf_error* err) { return guarded(err, [&] { return of(ctx).with_worker(view(name), kind::worker_stop, err); }); },
                             [](void* ctx, hf_str name) { return guarded(nullptr, [&] { return of(ctx).with_worker(view(name), kind::worker_wake, nullptr); }); }};
const hf_events events_table{
    sizeof(hf_events), 0,
    [](void* ctx, hf_bytes event, hf_error* err) { return guarded(err, [&] { return of(ctx).ask(frame_writer(kind::publish).text(event), err); }); },
    [](void* ctx, hf_bytes options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
        return guarded(err, [&] { return of(ctx).subscribe(options, *sink, id, seq, err); });
    },
    [](void* ctx, std::uint64_t id) { quietly([&] { of(ctx).unsubscribe(id); }); }};
const hf_process process_table{
    sizeof(hf_process), 0,
    [](void* ctx, hf_bytes spec, const hf_process_sink* sink, std::uint64_t* process, std::int64_t* pid, hf_error* err) {
        return guarded(err, [&] { return of(ctx).spawn(spec, *sink, process, pid, err); });
    },
    [](void* ctx, std::uint64_t process, hf_bytes data, hf_error* err) { return guarded(err, [&] { return of(ctx).ask(frame_writer(kind::process_write).put(process).text(data), err); }); },
    [](void* ctx, std::uint64_t process, std::uint32_t grace) { quietly([&] { of(ctx).ask(frame_writer(kind::process_stop).put(process).put(grace), nullptr); }); },
    [](void* ctx, std::uint64_t process, hf_buf* out, hf_error* err) {
        return guarded(err, [&] { return text_reply(of(ctx), frame_writer(kind::process_stats).put(process), out, err); });
    }};
const hf_api api_table{sizeof(hf_api), 0, [](void* ctx, const hf_call* call, hf_error* err) { return guarded(err, [&] { return of(ctx).api_submit(*call, err); }); },
                       [](void* ctx, std::uint64_t id) { quietly([&] { of(ctx).ask(frame_writer(kind::api_cancel).put(id), nullptr); }); },
                       [](void* ctx, hf_buf* out, hf_error* err) { return guarded(err, [&] { return text_reply(of(ctx), frame_writer(kind::api_describe), out, err); }); },
                       [](void* ctx, hf_str token, hf_buf* identity, hf_error* err) {
                           return guarded(err, [&] { return text_reply(of(ctx), frame_writer(kind::api_authenticate).text(token), identity, err); });
                       }};
const hf_listen listen_table{sizeof(hf_listen), 0, [](void* ctx, hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* err) {
                                 return guarded(err, [&] { return of(ctx).listen(address, port, fd, err); });
                             }};

}  // namespace

const void* runner_extension(void* ctx, hf_str id) {
    static const std::pair<std::string_view, const void*> all[] = {
        {HF_EXT_LOG, &log_table},       {HF_EXT_METRICS, &metrics_table}, {HF_EXT_TIMER, &timer_table},     {HF_EXT_CONFIG, &config_table},
        {HF_EXT_WORKER, &worker_table}, {HF_EXT_EVENTS, &events_table},   {HF_EXT_PROCESS, &process_table}, {HF_EXT_API, &api_table},
        {HF_EXT_LISTEN, &listen_table}};
    for (const auto& [name, table] : all)
        if (view(id) == name) return of(ctx).host_offers(name) ? table : nullptr;
    return nullptr;
}

std::int32_t runner::ask(const frame_writer& request, hf_error* err, const std::function<void(frame_reader&)>& more, unique_fd* attached) {
    in_order();
    auto r = services_.ask(request, std::chrono::steady_clock::now() + service_patience, attached);
    in_order();
    if (!r) return fill(err, {errc::unavailable, "the host does not answer: " + r.error().message});
    auto in = r->read();
    (void)in.get<std::uint64_t>();  // how far the host's tells are: of no matter here
    const auto rc = in.get<std::int32_t>();
    if (rc < 0) {
        const auto theirs = in.fault();
        if (err) {
            const auto size = err->size;
            std::memcpy(err, &theirs, std::min<std::size_t>(size, sizeof theirs));
            err->size = size;
        }
        return rc;
    }
    if (more) more(in);
    return rc;
}

std::int32_t runner::listen(hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* err) {
    if (fd == nullptr) return fill(err, {errc::invalid_argument, "open needs a place for the descriptor"});
    unique_fd lent;
    const auto rc = ask(frame_writer(kind::listen).text(address).put(port), err, {}, &lent);
    if (rc < 0) return rc;
    if (!lent) return fill(err, {errc::io_error, "no descriptor left"});
    *fd = lent.release();
    return rc;
}

std::int32_t runner::spawn(hf_bytes spec, const hf_process_sink& sink, std::uint64_t* process, std::int64_t* pid, hf_error* err) {
    if (process == nullptr) return fill(err, {errc::invalid_argument, "spawn needs a place for the process's number"});
    hf_process_sink mine{};
    std::memcpy(&mine, &sink, std::min<std::size_t>(sink.size, sizeof mine));
    const auto number = next_handle();
    {
        std::lock_guard lock(mutex_);
        processes_[number] = mine;
    }
    *process = number;  // before any callback can come
    const auto rc = ask(frame_writer(kind::spawn).put(number).text(spec), err, [&](frame_reader& in) { put(pid, in.get<std::int64_t>()); });
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        processes_.erase(number);
    }
    return rc;
}

std::int32_t runner::subscribe(hf_bytes options, const hf_event_sink& sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
    hf_event_sink mine{};
    std::memcpy(&mine, &sink, std::min<std::size_t>(sink.size, sizeof mine));
    if (mine.on_event == nullptr) return fill(err, {errc::invalid_argument, "a subscription needs a function"});
    const auto number = next_handle();
    {
        std::lock_guard lock(mutex_);
        subscriptions_[number] = mine;
    }
    put(id, number);
    const auto rc = ask(frame_writer(kind::subscribe).put(number).text(options), err, [&](frame_reader& in) { put(seq, in.get<std::uint64_t>()); });
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        subscriptions_.erase(number);
    }
    return rc;
}

void runner::unsubscribe(std::uint64_t id) {
    {
        std::lock_guard lock(mutex_);
        if (subscriptions_.erase(id) == 0) return;
    }
    ask(frame_writer(kind::unsubscribe).put(id), nullptr);
}

std::int32_t runner::api_submit(const hf_call& call, hf_error* err) {
    hf_call mine{};
    std::memcpy(&mine, &call, std::min<std::size_t>(call.size, sizeof mine));
    const auto number = mine.id;
    {
        std::lock_guard lock(mutex_);
        if (!api_calls_.emplace(number, mine).second) return fill(err, {errc::already_exists, "a call with this id is under way"});
    }
    const auto rc = ask(frame_writer(kind::api_submit).put(number).put(mine.deadline_ns).text(mine.method).text(mine.request).put(std::uint8_t(mine.on_chunk != nullptr)), err);
    if (rc < 0) {
        std::lock_guard lock(mutex_);
        api_calls_.erase(number);
    }
    return rc;
}

}  // namespace holdfast::plugins::isolation
