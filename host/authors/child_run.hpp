#pragma once
// Runs a function in a forked child, so that whatever a plugin does there ends there.
#include <functional>
#include <string>

#include "kernel/core/clock.hpp"

namespace holdfast::authors {

struct child_outcome {
    std::string said;   ///< what the function returned; only when died is empty
    std::string died;   ///< how the child ended without returning: "SIGSEGV in stop", "exit code 3 in start", "no end within 30 s …"
    std::string words;  ///< the first and the last of what it printed
};

/// The caller has no other threads. The child has a session of its own, no standard input, and is killed at the limit together
/// with everything it started.
child_outcome run_in_child(const std::function<std::string()>& body, milliseconds limit);

}  // namespace holdfast::authors
