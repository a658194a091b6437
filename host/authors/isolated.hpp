#pragma once
// The checks against instances in processes of their own: a table in the shape of the plugin's entry, whose create starts a runner.
#include <string>

#include "authors/inspect.hpp"
#include "holdfast/testing/checks.hpp"

namespace holdfast::authors {

/// runner: the program that is a runner when started with runner_flag; empty: this one. The runners are sandboxed as a host's are by
/// default, and may write to the check's directory. Copies the file now, and keeps the copy as long as the target is kept.
/// Errors: plugin_refused, io_error.
result<testing::contract::target> in_a_process_of_its_own(const plugin_file_facts& facts, std::string runner = {});

}  // namespace holdfast::authors
