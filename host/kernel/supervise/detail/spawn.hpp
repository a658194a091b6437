#pragma once
// One exec, on the calling thread. Private to the process files.
#include <string>

#include "kernel/core/result.hpp"
#include "kernel/supervise/process.hpp"

namespace holdfast::supervise::detail {

struct spawned_process {
    pid_t pid = -1;
    int pidfd = -1;
    int in = -1, out = -1, err = -1;  ///< our ends, non-blocking, close-on-exec
};

/// Blocks for the exec. The calling thread has to outlive the process (its death would send the parent-death signal) and has to have
/// every signal blocked.
result<spawned_process> spawn_process(const process_options& options);

}  // namespace holdfast::supervise::detail
