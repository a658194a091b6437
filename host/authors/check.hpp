#pragma once
// `holdfast plugin check`: every check of the SDK against one file, each in a child process of its own.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "authors/inspect.hpp"
#include "holdfast/testing/checks.hpp"
#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::authors {

/// Where instances live while they are checked. The same checks run against each.
struct check_target {
    std::string name;  ///< "in-process", "isolated"
    /// Once, before the first check, if the file can be run at all.
    std::function<result<testing::contract::target>(const plugin_file_facts&)> prepare;
};
check_target in_process();
/// Each instance in a process of its own. runner: the program that is a runner when started as one; empty: this one.
check_target isolated(std::string runner = {});

struct check_options {
    std::string file;
    std::string only;  ///< a check's full name, its last part or its group; empty: all
    /// What the manifest's "check" says is replaced by what is given here. JSON texts.
    std::optional<std::string> settings, config, unreachable;
    bool persistent = false, no_answers = false, no_start = false;
    milliseconds limit{30'000};  ///< for each check
    std::vector<check_target> targets;  ///< at least one
    std::string host_version;
};

struct check_result {
    enum class verdict : std::uint8_t { passed, failed, does_not_apply, not_run } is = verdict::not_run;
    std::string name;    ///< "lifecycle.stop_without_start"
    std::string target;  ///< "" for what is judged from the file alone
    std::vector<std::string> details;  ///< why not
    milliseconds took{0};
};
std::string_view to_string(check_result::verdict v);

struct check_report {
    std::string file, sha256, host_version, date;  ///< date: of today, UTC
    json about;                                    ///< id, kind, version, as far as they could be read
    std::vector<check_result> results;
    bool passed() const;
    /// What one target passed, of those that apply to it; what is judged from the file counts for each.
    struct tally {
        std::string target;
        std::size_t passed = 0, of = 0;
    };
    std::vector<tally> tallies() const;
    /// Names of checks that ended otherwise in one target than in another.
    std::vector<std::string> differences() const;
    json to_json() const;
    /// A few lines of Markdown for a README.
    std::string verdict() const;
};

/// `on_result` is called after each check. Errors: not_found, io_error (the file), invalid_argument (no check is called `only`), and those
/// of preparing a target.
/// The caller has no other threads.
result<check_report> check_plugin(const check_options& o, const std::function<void(const check_result&)>& on_result);

}  // namespace holdfast::authors
