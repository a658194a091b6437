// A stand-in for the host: run under the guardian by guardian_test. argv: MODE [file]. Speaks one line per event on stdout.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "kernel/supervise/guardian.hpp"

static int host_main(int argc, char** argv) {
    const std::string mode = argc > 1 ? argv[1] : "";
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    if (mode == "young") {  // has not come so far as to take signals
        std::printf("host %d\n", getpid());
        for (;;) pause();
    }
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    sigprocmask(SIG_BLOCK, &term, nullptr);
    std::printf("host %d\n", getpid());
    if (mode == "exit") return std::atoi(argv[2]);
    if (mode == "crash_once") {  // a file remembers the first run
        if (std::ifstream(argv[2]).good()) return 0;
        std::ofstream(argv[2]) << "x";
        abort();
    }
    if (mode == "crash_always") abort();
    if (mode == "orphans") {  // children, a grandchild in its own session, and then somebody kills us
        for (int i = 0; i < 3; ++i)
            if (fork() == 0) {
                if (i == 2 && fork() != 0) _exit(0);
                setsid();
                std::printf("orphan %d\n", getpid());
                for (;;) pause();
            }
    }
    int got = 0;
    sigwait(&term, &got);
    std::printf("got %d\n", got);
    if (mode == "stubborn")
        for (;;) pause();
    return 5;
}

int main(int argc, char** argv) {
    holdfast::supervise::guardian_options o;
    o.backoff = holdfast::supervise::backoff_policy::none();
    o.intensity = {2, std::chrono::seconds(60)};
    return holdfast::supervise::run_guarded(o, argc, argv, host_main);
}
