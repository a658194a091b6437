#include "kernel/plugins/isolation/crash_trace.hpp"

#include <execinfo.h>
#include <signal.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

namespace holdfast::plugins::isolation {
namespace {

constexpr int max_frames = 64;
constexpr std::size_t signal_stack_bytes = 64u << 10;

constinit thread_local char doing[96] = "";

int trace_fd = -1;
std::atomic<bool> exit_meant{false};
int exit_code = 0;

void say(const char* s) noexcept {
    (void)!write(STDERR_FILENO, s, std::strlen(s));
    if (trace_fd >= 0) (void)!write(trace_fd, s, std::strlen(s));
}
void say_number(std::uint64_t v) noexcept {
    char digits[21] = {};
    int at = 20;
    do digits[--at] = static_cast<char>('0' + v % 10);
    while (v /= 10);
    say(digits + at);
}
void say_hex(std::uintptr_t v) noexcept {
    char digits[19] = "0x0000000000000000";
    for (int i = 17; i >= 2; --i, v >>= 4) digits[i] = "0123456789abcdef"[v & 15];
    say(digits);
}

void say_stack() noexcept {
    say(" thread ");
    say_number(static_cast<std::uint64_t>(syscall(SYS_gettid)));
    say(" in ");
    say(doing[0] ? doing : "?");
    say("\n");
    void* frames[max_frames];
    const int n = backtrace(frames, max_frames);
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
    if (trace_fd >= 0) backtrace_symbols_fd(frames, n, trace_fd);
    say(crash_end);
    say("\n");
}

void on_unexpected_exit(int status, void*) {
    if (exit_meant.load()) return;
    say("\n");
    say(crash_begin);
    say(" exit(");
    say_number(static_cast<std::uint64_t>(status & 0xff));
    say(")");
    say_stack();
    _exit(exit_code);
}

/// Only functions that a signal handler may call; backtrace() was warmed up, so that it allocates nothing any more.
void on_crash(int sig, siginfo_t* info, void*) {
    static std::atomic<bool> entered{false};
    static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler may use no other
    if (entered.exchange(true)) {  // another thread crashes at the same moment, or we did
        for (;;) pause();
    }
    say("\n");
    say(crash_begin);
    say(" SIG");
    const char* name = sigabbrev_np(sig);
    say(name ? name : "?");
    if (sig == SIGSEGV || sig == SIGBUS) {
        say(" address ");
        say_hex(reinterpret_cast<std::uintptr_t>(info->si_addr));
    }
    say_stack();
    signal(sig, SIG_DFL);
    raise(sig);  // delivered when this handler returns
}

}  // namespace

bool install_crash_trace(const std::string& file) {
    if (!file.empty()) {
        const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return false;
        if (const int old = std::exchange(trace_fd, fd); old >= 0) close(old);
    }
    void* warm[4];
    (void)backtrace(warm, 4);
    struct sigaction act {};
    act.sa_sigaction = on_crash;
    act.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
    sigemptyset(&act.sa_mask);
    for (const int s : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP}) sigaction(s, &act, nullptr);
    static alternate_stack main_stack;
    return true;
}

void guard_exit(int code) {
    exit_code = code;
    on_exit(on_unexpected_exit, nullptr);
}
void exit_is_meant() noexcept { exit_meant.store(true); }

alternate_stack::alternate_stack() {
    stack_t now{};
    if (sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0) return;  // it has one already
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
