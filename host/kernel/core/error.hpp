#pragma once
#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace holdfast {

/// Stable codes. Their names (see to_string) are what the API, the CLI and tests show; never rename one.
enum class errc {
    internal,
    invalid_argument,
    not_found,
    already_exists,
    already_started,
    already_present,
    running,
    restarting,
    max_children,
    unauthorized,
    forbidden,
    rate_limited,
    timeout,
    cancelled,
    unavailable,      ///< a breaker is open or a server is not healthy; retry_after says when
    overloaded,       ///< a bounded queue is full
    transport_lost,   ///< the peer went away; the request may or may not have been executed
    protocol_error,   ///< the peer said something the protocol forbids
    server_error,     ///< the peer answered with an error of its own
    command_not_found,
    session_not_found,
    server_not_found,
    server_already_exists,
    max_overflow_reached,
    config_invalid,
    plugin_refused,   ///< verification before load failed; the message names the check
    plugin_failed,    ///< the plugin returned an error or threw
    io_error,
    read_only,        ///< the store refuses writes (disk full, read-only file)
    corrupt,
    stale,            ///< the incarnation or generation asked for is gone
};

std::string_view to_string(errc code) noexcept;

/// Code + one sentence that says what happened and what to do + optional retry delay.
struct error {
    errc code = errc::internal;
    std::string message;
    std::chrono::milliseconds retry_after{0};  ///< 0 = not known

    /// {"code": "...", "message": "...", "retry_after_ms": n?}: the uniform error of every API.
    nlohmann::json to_json() const;
};

}  // namespace holdfast
