#include "kernel/plugins/isolation/crash_trace.hpp"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>

namespace holdfast::plugins::isolation {
namespace {

constexpr int max_frames = 64;
constexpr std::size_t signal_stack_bytes = 64u << 10;

constinit thread_local char doing[96] = "";

void say(const char* s) noexcept { (void)!write(STDERR_FILENO, s, std::strlen(s)); }
void say_hex(std::uintptr_t v) noexcept {
    char digits[19] = "0x0000000000000000";
    for (int i = 17; i >= 2; --i, v >>= 4) digits[i] = "0123456789abcdef"[v & 15];
    say(digits);
}

/// Only functions that a signal handler may call; backtrace() was warmed up, so that it allocates nothing any more.
void on_crash(int sig, siginfo_t* info, void*) {
    static volatile sig_atomic_t entered = 0;
    if (entered++ != 0) {  // another thread crashes at the same moment, or we did
        for (;;) pause();
    }
    say("\n");
    say(crash_begin);
    say(" SIG");
    const char* name = sigabbrev_np(sig);
    say(name ? name : "?");
    say(" address ");
    say_hex(reinterpret_cast<std::uintptr_t>(info->si_addr));
    say(" in ");
    say(doing[0] ? doing : "?");
    say("\n");
    void* frames[max_frames];
    const int n = backtrace(frames, max_frames);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
    say(crash_end);
    say("\n");
    signal(sig, SIG_DFL);
    raise(sig);  // delivered when this handler returns
}

}  // namespace

void install_crash_trace() {
    void* warm[4];
    (void)backtrace(warm, 4);
    struct sigaction act {};
    act.sa_sigaction = on_crash;
    act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
    sigemptyset(&act.sa_mask);
    for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP}) sigaction(s, &act, nullptr);
    static alternate_stack main_stack;
}

alternate_stack::alternate_stack() {
    memory_ = mmap(nullptr, signal_stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) {
        memory_ = nullptr;
        return;
    }
    stack_t s{};
    s.ss_sp = memory_;
    s.ss_size = signal_stack_bytes;
    sigaltstack(&s, nullptr);
}

alternate_stack::~alternate_stack() {
    if (memory_ == nullptr) return;
    stack_t off{};
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    munmap(memory_, signal_stack_bytes);
}

namespace current_call {
void entered(kind what) noexcept { std::snprintf(doing, sizeof doing, "%s", name_of(what)); }
void worker(std::string_view name) noexcept { std::snprintf(doing, sizeof doing, "worker %.*s", static_cast<int>(std::min<std::size_t>(name.size(), 64)), name.data()); }
void left() noexcept { doing[0] = 0; }
}  // namespace current_call

}  // namespace holdfast::plugins::isolation
