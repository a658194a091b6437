// The C tables of hf_host over detail::services. Nothing unwinds out of them.
#include "kernel/plugins/host_services.hpp"

#include "holdfast/ext/api.h"
#include "holdfast/ext/config.h"
#include "holdfast/ext/listen.h"
#include "holdfast/ext/log.h"
#include "holdfast/ext/metrics.h"
#include "holdfast/ext/timer.h"
#include "kernel/plugins/detail/services.hpp"

namespace holdfast::plugins::detail {
namespace {

constexpr std::size_t max_log_message = 16u << 10;

template <class F>
std::int32_t guarded(hf_error* err, F&& f) noexcept {
    try {
        result<void> r = f();
        return r ? HF_OK : fill(err, r.error());
    } catch (const std::exception& e) {
        return fill(err, {errc::internal, e.what()});
    } catch (...) {
        return fill(err, {errc::internal, "the host failed"});
    }
}
template <class F>
void quietly(F&& f) noexcept {
    try {
        f();
    } catch (...) {  // a void function of the ABI has no way to say so
    }
}
/// The instance's id and what the plugin adds; nothing when that is not an object.
std::optional<metric_labels> labels_from(const std::string& instance, std::string_view text) {
    metric_labels all{{"plugin", instance}};
    if (text.empty()) return all;
    const auto parsed = parse_json(text, 4);
    if (!parsed || !parsed->is_object()) return std::nullopt;
    for (const auto& [k, v] : parsed->items())
        if (v.is_string() && k != "plugin") all.emplace_back(k, v.get<std::string>());
    return all;
}
result<void> moved(result<std::string> from, hf_buf* to) {
    if (!from) return tl::unexpected<error>(from.error());
    give(to, std::move(*from));
    return {};
}

}  // namespace

struct services::tables {
    static services& of(void* ctx) { return *static_cast<services*>(ctx); }

    static void log_write(void* ctx, std::int32_t level, hf_str message, hf_bytes fields) {
        quietly([&] {
            auto& s = of(ctx);
            if (level < __atomic_load_n(&s.context_->log_level, __ATOMIC_RELAXED) || level >= HF_LOG_OFF) return;
            json object;
            if (!view(fields).empty()) {
                auto parsed = parse_json(view(fields), 8);
                object = parsed && parsed->is_object() ? std::move(*parsed) : json{{"unparsed", std::string(view(fields).substr(0, 256))}};
            }
            s.context_->write_log(std::max(level, 0), s.id_, std::string(view(message).substr(0, max_log_message)), std::move(object));
        });
    }

    template <void (metrics_registry::*Put)(std::string_view, metric_labels, double)>
    static void metric(void* ctx, hf_str name, hf_bytes labels, double value) {
        quietly([&] {
            auto& s = of(ctx);
            metrics_registry* registry = s.context_->metrics;
            if (registry == nullptr) return;
            if (auto all = labels_from(s.id_, view(labels))) (registry->*Put)(view(name), std::move(*all), value);
        });
    }

    static std::int64_t now(void* ctx) { return of(ctx).context_->rt->now().time_since_epoch().count(); }
    static std::int32_t after(void* ctx, std::int64_t delay, void (*fire)(void*), void* arg, std::uint64_t* timer, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            std::uint64_t unwanted = 0;
            return of(ctx).start_timer(delay, fire, arg, timer ? *timer : unwanted);
        });
    }
    static void cancel_timer(void* ctx, std::uint64_t timer) { quietly([&] { of(ctx).cancel_timer(timer); }); }

    static std::int32_t settings(void* ctx, hf_buf* out, hf_error* err) {
        return guarded(err, [&] { return moved(dump(of(ctx).settings_), out); });
    }
    static std::int32_t data_dir(void* ctx, hf_buf* out, hf_error* err) {
        return guarded(err, [&] {
            return moved(of(ctx).data_dir().map([](const std::string& path) { return dump(json{{"path", path}}); }), out);
        });
    }

    static std::int32_t start_worker(void* ctx, const hf_worker_spec* from, hf_error* err) {
        return guarded(err, [&] {
            hf_worker_spec spec{};
            std::memcpy(&spec, from, std::min<std::size_t>(from->size, sizeof spec));
            return of(ctx).start_worker(spec);
        });
    }
    static std::int32_t stop_worker(void* ctx, hf_str name, hf_error* err) {
        return guarded(err, [&] { return of(ctx).stop_worker(view(name)); });
    }
    static std::int32_t wake_worker(void* ctx, hf_str name) {
        return guarded(nullptr, [&] { return of(ctx).wake_worker(view(name)); });
    }

    static std::int32_t publish(void* ctx, hf_bytes event, hf_error* err) {
        return guarded(err, [&] { return of(ctx).publish(view(event)); });
    }
    static std::int32_t subscribe(void* ctx, hf_bytes options, const hf_event_sink* sink, std::uint64_t* id, std::uint64_t* seq, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            std::uint64_t unwanted = 0, at = 0;
            auto r = of(ctx).subscribe(view(options), *sink, id ? *id : unwanted, at);
            if (r && seq) *seq = at;
            return r;
        });
    }
    static void unsubscribe(void* ctx, std::uint64_t id) { quietly([&] { of(ctx).unsubscribe(id); }); }

    static std::int32_t spawn(void* ctx, hf_bytes spec, const hf_process_sink* sink, std::uint64_t* process, std::int64_t* pid, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            std::int64_t number = 0;
            if (process == nullptr) return fail(errc::invalid_argument, "spawn needs a place for the process's number");
            auto r = of(ctx).spawn(view(spec), *sink, *process, number);
            if (r && pid) *pid = number;
            return r;
        });
    }
    static std::int32_t write_process(void* ctx, std::uint64_t process, hf_bytes data, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            auto p = of(ctx).find_process(process);
            if (!p) return tl::unexpected<error>(p.error());
            return (*p)->write(std::string(view(data)));
        });
    }
    static void stop_process(void* ctx, std::uint64_t process, std::uint32_t grace) { quietly([&] { of(ctx).stop_process(process, grace); }); }
    static std::int32_t process_stats(void* ctx, std::uint64_t process, hf_buf* out, hf_error* err) {
        return guarded(err, [&] {
            return moved(of(ctx).find_process(process).map([](const auto& p) {
                const auto u = p->usage();
                json j = u.to_json();
                j["memory_bytes"] = u.rss_bytes;
                j["fds"] = u.descriptors;
                return dump(j);
            }), out);
        });
    }

    static std::int32_t listen(void* ctx, hf_str address, std::uint16_t port, std::int32_t* fd, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            if (fd == nullptr) return fail(errc::invalid_argument, "open needs a place for the descriptor");
            return of(ctx).lend_listener(std::string(view(address)), port, *fd);
        });
    }

    static std::int32_t submit(void* ctx, const hf_call* call, hf_error* err) {
        const auto rc = guarded(err, [&] { return of(ctx).api_submit(*call); });
        return rc == HF_OK ? HF_PENDING : rc;
    }
    static void cancel(void* ctx, std::uint64_t id) { quietly([&] { of(ctx).api_cancel(id); }); }
    static std::int32_t describe(void* ctx, hf_buf* out, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            const auto& f = of(ctx).context_->api.describe;
            if (!f) return fail(errc::unavailable, "this host describes no API");
            return moved(f().map([](const json& j) { return dump(j); }), out);
        });
    }
    static std::int32_t authenticate(void* ctx, hf_str token, hf_buf* identity, hf_error* err) {
        return guarded(err, [&]() -> result<void> {
            const auto& f = of(ctx).context_->api.authenticate;
            if (!f) return fail(errc::unauthorized, "this host checks no tokens");
            return moved(f(std::string(view(token))).map([](const json& j) { return dump(j); }), identity);
        });
    }
};

const void* host_extension(void*, hf_str id) {
    using t = services::tables;
    static const hf_log log{sizeof(hf_log), 0, t::log_write};
    static const hf_metrics metrics{sizeof(hf_metrics), 0, t::metric<&metrics_registry::add>, t::metric<&metrics_registry::set>, t::metric<&metrics_registry::observe>};
    static const hf_timer timer{sizeof(hf_timer), 0, t::now, t::after, t::cancel_timer};
    static const hf_config config{sizeof(hf_config), 0, t::settings, t::data_dir};
    static const hf_worker worker{sizeof(hf_worker), 0, t::start_worker, t::stop_worker, t::wake_worker};
    static const hf_events events{sizeof(hf_events), 0, t::publish, t::subscribe, t::unsubscribe};
    static const hf_process process{sizeof(hf_process), 0, t::spawn, t::write_process, t::stop_process, t::process_stats};
    static const hf_api api{sizeof(hf_api), 0, t::submit, t::cancel, t::describe, t::authenticate};
    static const hf_listen listen{sizeof(hf_listen), 0, t::listen};
    static const std::pair<std::string_view, const void*> all[] = {
        {HF_EXT_LOG, &log},       {HF_EXT_METRICS, &metrics}, {HF_EXT_TIMER, &timer},     {HF_EXT_CONFIG, &config},
        {HF_EXT_WORKER, &worker}, {HF_EXT_EVENTS, &events},   {HF_EXT_PROCESS, &process}, {HF_EXT_API, &api},
        {HF_EXT_LISTEN, &listen}};
    for (const auto& [name, table] : all)
        if (view(id) == name) return table;
    return nullptr;
}

}  // namespace holdfast::plugins::detail
