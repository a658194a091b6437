// holdfast: a supervised plugin host for AI agents. Everything is in command_line.cpp and below it.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "app/command_line.hpp"
#include "kernel/plugins/isolation/runner.hpp"
#include "kernel/supervise/guardian.hpp"

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], holdfast::plugins::isolation::runner_flag) == 0) return holdfast::plugins::isolation::run_plugin();
    if (holdfast::app::wants_guardian(argc, argv)) {
        const char* restarts = std::getenv("HOLDFAST_RESTARTS");
        const auto options = holdfast::supervise::guardian_options_from(restarts ? restarts : "");
        if (!options) {
            std::fprintf(stderr, "holdfast: HOLDFAST_RESTARTS: %s\n", options.error().message.c_str());
            return holdfast::app::exit_usage;
        }
        return holdfast::supervise::run_guarded(*options, argc, argv, holdfast::app::run_command_line);
    }
    return holdfast::app::run_command_line(argc, argv);
}
