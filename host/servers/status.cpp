#include "servers/status.hpp"

namespace holdfast::servers {

std::string_view to_string(status s) noexcept {
    switch (s) {
        case status::healthy: return "healthy";
        case status::disconnected: return "disconnected";
        case status::circuit_open: return "circuit_open";
        case status::disabled: return "disabled";
    }
    return "disconnected";
}

std::string_view to_string(disabled_by d) noexcept {
    switch (d) {
        case disabled_by::nobody: return "nobody";
        case disabled_by::stopped: return "stopped";
        case disabled_by::person: return "person";
        case disabled_by::automatic: return "automatic";
    }
    return "nobody";
}

nanoseconds total_downtime(const status_state& s, steady_time now) {
    const bool down = s.begun && s.now != status::healthy && s.now != status::disabled;
    return s.downtime + (down ? now - s.down_since : nanoseconds(0));
}

json to_row(const status_state& s, steady_time now, wall_time wall) {
    json last = nullptr;
    if (s.last_attempt != steady_time{})
        last = rfc3339(wall - std::chrono::duration_cast<wall_time::duration>(now - s.last_attempt));
    return {{"status", to_string(s.now)},
            {"circuit_state", s.now == status::circuit_open ? (s.attempting ? "half_open" : "open") : "closed"},
            {"consecutive_failures", s.failures},
            {"last_recovery_attempt", last},
            {"total_downtime_seconds", std::chrono::duration_cast<seconds>(total_downtime(s, now)).count()},
            {"disabled_by", to_string(s.disabled)},
            {"exponent", s.exponent},
            {"reason", s.reason},
            {"updated_at", rfc3339(wall)}};
}

void restore(status_state& s, const json& row) {
    s.exponent = static_cast<std::uint32_t>(std::clamp<std::int64_t>(int_or(row, "exponent", 0), 0, 64));
    s.downtime = seconds(std::clamp<std::int64_t>(int_or(row, "total_downtime_seconds", 0), 0, 4'000'000'000));
    const std::string by = string_or(row, "disabled_by");
    if (by == "person") s.disabled = disabled_by::person;
    if (by == "automatic") s.disabled = disabled_by::automatic;
    if (s.disabled != disabled_by::nobody) s.reason = string_or(row, "reason", "disabled before the host was restarted");
}

}  // namespace holdfast::servers
