#pragma once
// Is the host responsive? The guardian asks it now and then; this decides when, and what follows. Pure: time is passed in.
#include <algorithm>
#include <functional>
#include <optional>

#include "kernel/core/clock.hpp"

namespace holdfast::supervise {

/// From SIGABRT, which leaves a trace of the crash, to SIGKILL.
inline constexpr milliseconds abort_patience{5'000};
/// While an answer is outstanding it is looked for this often, and each look counts for at most twice as long: a time in which the
/// guardian itself was stopped, most likely together with the host, is none that the host was given.
inline constexpr milliseconds longest_look{1'000};

class host_watch {
  public:
    /// watchdog: the service manager's patience, 0: it has none to keep. It hears from us twice in that time.
    explicit host_watch(nanoseconds watchdog) : beat_every_(watchdog / 2) {}

    void host_started(steady_time now);
    void host_ended(steady_time now);       ///< until it is started again the guardian answers for itself
    void patience(nanoseconds d, steady_time now);  ///< a host that does not answer for so long is ended; 0: it is not
    void stopping() noexcept { stopping_ = true; }  ///< it may take its time now; no more asked of it than that it ends
    /// The host has answered. true: a sign of life is due to the service manager.
    bool answered() noexcept;

    enum class act : std::uint8_t {
        nothing,
        ask,        ///< send the host the question
        beat,       ///< send the service manager a sign of life
        abort_it,   ///< the host is hung: SIGABRT
        kill_it,    ///< and did not mind
    };
    /// What is due now; call until `nothing`. suspended: is the host stopped by a signal or a debugger? Asked only when it matters.
    act look(steady_time now, const std::function<bool()>& suspended);
    /// When to look again; time_point::max(): only after another call here.
    steady_time next() const noexcept;

  private:
    nanoseconds interval() const noexcept;
    nanoseconds look_every() const noexcept { return std::min<nanoseconds>(longest_look, patience_ / 4); }
    const nanoseconds beat_every_;
    nanoseconds patience_{0};
    enum class phase : std::uint8_t { down, up, dying } phase_ = phase::down;
    bool stopping_ = false;
    std::optional<nanoseconds> waited_;  ///< since the question that is not answered yet
    steady_time looked_{};               ///< as of which time waited_ is
    steady_time due_{};                  ///< next question (up), sign of life (down) or SIGKILL (dying)
};

}  // namespace holdfast::supervise
