#include "servers/server_record.hpp"

#include "mcp/definition.hpp"
#include "servers/reports.hpp"
#include "servers/server_actor.hpp"

namespace holdfast::servers {

std::shared_ptr<const catalogue_part> make_part(const std::string& server, const mcp::server_lists& lists) {
    auto part = std::make_shared<catalogue_part>();
    part->tools.reserve(lists.tools.size());
    for (const json& t : lists.tools) {
        tool_info info;
        info.server = server;
        info.name = string_or(t, "name");
        info.title = string_or(t, "title", string_or(member(t, "annotations"), "title"));
        info.description = string_or(t, "description");
        info.input_schema = member(t, "inputSchema");
        info.annotations = member(t, "annotations").is_object() ? t["annotations"] : json::object();
        info.hash = mcp::definition_hash(t);
        info.definition = std::make_shared<const json>(t);
        part->tools.push_back(std::move(info));
    }
    std::sort(part->tools.begin(), part->tools.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    const auto labelled = [&](const json& from, json& to) {
        for (json item : from) {
            item["server"] = server;
            to.push_back(std::move(item));
        }
    };
    labelled(lists.prompts, part->prompts);
    labelled(lists.resources, part->resources);
    labelled(lists.resource_templates, part->resource_templates);
    return part;
}

json row_of(const server_snapshot& s, steady_time now, wall_time wall) {
    const auto ms = [](nanoseconds n) { return std::chrono::duration_cast<milliseconds>(n).count(); };
    json row = to_row(s.state, now, wall);
    row.erase("exponent");
    row.erase("updated_at");
    row["name"] = s.name;
    row["transport"] = s.transport;
    row["era"] = s.era;
    row["protocol_version"] = s.protocol_version;
    row["server_info"] = s.server_info;
    if (s.pid) row["pid"] = *s.pid;
    row["tools"] = s.tools;
    row["prompts"] = s.prompts;
    row["resources"] = s.resources;
    row["since"] = rfc3339(s.since);
    row["last_check"] = s.last_check ? json(rfc3339(*s.last_check)) : json(nullptr);
    std::optional<nanoseconds> eta;
    if (s.state.scheduled && !s.state.attempting) eta = std::max(s.state.next_attempt - now, nanoseconds(0));
    row["recovery_eta"] = eta_json(eta);
    row["next_attempt_in_ms"] = eta ? json(ms(*eta)) : json(nullptr);
    row["uptime_ms"] = s.state.now == status::healthy ? ms(now - s.state.healthy_since) : 0;
    row["restarts"] = s.starts > 0 ? s.starts - 1 : 0;
    json& after = row["restarts_after"] = json::object();
    for (std::size_t i = 0; i < loss_names.size(); ++i) after[std::string(loss_names[i])] = s.state.restarted[i];
    row["enabled"] = s.state.disabled == disabled_by::nobody || s.state.disabled == disabled_by::stopped;
    row["breaker"] = s.breaker;
    row["health"] = s.health;
    row["protocol"] = s.protocol;
    return row;
}

std::shared_ptr<const server_spec> server_record::spec() const {
    std::lock_guard lock(mutex_);
    return spec_;
}
void server_record::set_spec(std::shared_ptr<const server_spec> s) {
    std::lock_guard lock(mutex_);
    spec_.swap(s);
}
std::shared_ptr<const server_snapshot> server_record::snapshot() const {
    std::lock_guard lock(mutex_);
    return snapshot_;
}
void server_record::publish(std::shared_ptr<const server_snapshot> s) {
    std::lock_guard lock(mutex_);
    snapshot_.swap(s);
}
std::shared_ptr<const catalogue_part> server_record::part() const {
    std::lock_guard lock(mutex_);
    return part_;
}
bool server_record::set_part(std::shared_ptr<const catalogue_part> p) {
    std::lock_guard lock(mutex_);
    part_.swap(p);
    return part_ != p;
}
json server_record::pool_row() const {
    std::lock_guard lock(mutex_);
    return spec_->pool ? supervise::pool_machine::row(*spec_->pool, pool_) : json();
}
void server_record::set_pool(const supervise::pool_machine::figures& f) {
    std::lock_guard lock(mutex_);
    pool_ = f;
}
resource_usage server_record::usage() const {
    std::lock_guard lock(mutex_);
    return usage_;
}
void server_record::set_usage(const resource_usage& u) {
    std::lock_guard lock(mutex_);
    usage_ = u;
}
supervise::ref<server_actor> server_record::actor() const {
    std::lock_guard lock(mutex_);
    return actor_;
}
void server_record::set_actor(supervise::ref<server_actor> a) {
    std::lock_guard lock(mutex_);
    std::swap(actor_, a);
}
std::set<std::string> server_record::watched() const {
    std::lock_guard lock(mutex_);
    return watched_;
}
void server_record::set_watched(std::set<std::string> uris) {
    std::lock_guard lock(mutex_);
    watched_.swap(uris);
}

void server_record::add_log(std::string line) {
    if (line.size() > max_log_line_bytes) {
        line.resize(max_log_line_bytes);
        line += "…";
    }
    std::lock_guard lock(log_mutex_);
    log_.push_back(std::move(line));
    if (log_.size() > stderr_ring_lines) log_.pop_front();
}

json server_record::log_lines(std::size_t limit) const {
    std::lock_guard lock(log_mutex_);
    json lines = json::array();
    for (std::size_t i = log_.size() - std::min(limit, log_.size()); i < log_.size(); ++i) lines.push_back(log_[i]);
    return {{"lines", std::move(lines)}};
}

}  // namespace holdfast::servers
