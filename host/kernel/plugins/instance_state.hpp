#pragma once
// The life of one plugin instance as a pure state machine. Time comes in; what to do comes out.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel/core/clock.hpp"

namespace holdfast::plugins {

enum class instance_phase : std::uint8_t {
    discovered,   ///< a file is known (or looked for)
    verified,
    loaded,
    created,
    ready,        ///< after init
    active,       ///< after start: the only phase that is resolved to
    quiescing,
    stopped,
    retired,      ///< removed; its generation stays mapped
    backoff,      ///< waiting before the next attempt
    quarantined,  ///< not started again before the expiry or a person's command
    failed,       ///< its last attempt failed
};
inline constexpr std::size_t instance_phase_count = 12;
std::string_view to_string(instance_phase p) noexcept;  ///< "discovered" … as in the API

/// What the shell runs on the instance's control thread, one at a time.
enum class instance_step : std::uint8_t { verify, load, create, init, start, quiesce, stop, revoke, destroy };
inline constexpr std::size_t instance_step_count = 9;
std::string_view to_string(instance_step s) noexcept;
enum class step_outcome : std::uint8_t {
    ok,
    failed,     ///< it returned an error
    threw,      ///< an exception escaped: counts as a crash of the instance
    timed_out,  ///< not back by its deadline: that thread is lost, nothing of the instance is called on it again
};

namespace instance_event {
struct begin { bool hold = false; };  ///< hold: waits after init for go
struct go {};                         ///< a held one may start
struct step_done { instance_step step; step_outcome outcome = step_outcome::ok; std::string why; };
struct stop_asked {};
struct retired {};                    ///< another one serves in its place: ends like stop_asked, but only when nobody uses it any more
struct crashed { std::string why; };  ///< an exception in a call or callback, or workers that failed too often
struct leases_gone {};                ///< nobody uses an interface any more
struct leases_late {};                ///< somebody still does, at the deadline
struct kill {};                       ///< the supervisor's patience is over
}  // namespace instance_event
using any_instance_event = std::variant<instance_event::begin, instance_event::go, instance_event::step_done, instance_event::stop_asked, instance_event::retired,
                                        instance_event::crashed, instance_event::leases_gone, instance_event::leases_late, instance_event::kill>;

namespace instance_action {
struct run { instance_step step; };
struct publish {};                      ///< resolvers answer with it from now on
struct withdraw { std::string why; };   ///< they do not any more; calls in flight are completed for the plugin when it has stopped
struct end_calls { std::string why; };  ///< complete what is still pending
struct await_leases { bool draining = false; };  ///< draining: for as long as work under way may take
struct held {};                         ///< initialised, and waiting for go
struct defer_destroy {};                ///< destroy when the last lease is gone, whenever that is
struct abandon {};                      ///< never destroy, never unload: a thread may still be inside
struct moved { instance_phase from, to; std::string reason; };
/// Last. was_ready: an exit; else a failed start. hang: a control call never came back.
struct finished { bool was_ready; bool asked; bool hang; std::string why; };
}  // namespace instance_action
using any_instance_action = std::variant<instance_action::run, instance_action::publish, instance_action::withdraw, instance_action::end_calls,
                                         instance_action::await_leases, instance_action::held, instance_action::defer_destroy,
                                         instance_action::abandon, instance_action::moved, instance_action::finished>;

/// One incarnation: from its file to its end. Restarts, backoff and quarantine are decided above it (supervisor, plugin_set).
class instance_machine {
  public:
    /// Appends what to do, in order. Events that make no sense now (late, repeated) do nothing.
    void on(const any_instance_event& event, std::vector<any_instance_action>& out);
    instance_phase phase() const noexcept { return phase_; }
    bool finished() const noexcept { return finished_; }
    std::optional<instance_step> running() const noexcept { return running_; }

  private:
    using actions = std::vector<any_instance_action>;
    void step_done(const instance_event::step_done& e, actions& out);
    void advance(instance_step done, actions& out);
    void run(instance_step s, actions& out);
    void move(instance_phase to, std::string reason, actions& out);
    void unwind(actions& out);
    void finish(actions& out);
    void quiesce(actions& out);
    bool ending() const noexcept { return stop_asked_ || !fault_.empty(); }

    instance_phase phase_ = instance_phase::discovered;
    std::optional<instance_step> running_;
    std::string fault_;          // why it ends, unless it was asked to
    bool begun_ = false, stop_asked_ = false, was_ready_ = false, published_ = false, finished_ = false;
    bool hang_ = false;          // a thread is lost: nothing may be called, nothing freed
    bool lost_control_ = false;  // … and it was inside a control call, not a worker or a callback
    bool need_stop_ = false;     // start was attempted
    bool need_revoke_ = false;   // create was attempted: it may hold host resources
    bool exists_ = false;        // created, not destroyed
    bool hold_ = false, held_ = false;
    bool draining_ = false;      // retired, and still in use
    bool awaiting_leases_ = false, unwinding_ = false;
};

}  // namespace holdfast::plugins
