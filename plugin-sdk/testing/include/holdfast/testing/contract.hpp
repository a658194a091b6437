#pragma once
// The checks of checks.hpp as GoogleTest tests against one plugin file. They are registered at run time, so one program serves every plugin (holdfast-contract), and a plugin's own test program can add them too:
//
//   int main(int argc, char** argv) {
//       ::testing::InitGoogleTest(&argc, argv);
//       holdfast::testing::contract::add({.path = "build/plugins/my-plugin.so", .settings = R"({"model":"x"})"});
//       return RUN_ALL_TESTS();
//   }
#include "holdfast/testing/checks.hpp"

namespace holdfast::testing::contract {

/// Registers the tests of the plugin's kind, read from its manifest. Throws std::runtime_error when it cannot be loaded or its
/// kind is unknown.
void add(const plugin_case& c);

/// add() and RUN_ALL_TESTS for one plugin: the body of a main(). Returns main's result.
int run(const plugin_case& c);

}  // namespace holdfast::testing::contract
