#include "servers/reports.hpp"

namespace holdfast::servers {
namespace {
constexpr const char* dashboard = "session:admin_dashboard";
constexpr milliseconds store_timeout{10'000};
constexpr unsigned health_rows_kept = 2'000, health_rows_between_trims = 100;
}  // namespace

json eta_json(std::optional<nanoseconds> eta) {
    if (!eta) return nullptr;
    const auto whole = std::chrono::ceil<seconds>(std::max(*eta, nanoseconds(0)));
    return std::to_string(whole.count()) + "s";
}

void reports::publish(const std::string& server, const char* type, const json& fields) {
    if (!options_.bus) return;
    options_.bus->publish("server:" + server, type, fields);
    options_.bus->publish(dashboard, type, fields);
}

void reports::status_changed(const std::string& server, status from, status to, const std::string& reason,
                             std::optional<nanoseconds> eta) {
    publish(server, "mcp_status_change", {{"mcp_name", server}, {"old_status", to_string(from)}, {"new_status", to_string(to)},
                                          {"reason", reason}, {"recovery_eta", eta_json(eta)}});
    log(to == status::healthy ? log_level::info : log_level::warn, server,
        std::string(to_string(from)) + " → " + std::string(to_string(to)) + ": " + reason);
    if (from != status::healthy || (to != status::disconnected && to != status::circuit_open)) return;
    std::vector<std::string> together;
    {
        std::lock_guard lock(mutex_);
        together = burst_.failed(server, options_.runtime->now());
    }
    if (!together.empty())
        critical(std::to_string(together.size()) + " servers failed within " + std::to_string(burst_window.count()) + " s", together);
}

void reports::progress(const std::string& server, std::uint32_t attempt, std::uint32_t max, std::optional<nanoseconds> next_in,
                       status now) {
    publish(server, "recovery_progress", {{"mcp_name", server}, {"attempt", attempt}, {"max_attempts", max},
                                          {"next_attempt_in", eta_json(next_in)}, {"status", to_string(now)}});
}

void reports::circuit_opened(const std::string& server, const std::string& reason, nanoseconds eta) {
    publish(server, "circuit_opened", {{"mcp_name", server}, {"reason", reason}, {"recovery_eta", eta_json(eta)}});
}

void reports::critical(const std::string& reason, const std::vector<std::string>& servers) {
    if (!options_.bus) return;
    const json fields{{"reason", reason}, {"mcp_names", servers}};
    for (const auto& name : servers) options_.bus->publish("server:" + name, "critical_alert", fields);
    options_.bus->publish(dashboard, "critical_alert", fields);
}

void reports::notify_admins(const std::string& severity, const std::string& message, json context) {
    if (!options_.bus) return;
    options_.bus->publish(dashboard, "admin_notification",
                          json{{"severity", severity}, {"message", message}, {"context", std::move(context)}});
}

/// Above every number used before, also by the host that ran before this one: streams allow gaps.
std::uint64_t reports::next_seq() {
    const auto wall = options_.runtime->clock().wall().time_since_epoch();
    const auto us = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(wall).count());
    std::lock_guard lock(mutex_);
    return last_seq_ = std::max(last_seq_ + 1, us);
}

void reports::health(const std::string& server, const char* event, const std::string& detail, status now) {
    json data{{"mcp_name", server}, {"event", event}, {"status", to_string(now)}};
    if (!detail.empty()) data["detail"] = detail;
    if (options_.bus) options_.bus->publish("health", "health", data);
    if (!options_.store) return;
    const json row{{"stream", "health:" + server}, {"seq", next_seq()}, {"type", event},
                   {"at", rfc3339(options_.runtime->clock().wall())}, {"data", std::move(data)}};
    options_.store->submit("append", {{"events", json::array({row})}}, store_timeout, {}, [this, server](result<json> r) {
        bool first = false, trim = false;
        {
            std::lock_guard lock(mutex_);
            first = !r && !store_broken_;
            store_broken_ = !r;
            unsigned& rows = untrimmed_[server];
            trim = r && ++rows == health_rows_between_trims;
            if (trim) rows = 0;
        }
        // A server that dies every few seconds for a year must not fill the disk. A store that cannot trim keeps everything.
        if (trim) options_.store->submit("trim", {{"stream", "health:" + server}, {"keep", health_rows_kept}}, store_timeout, {}, [](result<json>) {});
        if (!first) return;
        log(log_level::error, server, "the health log cannot be written: " + r.error().message);
        notify_admins("warning", "the health log cannot be written: " + r.error().message, {{"code", to_string(r.error().code)}});
    });
}

void reports::log(log_level level, const std::string& server, const std::string& line) const {
    if (options_.log) options_.log(level, server, line);
}

}  // namespace holdfast::servers
