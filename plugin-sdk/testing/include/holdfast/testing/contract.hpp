#pragma once
// Contract tests: what every plugin of a kind must do, run against one plugin file. Tests are registered with GoogleTest at
// run time, so one program serves every plugin (holdfast-contract), and a plugin's own test program can add them too:
//
//   int main(int argc, char** argv) {
//       ::testing::InitGoogleTest(&argc, argv);
//       holdfast::testing::contract::add({.path = "build/plugins/my-plugin.so", .settings = R"({"model":"x"})"});
//       return RUN_ALL_TESTS();
//   }
#include <string>

namespace holdfast::testing::contract {

/// Texts may use ${DIR} (a fresh directory per test), ${ECHO_URL} (an HTTP server that answers a POST with its body) and
/// ${OPENAI_URL} (a Chat Completions server with one fixed answer).
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
};

/// Registers the tests of the plugin's kind, read from its manifest. Throws std::runtime_error when it cannot be loaded or its
/// kind is unknown.
void add(const plugin_case& c);

/// add() and RUN_ALL_TESTS for one plugin: the body of a main(). Returns main's result.
int run(const plugin_case& c);

}  // namespace holdfast::testing::contract
