#pragma once
// The supervisor's rules (S1–S10) as a pure state machine: events and the time go in, actions come out. It starts no thread,
// reads no clock, holds no child. The shell (supervisor.hpp) performs the actions in the order given.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel/core/result.hpp"
#include "kernel/supervise/backoff.hpp"
#include "kernel/supervise/exit_reason.hpp"

namespace holdfast::supervise {

enum class strategy : std::uint8_t { one_for_one, one_for_all, rest_for_one };
enum class restart_type : std::uint8_t { permanent, transient, temporary };
enum class auto_shutdown : std::uint8_t { never, any_significant, all_significant };
enum class child_state : std::uint8_t { stopped, starting, running, stopping, restarting, quarantined };
enum class failure_action : std::uint8_t { restart, stop, escalate };

std::string_view to_string(strategy s) noexcept;
std::string_view to_string(restart_type t) noexcept;
std::string_view to_string(child_state s) noexcept;

/// How long a child may take to stop before it is killed.
struct shutdown_policy {
    enum class mode : std::uint8_t { immediate, timeout, infinity } how = mode::timeout;
    milliseconds timeout{5000};
    static shutdown_policy immediate() { return {mode::immediate, milliseconds(0)}; }
    static shutdown_policy within(milliseconds d) { return {mode::timeout, d}; }
    static shutdown_policy infinity() { return {mode::infinity, milliseconds(0)}; }
};

/// Overrides the restart type for one kind of failure (exit_code and signal may name one code).
struct failure_rule {
    exit_kind kind = exit_kind::error;
    std::optional<int> code;
    failure_action action = failure_action::restart;
};

/// A budget of one child's own, beside the supervisor's shared one.
struct child_budget {
    restart_intensity limit;
    bool give_up = false;  ///< when exceeded: leave this child stopped (true) or escalate (false)
};

inline constexpr milliseconds default_start_deadline{10'000};
inline constexpr milliseconds default_kill_deadline{5'000};      ///< a killed child that has not confirmed by then is quarantined
inline constexpr milliseconds default_stop_deadline{10'000};     ///< of all dynamic children together
inline constexpr std::uint32_t default_max_children = 100'000;
inline constexpr std::uint32_t dynamic_stop_parallelism = 256;   ///< dynamic children being stopped at the same time

/// What the rules need to know of a child. The start function is the shell's.
struct child_rules {
    std::string id;
    std::string kind = "worker";  ///< plugin worker process session server connection supervisor service
    restart_type restart = restart_type::permanent;
    shutdown_policy shutdown;
    bool significant = false;
    milliseconds start_deadline = default_start_deadline;
    std::vector<failure_rule> failures;      ///< first match wins, before the restart type
    std::optional<backoff_policy> backoff;   ///< default: the supervisor's
    std::optional<child_budget> budget;
};

struct supervisor_rules {
    bool dynamic = false;               ///< children are unordered and come and go; strategy must be one_for_one
    strategy how = strategy::one_for_one;
    restart_intensity intensity = restart_intensity::with_backoff();
    backoff_policy backoff = backoff_policy::worker();
    auto_shutdown shutdown_when = auto_shutdown::never;
    std::uint32_t max_children = default_max_children;
    milliseconds kill_deadline = default_kill_deadline;
    milliseconds stop_deadline = default_stop_deadline;
};

/// Names a child for as long as the supervisor lives; never reused, unlike its id.
using child_key = std::uint64_t;
using request_id = std::uint64_t;  ///< 0: nobody waits

namespace event {
struct start_all {};                                    ///< start the children added so far, in order
struct add_child { child_rules rules; request_id request; bool join = false; };  ///< join: an existing one is success, once it runs
struct terminate_child { std::string id; request_id request; };
struct restart_child { std::string id; request_id request; };
struct delete_child { std::string id; request_id request; };
struct started { child_key key; std::uint32_t incarnation; };
struct start_failed { child_key key; std::uint32_t incarnation; exit_reason reason; };
struct exited { child_key key; std::uint32_t incarnation; exit_reason reason; };
struct timer { std::uint64_t token; };
struct stop { exit_reason reason{exit_kind::shutdown, 0, {}}; };
}  // namespace event

enum class timer_purpose : std::uint8_t { start_deadline, shutdown_deadline, kill_deadline, retry, stop_deadline };

enum class report_kind : std::uint8_t { progress, child_terminated, start_error, shutdown_error, shutdown };
std::string_view to_string(report_kind k) noexcept;

namespace action {
struct start { child_key key; std::uint32_t incarnation; };     ///< run the start function; ends in started or start_failed
struct stop { child_key key; std::uint32_t incarnation; };      ///< ask it to stop
struct kill { child_key key; std::uint32_t incarnation; };      ///< force it; its exit is still awaited
struct abandon { child_key key; std::uint32_t incarnation; };   ///< did not end when killed: quarantined, no longer counted on
struct arm { std::uint64_t token; timer_purpose purpose; steady_time at; };
struct disarm { std::uint64_t token; };
struct report {
    report_kind kind;
    child_key key;             ///< 0: about the supervisor itself
    std::string id;
    std::string child_kind;
    std::uint32_t incarnation;
    exit_reason reason;
    restart_type restart = restart_type::permanent;  ///< of the spec; with `significant` what decides what follows
    bool significant = false;
};
struct answer { request_id request; result<child_key> outcome; };
struct removed { child_key key; };                              ///< the child is forgotten; the shell may drop its start function
struct initialised {};                                          ///< every child of start_all runs
struct finished { exit_reason reason; };                        ///< nothing is left; the supervisor ends with this
}  // namespace action

using supervisor_action = std::variant<action::start, action::stop, action::kill, action::abandon, action::arm, action::disarm,
                                       action::report, action::answer, action::removed, action::initialised, action::finished>;
using supervisor_event = std::variant<event::start_all, event::add_child, event::terminate_child, event::restart_child,
                                      event::delete_child, event::started, event::start_failed, event::exited, event::timer,
                                      event::stop>;

/// A child as seen from outside.
struct child_view {
    child_key key = 0;
    bool significant = false;
    std::string id, kind;
    child_state state = child_state::stopped;
    restart_type restart = restart_type::permanent;
    std::uint32_t restarts = 0;      ///< restarts attempted
    std::uint32_t incarnation = 0;   ///< 0: never started
    std::optional<exit_reason> last_exit;
    steady_time running_since{};     ///< valid in state running
};

/// Checks rules once: significant with permanent, dynamic with a group strategy, intensity that cannot trip (B4), empty id …
result<void> check_rules(const supervisor_rules& rules);
result<void> check_rules(const child_rules& child, const supervisor_rules& rules);

class supervisor_decision {
  public:
    supervisor_decision(supervisor_rules rules, random_source& random);  ///< random is borrowed for life
    ~supervisor_decision();
    supervisor_decision(const supervisor_decision&) = delete;
    supervisor_decision& operator=(const supervisor_decision&) = delete;

    /// Applies one event. Appends the actions, in the order they have to be performed.
    void on(supervisor_event event, steady_time now, std::vector<supervisor_action>& out);

    std::vector<child_view> children() const;  ///< in spec order
    std::optional<child_view> find(std::string_view id) const;
    std::optional<child_view> find(child_key key) const;
    std::size_t size() const noexcept;         ///< children known, restarting ones included
    bool stopping() const noexcept;
    bool finished() const noexcept;
    const supervisor_rules& rules() const noexcept;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::supervise
