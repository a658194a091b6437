// holdfast: a supervised plugin host for AI agents. Everything is in command_line.cpp and below it.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "app/command_line.hpp"
#include "kernel/plugins/isolation/runner.hpp"
#include "kernel/supervise/guardian.hpp"

namespace {
/// The C library gives threads up to eight heaps a core, each with an unused rest of its own that grows over months. The host's threads
/// are mostly idle: two a core do. Before the first thread.
void bound_heaps() {
#ifdef __GLIBC__
    ::mallopt(M_ARENA_MAX, static_cast<int>(2 * std::max(1u, std::thread::hardware_concurrency())));
#endif
}
}  // namespace

int main(int argc, char** argv) {
    bound_heaps();
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
