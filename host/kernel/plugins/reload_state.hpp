#pragma once
// The replacement of one incarnation of a plugin by another, as a pure state machine: prove the new one, hand over, watch it for a
// while, go back when it fails. Who performs the actions: plugin_set. Time is a matter of its timers.
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace holdfast::plugins {

enum class reload_phase : std::uint8_t {
    idle,       ///< nothing is being replaced
    proving,    ///< the new one is verified, loaded, created and initialised while the old one serves
    draining,   ///< exclusive only: the old one finishes its work and stops; calls wait
    starting,   ///< the new one starts; overlapping: the old one still serves
    probation,  ///< the new one serves; a failure brings the old one back
    restoring,  ///< the old version starts again
};
inline constexpr std::size_t reload_phase_count = 6;
std::string_view to_string(reload_phase p) noexcept;

namespace reload_event {
/// exclusive: the two must never be active at the same time (a terminal, a file).
struct begin { bool exclusive = false; };
struct held {};                          ///< the new one is initialised
struct new_active {};
struct new_ended { std::string why; };   ///< the new one failed or was stopped, whenever that is
struct old_ended { std::string why; };   ///< the old one is over: because it was retired, or by itself
struct restored {};                      ///< the old version serves again
struct restore_failed { std::string why; };
struct probation_over {};
struct abort { std::string why; };       ///< the plugin is being stopped
}  // namespace reload_event
using any_reload_event = std::variant<reload_event::begin, reload_event::held, reload_event::new_active, reload_event::new_ended, reload_event::old_ended,
                                      reload_event::restored, reload_event::restore_failed, reload_event::probation_over, reload_event::abort>;

namespace reload_action {
struct make_new {};                    ///< as far as init
struct retire_old {};                  ///< it finishes its work and stops
struct start_new {};
struct stop_new {};
struct watch {};                       ///< tell when the probation is over
struct restore { std::string why; };   ///< make and start the old version again; it serves from now on
struct forget {};                      ///< the old version is not needed any more
struct refused { std::string why; };   ///< the answer: the old one serves as before
struct replaced {};                    ///< the answer: the new one serves
struct rolled_back { std::string why; };  ///< the old version serves again; also the answer, if none was given
struct lost { std::string why; };      ///< likewise, but neither serves: supervision decides
}  // namespace reload_action
using any_reload_action = std::variant<reload_action::make_new, reload_action::retire_old, reload_action::start_new, reload_action::stop_new,
                                       reload_action::watch, reload_action::restore, reload_action::forget, reload_action::refused,
                                       reload_action::replaced, reload_action::rolled_back, reload_action::lost>;

class reload_machine {
  public:
    /// Appends what to do, in order. Events that make no sense now do nothing.
    void on(const any_reload_event& event, std::vector<any_reload_action>& out);
    reload_phase phase() const noexcept { return phase_; }
    bool under_way() const noexcept { return phase_ != reload_phase::idle && phase_ != reload_phase::probation; }
    /// The old one was asked to make room: its end is part of the plan, and calls wait for the next one.
    bool switching() const noexcept { return exclusive_ && (phase_ == reload_phase::draining || phase_ == reload_phase::starting || phase_ == reload_phase::restoring); }

  private:
    using actions = std::vector<any_reload_action>;
    void on(const reload_event::begin& e, actions& out);
    void on(const reload_event::held&, actions& out);
    void on(const reload_event::new_active&, actions& out);
    void on(const reload_event::new_ended& e, actions& out);
    void on(const reload_event::old_ended& e, actions& out);
    void on(const reload_event::restored&, actions& out);
    void on(const reload_event::restore_failed& e, actions& out);
    void on(const reload_event::probation_over&, actions& out);
    void on(const reload_event::abort& e, actions& out);

    reload_phase phase_ = reload_phase::idle;
    bool exclusive_ = false;
    std::string fault_;  // why the new one is given up
};

}  // namespace holdfast::plugins
