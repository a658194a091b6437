#pragma once
// Why an incarnation of a supervised child ended.
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::supervise {

enum class exit_kind : std::uint8_t {
    normal,         ///< finished its work and returned
    shutdown,       ///< was asked to stop and did
    error,          ///< an exception, or an error it reported
    killed,         ///< forced to end after it did not stop in time, or by somebody's SIGKILL order of ours
    exit_code,      ///< a process that exited with a non-zero code
    signal,         ///< a process ended by a signal
    hang,           ///< missed its heartbeat deadline, or did not end when told (then it is quarantined)
    memory_limit,   ///< a process over its memory limit, ended by us
    cpu_limit,      ///< a process over its CPU limit, ended by us
    start_failure,  ///< its start function failed
    start_timeout,  ///< its start did not finish before the deadline
};

std::string_view to_string(exit_kind kind) noexcept;

struct exit_reason {
    exit_kind kind = exit_kind::normal;
    int code = 0;        ///< exit code, signal number, or for start_failure the errc
    std::string detail;  ///< one sentence for people; may be empty

    /// normal and shutdown end a transient child for good; everything else restarts it.
    bool abnormal() const noexcept { return kind != exit_kind::normal && kind != exit_kind::shutdown; }
    /// "signal 9: killed by the kernel", "error: boom"
    std::string text() const;
    friend bool operator==(const exit_reason&, const exit_reason&) = default;
};

}  // namespace holdfast::supervise
