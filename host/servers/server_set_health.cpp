// What is known of the servers' health, counts and resources (SRV-8). Read from memory: no server is asked.
#include "kernel/plugins/metrics.hpp"
#include "servers/server_set_impl.hpp"

namespace holdfast::servers {
namespace {

constexpr milliseconds log_timeout{10'000};
constexpr seconds usage_is_old{30};  // a tree that was not seen for so long has ended

double seconds_of(nanoseconds n) { return std::chrono::duration<double>(n).count(); }

json usage_of(const server_record& r, const server_snapshot* s, steady_time now) {
    const resource_usage u = r.usage();
    json out = u.at != steady_time{} && now - u.at < usage_is_old && s && s->pid == u.pid ? u.to_json() : json{{"memory", nullptr}, {"cpu", nullptr}};
    out["queue"] = r.pending_calls.load();
    return out;
}

json health_of(const server_record& r, steady_time now) {
    const auto s = r.snapshot();
    json out{{"name", r.name}, {"status", to_string(s ? s->state.now : status::disconnected)}, {"reason", s ? s->state.reason : "not started yet"},
             {"last_check", s && s->last_check ? json(rfc3339(*s->last_check)) : json(nullptr)}, {"uptime", 0}, {"restart_count", 0}, {"downtime", 0}};
    if (s) {
        if (s->state.now == status::healthy) out["uptime"] = std::chrono::duration_cast<seconds>(now - s->state.healthy_since).count();
        out["restart_count"] = s->starts > 0 ? s->starts - 1 : 0;
        out["downtime"] = std::chrono::duration_cast<seconds>(total_downtime(s->state, now)).count();
        out["verdict"] = s->health;
    }
    out["resource_usage"] = usage_of(r, s.get(), now);
    out["latency"] = r.figures.latency.to_json();
    return out;
}

}  // namespace

result<json> server_set::health(const std::string& name) const {
    auto r = impl_->find(name);
    if (!r) return tl::unexpected(not_there(name));
    return health_of(*r, impl_->rt().now());
}

json server_set::system_health() const {
    const steady_time now = impl_->rt().now();
    std::size_t wanted = 0, healthy = 0;
    std::uint64_t memory = 0, processes = 0, queue = 0;
    double cpu = 0;
    json list = json::array(), trouble = json::array();
    const auto records = impl_->all();
    for (const auto& r : records) {
        json h = health_of(*r, now);
        const auto s = r->snapshot();
        const bool off = s && s->state.now == status::disabled && s->state.disabled != disabled_by::automatic;
        const bool up = s && s->state.now == status::healthy;
        wanted += off ? 0 : 1;
        healthy += up ? 1 : 0;
        if (!off && !up) trouble.push_back({{"name", r->name}, {"status", h["status"]}, {"reason", h["reason"]}});
        const json& use = h["resource_usage"];
        memory += static_cast<std::uint64_t>(int_or(use, "memory", 0));
        processes += static_cast<std::uint64_t>(int_or(use, "processes", 0));
        queue += static_cast<std::uint64_t>(int_or(use, "queue", 0));
        cpu += number_or(use, "cpu", 0);
        list.push_back(std::move(h));
    }
    return {{"status", healthy == wanted ? "healthy" : healthy == 0 ? "unhealthy" : "degraded"},
            {"total", records.size()},
            {"counts", counts()},
            {"unhealthy", std::move(trouble)},
            {"metrics", impl_->context->totals.counts()},
            {"resource_usage", {{"memory", memory}, {"cpu", cpu}, {"processes", processes}, {"queue", queue}}},
            {"servers", std::move(list)}};
}

json server_set::metrics() const {
    const steady_time now = impl_->rt().now();
    json out = impl_->context->totals.counts();
    out["latency"] = impl_->context->totals.latency.to_json();
    json& each = out["servers"] = json::object();
    for (const auto& r : impl_->all()) {
        const auto s = r->snapshot();
        json& row = each[r->name] = r->figures.counts();
        row["latency"] = r->figures.latency.to_json();
        row["downtime"] = s ? std::chrono::duration_cast<seconds>(total_downtime(s->state, now)).count() : 0;
        row.update(usage_of(*r, s.get(), now));
    }
    return out;
}

void server_set::export_metrics(plugins::metrics_registry& to) const {
    const steady_time now = impl_->rt().now();
    const json totals = impl_->context->totals.counts();
    for (const auto& [name, value] : totals.items()) to.set("holdfast_servers_" + name, {}, value.get<double>());
    std::lock_guard one(impl_->exporting);
    std::set<std::string> gone = std::exchange(impl_->exported, {});
    for (const auto& r : impl_->all()) {
        impl_->exported.insert(r->name);
        gone.erase(r->name);
        const auto s = r->snapshot();
        const plugins::metric_labels labels{{"server", r->name}};
        to.set("holdfast_server_up", labels, s && s->state.now == status::healthy ? 1 : 0);
        to.set("holdfast_server_downtime_seconds", labels, s ? seconds_of(total_downtime(s->state, now)) : 0);
        to.set("holdfast_server_queue", labels, static_cast<double>(r->pending_calls.load()));
        to.set("holdfast_server_calls", labels, static_cast<double>(r->figures.calls.load()));
        to.set("holdfast_server_failed_calls", labels, static_cast<double>(r->figures.failed_calls.load()));
        to.set("holdfast_server_restarts", labels, static_cast<double>(r->figures.restarted.load()));
        to.set("holdfast_server_latency_p99_seconds", labels, number_or(r->figures.latency.to_json(), "p99_ms", 0) / 1000);
        const resource_usage u = r->usage();
        const bool fresh = u.at != steady_time{} && now - u.at < usage_is_old && s && s->pid == u.pid;
        to.set("holdfast_server_memory_bytes", labels, fresh ? static_cast<double>(u.memory_bytes) : 0);
        to.set("holdfast_server_cpu_percent", labels, fresh ? u.cpu_percent : 0);
        to.set_all("holdfast_server_pool_", labels, r->pool_row());
    }
    for (const auto& name : gone) to.remove("server", name);
}

void server_set::health_log(const std::string& name, std::size_t limit, std::uint64_t before, row_reply done) const {
    if (!impl_->find(name)) return done(tl::unexpected(not_there(name)));
    const auto& store = impl_->context->options.store;
    if (!store) return done(fail(errc::unavailable, "there is no store: the health log is not kept"));
    json request{{"stream", "health:" + name}, {"limit", limit}};
    if (before > 0) request["before"] = before;
    store->submit("tail", std::move(request), log_timeout, {}, [done = std::move(done)](result<json> r) mutable {
        if (!r) return done(std::move(r));
        json rows = json::array();
        for (const json& e : member(*r, "events")) {
            json row = member(e, "data").is_object() ? e["data"] : json::object();
            row["seq"] = member(e, "seq");
            row["timestamp"] = member(e, "at");
            row["event"] = member(e, "type");
            rows.push_back(std::move(row));
        }
        done(json{{"events", std::move(rows)}});
    });
}

void server_set::watch_resources() { impl_->look_at_resources(); }

/// Looks and comes back. Nothing is read while no server has a process.
void server_set::impl::look_at_resources() {
    const auto& usage = context->options.usage;
    if (!usage) return;
    std::map<std::int64_t, std::shared_ptr<server_record>> by_pid;
    for (auto& r : all())
        if (const auto s = r->snapshot(); s && s->pid) by_pid[*s->pid] = std::move(r);
    if (!by_pid.empty())
        for (const auto& [pid, u] : resources.look(usage(), rt().now()))
            if (auto it = by_pid.find(pid); it != by_pid.end()) it->second->set_usage(u);
    looking = rt().after(resource_period, [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->look_at_resources();
    });
}

}  // namespace holdfast::servers
