// Single-threaded by design: nothing here may block for long, and nothing here may crash.
#include "kernel/supervise/guardian.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernel/supervise/detail/process_table.hpp"

namespace holdfast::supervise {

guardian_decision::guardian_decision(const guardian_options& options, random_source& random)
    : options_(options), random_(random), window_(options.intensity) {}

guardian_decision::verdict guardian_decision::on_host_exit(int status, bool stopping, steady_time started, steady_time now) {
    using what = verdict::what;
    const bool exited = WIFEXITED(status);
    if (exited && WEXITSTATUS(status) != exit_restart_me) return {what::exit, WEXITSTATUS(status), nanoseconds(0)};
    if (stopping) return {what::exit, exited ? 0 : 128 + WTERMSIG(status), nanoseconds(0)};
    if (window_.exceeded_by(now)) return {what::give_up, exit_guardian_gave_up, nanoseconds(0)};
    backoff_.healthy(started);
    backoff_.failed(options_.backoff, now);
    return {what::restart, 0, backoff_.next(options_.backoff, random_)};
}

result<guardian_options> guardian_options_from(const std::string& text) {
    guardian_options out;
    if (text.empty()) return out;
    unsigned restarts = 0;
    double within = 0, delay = 1;
    int used = 0, used_all = 0;
    const int found = std::sscanf(text.c_str(), "%9u/%9lf%n/%9lf%n", &restarts, &within, &used, &delay, &used_all);
    const auto end = static_cast<int>(text.size());
    const bool shaped = text[0] >= '0' && text[0] <= '9' && ((found == 2 && used == end) || (found == 3 && used_all == end));
    if (!shaped || restarts > max_intensity || !(within > 0) || !(delay >= 0))
        return fail(errc::config_invalid, "expected N/SECONDS or N/SECONDS/DELAY, for example 5/60 or 100/60/0, not \"" + text + "\"");
    const auto to_time = [](double s) { return std::chrono::duration_cast<nanoseconds>(std::chrono::duration<double>(s)); };
    out.intensity = {restarts, to_time(within)};
    if (delay == 0) out.backoff = backoff_policy::none();
    else out.backoff.initial = std::min(to_time(delay), out.backoff.cap);
    if (auto ok = check_budget(out.intensity, out.backoff); !ok) return tl::unexpected<error>(ok.error());
    return out;
}

namespace {

constexpr auto insistence = std::chrono::seconds(2);

struct guard {
    const guardian_options& options;
    int signals = -1;
    pid_t host = -1;
    int stop_requests = 0;
    int interrupts = 0;  // Ctrl-C, in quick succession
    steady_time last_interrupt{};

    void log(const std::string& line) const {
        if (options.log)
            options.log(line);
        else
            std::fprintf(stderr, "guardian: %s\n", line.c_str());
    }

    bool start(int argc, char** argv) {
        std::vector<char*> args{argv[0], const_cast<char*>(host_child_flag)};
        for (int i = 1; i < argc; ++i) args.push_back(argv[i]);
        args.push_back(nullptr);
        const pid_t self = getpid();
        host = fork();  // one small thread: a fork is cheap here
        if (host < 0) return false;
        if (host == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);  // if the guardian itself is killed, the host stops in an orderly way
            if (getppid() != self) _exit(exit_restart_me);
            sigset_t none;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, nullptr);
            execv("/proc/self/exe", args.data());
            _exit(126);
        }
        return true;
    }

    /// Reaps everything that ended. waitpid(-1) is right only here: as subreaper, whatever ends below us and has lost its parent is ours.
    bool reap(int& host_status) const {
        bool host_ended = false;
        for (;;) {
            int status = 0;
            const pid_t pid = waitpid(-1, &status, WNOHANG);
            if (pid <= 0) return host_ended;
            if (pid == host) {
                host_status = status;
                host_ended = true;
            }
        }
    }

    void forward(const signalfd_siginfo& s) {
        const int sig = static_cast<int>(s.ssi_signo);
        if (sig == SIGINT && s.ssi_code == SI_KERNEL && host > 0) {
            // Typed on our terminal: the host, in the same process group, has it already and decides what it means (a chat cancels
            // an answer with it). Only insistence is for us.
            const auto now = std::chrono::steady_clock::now();
            interrupts = now - last_interrupt < insistence ? interrupts + 1 : 1;
            last_interrupt = now;
            if (interrupts >= 3) {
                ++stop_requests;
                ::kill(host, SIGKILL);
            }
            return;
        }
        if (sig == SIGTERM || sig == SIGINT) ++stop_requests;
        if (host <= 0) return;
        ::kill(host, stop_requests > 1 && (sig == SIGTERM || sig == SIGINT) ? SIGKILL : sig);
    }

    /// Waits for a signal or the timeout (-1: none); handles all pending ones. true: SIGCHLD was among them.
    bool wait(int timeout_ms) {
        pollfd p{signals, POLLIN, 0};
        if (::poll(&p, 1, timeout_ms) <= 0) return false;
        bool child = false;
        signalfd_siginfo s;
        while (::read(signals, &s, sizeof s) == static_cast<ssize_t>(sizeof s)) {
            if (s.ssi_signo == SIGCHLD)
                child = true;
            else
                forward(s);
        }
        return child;
    }

    /// Ends whatever the host left behind. Orphans become our children one generation after the other: kill, reap, look again.
    void clean_up() {
        const auto deadline = std::chrono::steady_clock::now() + options.cleanup_deadline;
        std::size_t ended = 0;
        for (;;) {
            const auto left = detail::descendants_of(detail::read_process_table(), getpid());
            bool any = false;
            for (const auto& row : left) {
                if (row.state == 'Z') continue;
                any = true;
                ++ended;
                detail::kill_if_same(row);
            }
            int ignored = 0;
            reap(ignored);
            if (!any && left.empty()) break;
            if (std::chrono::steady_clock::now() >= deadline) {
                if (any) log("some processes the host left behind could not be ended");
                break;
            }
            wait(2);
        }
        if (ended > 0) log("ended " + std::to_string(ended) + " processes the host had left behind");
    }

    /// Ctrl-C ended a host that does not handle it: that was meant.
    static bool interrupted(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGINT; }

    int run(int argc, char** argv) {
        seeded_random random(random_seed());
        guardian_decision decision(options, random);
        for (;;) {
            const auto started = std::chrono::steady_clock::now();
            if (!start(argc, argv)) {
                log(std::string("the host cannot be started: ") + std::strerror(errno));
                return exit_guardian_gave_up;
            }
            int status = 0;
            while (!reap(status)) wait(-1);
            host = -1;
            clean_up();
            const auto v = decision.on_host_exit(status, stop_requests > 0 || interrupted(status), started, std::chrono::steady_clock::now());
            if (v.action == guardian_decision::verdict::what::exit) return v.exit_code;
            const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : "exit code " + std::to_string(WEXITSTATUS(status));
            if (v.action == guardian_decision::verdict::what::give_up) {
                log("the host ended (" + how + ") too often; giving up");
                return v.exit_code;
            }
            log("the host ended (" + how + "); restarting");
            const auto again = std::chrono::steady_clock::now() + v.delay;
            while (stop_requests == 0) {
                const auto left = std::chrono::duration_cast<milliseconds>(again - std::chrono::steady_clock::now()).count();
                if (left <= 0) break;
                wait(static_cast<int>(std::min<std::int64_t>(left, 1000)));
                int ignored = 0;
                reap(ignored);
            }
            if (stop_requests > 0) return 0;
        }
    }
};

}  // namespace

int run_guarded(const guardian_options& options, int argc, char** argv, const std::function<int(int, char**)>& host_main) {
    if (argc > 1 && std::strcmp(argv[1], host_child_flag) == 0) {
        std::vector<char*> args{argv[0]};
        for (int i = 2; i < argc; ++i) args.push_back(argv[i]);
        args.push_back(nullptr);
        const char* slash = std::strrchr(argv[0], '/');
        prctl(PR_SET_NAME, slash ? slash + 1 : argv[0]);  // the kernel took it from /proc/self/exe: "exe"
        return host_main(argc - 1, args.data());
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigset_t watched;
    sigemptyset(&watched);
    for (int s : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&watched, s);
    sigprocmask(SIG_BLOCK, &watched, nullptr);
    guard g{options};
    g.signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (g.signals < 0) {
        g.log("no descriptor for signals");
        return exit_guardian_gave_up;
    }
    const int code = g.run(argc, argv);
    ::close(g.signals);
    return code;
}

}  // namespace holdfast::supervise
