// Linked into every program of a build with a sanitizer: its options, in one place, and no matter with which environment a program is
// started. The host gives its children an allow-listed one, so variables would not reach them.
// ASAN_OPTIONS, LSAN_OPTIONS, TSAN_OPTIONS and UBSAN_OPTIONS still win: ASAN_OPTIONS=log_path=stderr shows reports in the terminal.

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
    return COMMON ":handle_segv=0:handle_sigbus=0:handle_sigfpe=0:suppressions=" HERE "/tsan.supp:print_suppressions=0:second_deadlock_stack=1";
}

}  // extern "C"
