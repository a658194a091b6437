#pragma once
// What was typed, parsed. `holdfast --help` is made from the same table.
#include <string>

namespace holdfast::app {

/// Exit codes, documented in --help and host/doc/cli.md. 70 and 75 belong to the guardian.
enum exit_code : int {
    exit_ok = 0,
    exit_failed = 1,       ///< the command was understood and did not succeed
    exit_usage = 2,        ///< the command line is wrong
    exit_config = 3,       ///< the configuration has problems
    exit_not_running = 4,  ///< no host answers on the data directory
    exit_denied = 5,       ///< a tool call was denied, or the session ended without an answer
};

/// The whole program after the guardian: parses and runs one command.
int run_command_line(int argc, char** argv);

/// True when this command line starts a host (and so wants a guardian above it).
bool wants_guardian(int argc, char** argv);

}  // namespace holdfast::app
