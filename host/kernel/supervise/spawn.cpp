// The exec shim: code that runs between clone and exec, in the child, on memory it shares with us while our thread waits
// (CLONE_VM | CLONE_VFORK: nothing is copied, so the size of the host does not matter; measured 33 ms for a fork of 1 GiB). It sets what
// posix_spawn cannot: parent-death signal, no_new_privs, limits, session. Because of the shared memory it makes only raw system calls, and
// an exec that fails leaves its errno in our own stack frame: reported synchronously, without a pipe (O1).
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernel/supervise/detail/spawn.hpp"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

// glibc's clone under its other name: sanitizers intercept `clone` and would bookkeep a fork that is none.
extern "C" int __clone(int (*fn)(void*), void* stack, int flags, void* arg, ...);

namespace holdfast::supervise::detail {
namespace {

constexpr std::size_t shim_stack = 64 << 10;
constexpr int first_free_fd = 256;  // our copies lie above every number a child may ask for

enum class stage : int { ready, parent_gone, session, limits, descriptors, directory, exec };

struct shim_args {
    const char* path;
    char** argv;
    char** envp;
    const char* cwd;
    int stdio[3];
    const inherited_fd* inherit;
    std::size_t inherit_count;
    std::uint64_t nofile;
    pid_t parent;
    volatile int error;
    volatile int where;
};

struct kernel_sigaction {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
};

__attribute__((no_sanitize("address", "thread", "undefined"))) int shim(void* raw) {
    auto& a = *static_cast<shim_args*>(raw);
    const auto give_up = [&a](stage at) __attribute__((no_sanitize("address", "thread", "undefined"))) {
        a.error = errno;
        a.where = static_cast<int>(at);
        syscall(SYS_exit_group, 127);
    };
    // Dispositions are this process's own (no CLONE_SIGHAND); SIG_IGN would survive the exec, so every one is reset.
    kernel_sigaction by_default{};
    for (int s = 1; s < 65; ++s)
        if (s != SIGKILL && s != SIGSTOP) syscall(SYS_rt_sigaction, s, &by_default, nullptr, 8);
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (syscall(SYS_getppid) != a.parent) {  // died before the signal was armed (O5)
        errno = ESRCH;
        give_up(stage::parent_gone);
    }
    if (syscall(SYS_setsid) < 0) give_up(stage::session);
    if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) give_up(stage::limits);
    rlimit64 none{0, 0}, files{a.nofile, a.nofile};
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, &none, nullptr);
    if (a.nofile) syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, nullptr);  // above our own hard limit: stays as it is
    for (int i = 0; i < 3; ++i)
        if (syscall(SYS_dup3, a.stdio[i], i, 0) < 0) give_up(stage::descriptors);
    syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
    for (std::size_t i = 0; i < a.inherit_count; ++i)
        if (syscall(SYS_dup3, a.inherit[i].parent_fd, a.inherit[i].child_fd, 0) < 0) give_up(stage::descriptors);
    if (a.cwd && syscall(SYS_chdir, a.cwd) < 0) give_up(stage::directory);
    unsigned long no_signals = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, 8);
    syscall(SYS_execve, a.path, a.argv, a.envp);
    give_up(stage::exec);
    return 127;
}

/// Closes on every way out unless released.
struct fd_guard {
    int fd = -1;
    fd_guard() = default;
    fd_guard(const fd_guard&) = delete;
    ~fd_guard() {
        if (fd >= 0) ::close(fd);
    }
    int release() { return std::exchange(fd, -1); }
};

bool make_pipe(fd_guard& ours, fd_guard& theirs, bool we_write) {
    int p[2];
    if (pipe2(p, O_CLOEXEC) != 0) return false;
    ours.fd = p[we_write ? 1 : 0];
    const int child_end = p[we_write ? 0 : 1];
    theirs.fd = fcntl(child_end, F_DUPFD_CLOEXEC, first_free_fd);
    ::close(child_end);
    fcntl(ours.fd, F_SETFL, O_NONBLOCK);
    return theirs.fd >= 0;
}

result<std::string> find_command(const process_options& o) {
    const auto& name = o.argv[0];
    if (name.find('/') != std::string::npos) return name;
    std::string_view path = "/usr/local/bin:/usr/bin:/bin";
    for (const auto& e : o.environment)
        if (e.rfind("PATH=", 0) == 0) path = std::string_view(e).substr(5);
    bool not_executable = false;
    while (!path.empty()) {
        const auto colon = path.find(':');
        std::string candidate(path.substr(0, colon));
        path = colon == std::string_view::npos ? std::string_view{} : path.substr(colon + 1);
        if (candidate.empty()) continue;  // an empty entry would mean the current directory: never
        candidate += '/' + name;
        struct stat st{};
        if (::stat(candidate.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
        not_executable = true;
    }
    if (not_executable) return fail(errc::forbidden, "\"" + name + "\" is in PATH but is not executable");
    return fail(errc::command_not_found, "\"" + name + "\" is not in PATH; install it or give its full path");
}

error explain(const shim_args& a, const process_options& o) {
    const std::string why = std::strerror(a.error);
    switch (static_cast<stage>(a.where)) {
        case stage::directory: return {errc::invalid_argument, "the working directory \"" + o.cwd + "\" cannot be entered: " + why};
        case stage::descriptors: return {errc::invalid_argument, "the descriptors cannot be handed over: " + why};
        case stage::exec: {
            std::string what = a.path;
            what += " cannot be executed: ";
            what += why;
            if (a.error == ENOENT || a.error == ENOTDIR) return {errc::command_not_found, what + "; correct the command, or install it"};
            if (a.error == EACCES || a.error == EPERM) return {errc::forbidden, what};
            if (a.error == ENOEXEC || a.error == E2BIG) return {errc::invalid_argument, what};
            return {errc::io_error, what};
        }
        default: return {errc::io_error, "the process cannot be prepared: " + why};
    }
}

}  // namespace

result<spawned_process> spawn_process(const process_options& o) {
    if (o.argv.empty() || o.argv[0].empty()) return fail(errc::invalid_argument, "a command is needed");
    for (const auto* list : {&o.argv, &o.environment})
        for (const auto& s : *list)
            if (s.find('\0') != std::string::npos) return fail(errc::invalid_argument, "an argument contains a zero byte");
    auto path = find_command(o);
    if (!path) return tl::unexpected<error>(std::move(path.error()));
    const auto out_of_fds = [] { return fail(errc::io_error, std::string("no descriptors for a process: ") + std::strerror(errno)); };

    fd_guard in, out, err, child_in, child_out, child_err;
    if (!make_pipe(in, child_in, true) || !make_pipe(out, child_out, false) || !make_pipe(err, child_err, false)) return out_of_fds();
    std::vector<std::unique_ptr<fd_guard>> copies;
    std::vector<inherited_fd> inherit;
    for (const auto& i : o.inherit) {
        if (i.child_fd < 3 || i.child_fd >= first_free_fd) return fail(errc::invalid_argument, "an inherited descriptor's number must be 3 to 255");
        auto& copy = copies.emplace_back(std::make_unique<fd_guard>());
        copy->fd = fcntl(i.parent_fd, F_DUPFD_CLOEXEC, first_free_fd);
        if (copy->fd < 0) return out_of_fds();
        inherit.push_back({copy->fd, i.child_fd});
    }
    std::vector<char*> argv, envp;
    for (const auto& s : o.argv) argv.push_back(const_cast<char*>(s.c_str()));
    for (const auto& s : o.environment) envp.push_back(const_cast<char*>(s.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);

    shim_args a{path->c_str(), argv.data(), envp.data(), o.cwd.empty() ? nullptr : o.cwd.c_str(), {child_in.fd, child_out.fd, child_err.fd},
                inherit.data(), inherit.size(), o.nofile_limit, getpid(), 0, 0};
    void* stack = mmap(nullptr, shim_stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return fail(errc::io_error, "no memory for a process");
    int pidfd = -1;
    const int pid = __clone(shim, static_cast<char*>(stack) + shim_stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &a, &pidfd);
    const int clone_error = errno;
    munmap(stack, shim_stack);
    if (pid < 0) return fail(errc::io_error, std::string("the process cannot be created: ") + std::strerror(clone_error));
    if (a.error != 0) {
        siginfo_t info{};
        waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED);
        ::close(pidfd);
        return tl::unexpected<error>(explain(a, o));
    }
    return spawned_process{pid, pidfd, in.release(), out.release(), err.release()};
}

}  // namespace holdfast::supervise::detail
