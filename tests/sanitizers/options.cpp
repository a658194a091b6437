// Linked into every program of a build with a sanitizer: its options, in one place, and no matter with which environment a program is
// started. The host gives its children an allow-listed one, so variables would not reach them.
// ASAN_OPTIONS, LSAN_OPTIONS, TSAN_OPTIONS and UBSAN_OPTIONS still win: ASAN_OPTIONS=log_path=stderr shows reports in the terminal.

#include <fcntl.h>
#include <sanitizer/common_interface_defs.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#define HERE HOLDFAST_SANITIZER_DIR
// A host's report must be found even when the test that started it does not look at its standard error.
#define COMMON "log_path=" HOLDFAST_SANITIZER_REPORTS "/report:log_exe_name=1:external_symbolizer_path=" HOLDFAST_SYMBOLIZER

extern "C" {

// Signals keep their meaning: crashes are what the guardian and the supervision of processes are tested with.
__attribute__((used, visibility("default"))) const char* __asan_default_options() {
    return COMMON ":handle_segv=0:handle_sigbus=0:handle_sigfpe=0:strict_string_checks=1";
}

__attribute__((used, visibility("default"))) const char* __lsan_default_options() {
    return "suppressions=" HERE "/lsan.supp:print_suppressions=0";
}

__attribute__((used, visibility("default"))) const char* __ubsan_default_options() { return "print_stacktrace=1"; }

__attribute__((used, visibility("default"))) const char* __tsan_default_options() {
    return COMMON ":handle_segv=0:handle_sigbus=0:handle_sigfpe=0:suppressions=" HERE "/tsan.supp:print_suppressions=0:second_deadlock_stack=1:atexit_sleep_ms=50";
}

}  // extern "C"

namespace {

int is_runner = 0;
constexpr int report_fd_at_least = 100;  // clear of the descriptors that a runner is born with

/// A plugin's runner opens its report before its sandbox: inside it the file can be opened no more, and a sanitizer that cannot open it
/// ends the process without a word. An empty file is no report. Stacks in it are addresses: a symbolizer cannot be started either.
__attribute__((constructor)) void open_report_of_a_runner(int argc, char** argv, char**) {
    if (argc < 2 || std::strcmp(argv[1], "--plugin-runner") != 0) return;
    is_runner = 1;
    for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"})
        if (const char* options = std::getenv(name); options && std::strstr(options, "log_path")) return;
    char path[4096];
    std::snprintf(path, sizeof path, "%s/report.runner.%d", HOLDFAST_SANITIZER_REPORTS, static_cast<int>(getpid()));
    const int low = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (low < 0) return;
    const int fd = fcntl(low, F_DUPFD_CLOEXEC, report_fd_at_least);
    close(low);
    if (fd >= 0) __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
}

}  // namespace

/// LeakSanitizer stops a process from a clone of it, which the sandbox denies: a plugin's exit(3) would become a failure of its own.
extern "C" __attribute__((used, visibility("default"))) int __lsan_is_turned_off() { return is_runner; }
