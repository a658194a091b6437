// holdfast-contract: runs the contract tests of a plugin's kind against one file.
#include <gtest/gtest.h>

#include <cstring>
#include <iostream>
#include <stdexcept>

#include "holdfast/testing/contract.hpp"

namespace {
constexpr char usage[] =
    "usage: holdfast-contract PLUGIN.so [--settings JSON] [--config JSON] [--unreachable JSON]\n"
    "                         [--persistent] [--no-answers] [--no-start] [GoogleTest options]\n"
    "  --settings     the instance's settings object\n"
    "  --config       a connection to a peer that echoes (transport), or a policy's configuration (breaker, health)\n"
    "  --unreachable  a connection to a peer that does not answer (transport)\n"
    "  --persistent   the store keeps its data in the file its settings name\n"
    "  --no-answers   the model cannot be reached from here\n"
    "  --no-start     the user interface cannot start here (no terminal)\n"
    "JSON may use ${DIR}, ${ECHO_URL}, ${ECHO_TCP}, ${ECHO_WS} and ${OPENAI_URL}.\n";
}

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    holdfast::testing::contract::plugin_case c;
    // What the manifest says first; the options override it.
    for (int i = 1; i < argc; ++i)
        if (argv[i][0] != '-' && std::string_view(argv[i]).ends_with(".so")) {
            try {
                c = holdfast::testing::contract::case_of("", holdfast::testing::plugin_file(argv[i]).manifest());
            } catch (const std::exception& e) {
                return std::cerr << "holdfast-contract: " << e.what() << "\n", 1;
            }
        }
    for (int i = 1; i < argc; ++i) {
        const auto is = [&](const char* name) { return std::strcmp(argv[i], name) == 0; };
        std::string* const takes = is("--settings") ? &c.settings : is("--config") ? &c.config : is("--unreachable") ? &c.unreachable : nullptr;
        if (takes && i + 1 < argc)
            *takes = argv[++i];
        else if (is("--persistent"))
            c.persistent = true;
        else if (is("--no-answers"))
            c.answers = false;
        else if (is("--no-start"))
            c.starts = false;
        else if (argv[i][0] != '-' && c.path.empty())
            c.path = argv[i];
        else
            return std::cerr << "holdfast-contract: cannot understand \"" << argv[i] << "\"\n" << usage, 2;
    }
    if (c.path.empty()) return std::cerr << usage, 2;
    try {
        return holdfast::testing::contract::run(c);
    } catch (const std::exception& e) {
        return std::cerr << "holdfast-contract: " << e.what() << "\n", 1;
    }
}
