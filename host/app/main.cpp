// holdfast: a supervised plugin host for AI agents. Everything is in command_line.cpp and below it.
#include "app/command_line.hpp"
#include "kernel/supervise/guardian.hpp"

int main(int argc, char** argv) {
    if (holdfast::app::wants_guardian(argc, argv))
        return holdfast::supervise::run_guarded({}, argc, argv, holdfast::app::run_command_line);
    return holdfast::app::run_command_line(argc, argv);
}
