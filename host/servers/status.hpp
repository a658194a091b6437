#pragma once
// The status of one server: plain state. Owner: the server's actor, through status_machine.
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/supervise/supervisor_decision.hpp"

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
    supervise::restart_type restart = supervise::restart_type::permanent;  ///< what is recovered at all (SUP-2)
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
