#pragma once
// The checks that every plugin, and every plugin of a kind, must pass: one list, run by `holdfast plugin check`, by
// holdfast-contract and by plugins' own GoogleTest programs (contract.hpp). Nothing here needs GoogleTest.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/testing/loader.hpp"

namespace holdfast::testing::contract {

/// What the checks give a plugin to work with. A manifest may carry it as "check": {"settings": {…}, "config": {…},
/// "unreachable": {…}, "persistent": bool, "answers": bool, "starts": bool}. Texts may use ${DIR} (a fresh directory per
/// check), ${ECHO_URL} (an HTTP server that answers a POST with its body), ${ECHO_TCP} and ${ECHO_WS} (servers that send every line,
/// every WebSocket message back) and ${OPENAI_URL} (a Chat Completions server with one fixed answer).
struct plugin_case {
    std::string path;
    std::string settings = "{}";
    /// transport: the connection's configuration against a peer that echoes; breaker, health: the policy's configuration.
    std::string config = "{}";
    /// transport: a configuration whose peer cannot be reached.
    std::string unreachable = "{}";
    bool persistent = false;  ///< store: data survives the instance (settings then name ${DIR})
    bool answers = true;      ///< llm: a chat can succeed in this environment
    bool starts = true;       ///< ui: start can succeed in this environment (no terminal in a test run)
    std::string dir;          ///< what ${DIR} stands for: run_check fills it in, a target may read it
};
/// The case with what the manifest's "check" says.
plugin_case case_of(std::string path, std::string_view manifest);

class bench;
struct check {
    const char* group;  ///< "lifecycle", "llm" …
    const char* name;
    void (*run)(bench&);
    std::string full_name() const { return std::string(group) + "." + name; }
};

/// The checks for a kind: those of every plugin first. Throws std::runtime_error when the kind is unknown.
std::vector<check> checks_for(std::string_view kind);

/// Where the instances of a check come from: the file loaded into this process, or a table of the same shape whose instances
/// live elsewhere. Called once per check.
using target = std::function<std::shared_ptr<plugin_file>(const plugin_case&)>;
target in_this_process();
/// For a target: what it saw of an instance counts against the check that runs now. [any thread]
void note_failure(std::string sentence);

struct outcome {
    std::vector<std::string> failures;  ///< one sentence each; empty: passed
    std::string skipped;                ///< why it does not apply to this plugin
};
/// Runs one check here, catching what it throws. A plugin that crashes takes this process with it.
outcome run_check(const check& c, const plugin_case& on, const target& from);

}  // namespace holdfast::testing::contract
