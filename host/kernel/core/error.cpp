#include "kernel/core/error.hpp"

#include <nlohmann/json.hpp>

namespace holdfast {

std::string_view to_string(errc code) noexcept {
    switch (code) {
        case errc::internal: return "internal";
        case errc::invalid_argument: return "invalid_argument";
        case errc::not_found: return "not_found";
        case errc::already_exists: return "already_exists";
        case errc::already_started: return "already_started";
        case errc::already_present: return "already_present";
        case errc::running: return "running";
        case errc::restarting: return "restarting";
        case errc::max_children: return "max_children";
        case errc::unauthorized: return "unauthorized";
        case errc::forbidden: return "forbidden";
        case errc::rate_limited: return "rate_limited";
        case errc::timeout: return "timeout";
        case errc::cancelled: return "cancelled";
        case errc::unavailable: return "unavailable";
        case errc::overloaded: return "overloaded";
        case errc::transport_lost: return "transport_lost";
        case errc::protocol_error: return "protocol_error";
        case errc::server_error: return "server_error";
        case errc::command_not_found: return "command_not_found";
        case errc::session_not_found: return "session_not_found";
        case errc::server_not_found: return "server_not_found";
        case errc::server_already_exists: return "server_already_exists";
        case errc::max_overflow_reached: return "max_overflow_reached";
        case errc::config_invalid: return "config_invalid";
        case errc::plugin_refused: return "plugin_refused";
        case errc::plugin_failed: return "plugin_failed";
        case errc::io_error: return "io_error";
        case errc::read_only: return "read_only";
        case errc::corrupt: return "corrupt";
        case errc::stale: return "stale";
    }
    return "internal";
}

nlohmann::json error::to_json() const {
    nlohmann::json out{{"code", std::string(to_string(code))}, {"message", message}};
    if (retry_after.count() > 0) out["retry_after_ms"] = retry_after.count();
    return out;
}

}  // namespace holdfast
