#pragma once
// The status of one server: plain state. Owner: the server's actor, through status_machine.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"

namespace holdfast::servers {

enum class status : std::uint8_t { healthy, disconnected, circuit_open, disabled };
std::string_view to_string(status s) noexcept;

/// Why a server is `disabled`.
enum class disabled_by : std::uint8_t {
    nobody,
    stopped,    ///< a person stopped it: until start, or the next start of the host
    person,     ///< a person disabled it, or the configuration did: until enable
    automatic,  ///< too long without health: until enable, across restarts of the host
};
std::string_view to_string(disabled_by d) noexcept;

/// How a healthy server was lost: what follows may differ (restart_policy).
enum class loss : std::uint8_t {
    exit,    ///< it ended by itself, in order
    crash,   ///< its process or connection ended, or spoke no sense
    hang,    ///< it did not answer in time
    health,  ///< it answered, but its health check failed
};
inline constexpr std::array<std::string_view, 4> loss_names{"exit", "crash", "hang", "health"};
inline constexpr std::uint32_t restart_always = UINT32_MAX;
/// By kind of loss: how many restarts may follow it, until the server was healthy for reset_after or a person started it.
using restart_limits = std::array<std::uint32_t, loss_names.size()>;

/// Times and numbers of SRV-3, B1–B3. Taken from "breaker" of the configuration.
struct status_rules {
    std::uint32_t attempts = 5;                   ///< failed recovery attempts that open the circuit
    nanoseconds first_delay{seconds(1)};          ///< attempts at once, then after this ×2 …
    nanoseconds open_initial{seconds(30)};        ///< probes while open
    nanoseconds open_max{seconds(600)};
    double multiplier = 2.0;
    double jitter = 0.2;                          ///< of probes only; clamped after it
    nanoseconds disable_after{std::chrono::minutes(30)};
    nanoseconds reset_after{seconds(600)};        ///< continuous health that resets the exponent
    restart_limits restarts{restart_always, restart_always, restart_always, restart_always};  ///< what is recovered at all (SUP-2); all 0: one try
    nanoseconds short_life{seconds(5)};           ///< health that held shorter than this did not count …
    std::uint32_t short_lives_allowed = 5;        ///< … and after so many in a row recovery is no longer at once
};

struct status_state {
    status now = status::disconnected;
    disabled_by disabled = disabled_by::nobody;
    bool begun = false;                 ///< the actor has told it to go
    bool attempting = false;            ///< one attempt is under way: never two
    std::uint32_t failures = 0;         ///< failed attempts since last healthy
    std::uint32_t exponent = 0;         ///< k: probes scheduled since the last reset
    std::uint32_t short_lives = 0;
    restart_limits restarted{};         ///< by kind of loss, since it was healthy for reset_after
    std::uint64_t recoveries = 0;       ///< successful attempts after the first
    steady_time since{};                ///< of the present status
    steady_time last_healthy{};         ///< or when it was started or enabled
    steady_time healthy_since{};
    steady_time last_attempt{};         ///< zero: never
    steady_time next_attempt{};         ///< valid when one is scheduled
    bool scheduled = false;
    nanoseconds downtime{0};            ///< closed intervals only; while down add now - down_since
    steady_time down_since{};
    std::string reason = "not started yet";
};

/// Time without health while it was wanted, the present interval included.
nanoseconds total_downtime(const status_state& s, steady_time now);
/// Row of table mcp_servers. Monotonic times do not travel; what must survive does.
json to_row(const status_state& s, steady_time now, wall_time wall);
/// What a restart of the host takes over: disabled (not: stopped), exponent, downtime.
void restore(status_state& s, const json& row);

}  // namespace holdfast::servers
