#pragma once
// The other end of `"isolation": "process"`: this binary in a hidden mode, hosting one instance of one plugin through the same loader.
//
// Threads: the main thread serves control, one serves calls, one the host's tells; a small pool runs timers; workers are threads as
// they are in the host. The process ends when the control socket closes.
namespace holdfast::plugins::isolation {

inline constexpr const char* runner_flag = "--plugin-runner";

/// The descriptors that a runner is born with.
inline constexpr int control_fd = 3, calls_fd = 4, tells_fd = 5, services_fd = 6, terminal_in_fd = 7, terminal_out_fd = 8;

/// main() of a runner. Returns the exit code: 0 when it was told to end.
int run_plugin();

}  // namespace holdfast::plugins::isolation
