#pragma once
// Real threads for plugin workers, started and watched by the host (T1–T3).
#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "kernel/core/clock.hpp"
#include "kernel/supervise/exit_reason.hpp"
#include "kernel/supervise/supervisor.hpp"
#include "kernel/supervise/watchdog.hpp"

namespace holdfast::supervise {

/// What the thread's function sees. Plain atomics: usable across the plugin boundary.
struct worker_signals {
    std::atomic<std::uint32_t> stop{0};        ///< non-zero: please return soon
    std::atomic<std::uint64_t> heartbeats{0};  ///< add one at least every heartbeat deadline
    std::atomic<int> wake_fd{-1};              ///< an eventfd that becomes readable when stop is set; for poll() loops
};

/// Returning ends the incarnation with `normal` (0) or exit_code; an exception ends it with `error`. Never killed by force.
using worker_function = std::function<int(worker_signals&)>;

struct worker_options {
    std::string name = "hf-worker";            ///< thread name; 15 characters are kept
    nanoseconds heartbeat_deadline{0};         ///< 0: not watched
    std::size_t stack_bytes = 0;               ///< 0: the system's default
    /// Called once when a thread that did not stop is given up: whatever it may still execute must stay loaded for ever.
    std::function<void()> on_quarantine;
};

/// The threads that could not be stopped, ever, in this process. [any thread]
std::uint64_t quarantined_threads() noexcept;

/// A child that is a thread. watchdog may be null when no heartbeat is declared; it outlives the supervisor.
/// Stop: sets `stop`, then the shutdown timeout, then kill() = quarantine: the thread is left behind (its memory and its
/// library are never freed), exit_kind::hang is reported at once, and a replacement may start.
/// A watched thread that is hung ends the same way, with exit_kind::hang.
child_spec thread_child(std::string id, worker_options options, worker_function run, watchdog* dog = nullptr);

}  // namespace holdfast::supervise
