// Single-threaded by design: nothing here may block for long, and nothing here may crash.
#include "kernel/supervise/guardian.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "kernel/supervise/detail/process_table.hpp"
#include "kernel/supervise/guardian_link.hpp"
#include "kernel/supervise/host_watch.hpp"
#include "kernel/supervise/service_manager.hpp"

namespace holdfast::supervise {

guardian_decision::guardian_decision(const guardian_options& options, random_source& random)
    : options_(options), random_(random), window_(options.intensity) {}

guardian_decision::verdict guardian_decision::on_host_exit(int status, bool stopping, bool serving, steady_time started, steady_time now) {
    using what = verdict::what;
    const bool exited = WIFEXITED(status);
    if (exited && WEXITSTATUS(status) != exit_restart_me && (stopping || !serving)) return {what::exit, WEXITSTATUS(status), nanoseconds(0)};
    const int signal = exited ? 0 : WTERMSIG(status);
    // Told to stop before it had come so far as to handle that, it ends by the signal itself: there was nothing to stop.
    if (stopping) return {what::exit, exited || signal == SIGTERM || signal == SIGINT ? 0 : 128 + signal, nanoseconds(0)};
    if (signal == SIGINT) return {what::exit, 128 + SIGINT, nanoseconds(0)};  // Ctrl-C ended a host that does not handle it: that was meant
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

/// One line, as a status has to be.
std::string in_one_line(std::string_view text) {
    std::string out(text);
    std::replace_if(out.begin(), out.end(), [](char c) { return c == '\n' || c == '\0'; }, ' ');
    return out;
}

/// The first thread of the host's pool; 0: not found. A host that does not answer is stuck there: its trace and its marks of the plugin
/// that is at work are of that thread, and the main thread knows nothing.
pid_t pool_thread_of(pid_t host) {
    const std::string tasks = "/proc/" + std::to_string(host) + "/task";
    std::error_code ec;
    for (const auto& t : std::filesystem::directory_iterator(tasks, ec)) {
        std::ifstream in(t.path() / "comm");
        if (std::string name; std::getline(in, name) && name == host_pool_thread) return static_cast<pid_t>(std::atoi(t.path().filename().c_str()));
    }
    return 0;
}

struct guard {
    const guardian_options& options;
    service_manager manager;
    host_watch watch{manager.watchdog()};
    int signals = -1;
    int link = -1;  // to the host, while there is one
    pid_t host = -1;
    bool told_stopping = false;
    std::string ended;     // how the host before ended, see guardian_link::ended_before
    bool serving = false;  // the host that runs has said so, and not that it stops
    int stop_requests = 0;
    milliseconds patience{0};
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
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return false;
        const pid_t self = getpid();
        host = fork();  // one small thread: a fork is cheap here
        if (host != 0) ::close(ends[1]);
        if (host < 0) return ::close(ends[0]), false;
        link = ends[0];
        if (host == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);  // if the guardian itself is killed, the host stops in an orderly way
            if (getppid() != self) _exit(exit_restart_me);
            sigset_t none;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, nullptr);
            fcntl(ends[1], F_SETFD, 0);
            if (!ended.empty()) setenv(ended_before_variable, ended.c_str(), 1);
            setenv(guardian_link_variable, std::to_string(ends[1]).c_str(), 1);
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
        if (sig == SIGTERM || sig == SIGINT) {
            ++stop_requests;
            say_stopping();
        }
        if (host <= 0) return;
        ::kill(host, stop_requests > 1 && (sig == SIGTERM || sig == SIGINT) ? SIGKILL : sig);
    }

    void say_stopping() {
        watch.stopping();
        serving = false;
        if (!std::exchange(told_stopping, true)) manager.tell("STOPPING=1\nSTATUS=stopping");
    }

    void on_host_says(std::string_view line) {
        const auto word = line.substr(0, line.find(' '));
        const auto rest = word.size() < line.size() ? line.substr(word.size() + 1) : std::string_view{};
        if (word == "here") {
            if (watch.answered()) manager.tell("WATCHDOG=1");
        } else if (word == "ready") {
            serving = true;
            manager.tell("READY=1\nMAINPID=" + std::to_string(getpid()) + "\nSTATUS=" + in_one_line(rest));
        } else if (word == "reloading") {
            timespec now{};
            clock_gettime(CLOCK_MONOTONIC, &now);
            manager.tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.tv_sec * 1'000'000 + now.tv_nsec / 1'000) + "\nSTATUS=reading the configuration again");
        } else if (word == "stopping") {
            say_stopping();
        } else if (word == "patience") {
            patience = milliseconds(std::max(0L, std::strtol(std::string(rest).c_str(), nullptr, 10)));
            watch.patience(patience, std::chrono::steady_clock::now());
        }
    }

    /// Everything the host has said.
    void hear() {
        char line[max_link_message];
        while (link >= 0) {
            const ssize_t n = ::recv(link, line, sizeof line, MSG_DONTWAIT);
            if (n > 0) on_host_says({line, static_cast<std::size_t>(n)});
            else if (n < 0 && errno == EINTR) continue;
            else if (n < 0 && errno == EAGAIN) return;
            else close_link();
        }
    }
    void close_link() {
        if (link >= 0) ::close(std::exchange(link, -1));
    }

    /// Does what the watch over the host finds due. How long until it wants to look again, ms; -1: until something happens.
    int look_after_host() {
        for (;;) {
            const auto suspended = [&] {
                detail::process_row row{};
                return detail::read_process(host, row) && (row.state == 'T' || row.state == 't');
            };
            const auto now = std::chrono::steady_clock::now();
            switch (watch.look(now, suspended)) {
                case host_watch::act::ask:
                    detail::send_line(link, "there?");
                    continue;
                case host_watch::act::beat: manager.tell("WATCHDOG=1"); continue;
                case host_watch::act::abort_it: {
                    const std::string why = "the host has not answered for " + std::to_string(patience.count()) + " ms; ending it";
                    log(why);
                    manager.tell("STATUS=" + why);
                    if (const pid_t thread = pool_thread_of(host); thread == 0 || ::tgkill(host, thread, SIGABRT) != 0) ::kill(host, SIGABRT);
                    continue;
                }
                case host_watch::act::kill_it: ::kill(host, SIGKILL); continue;
                case host_watch::act::nothing: break;
            }
            const auto next = watch.next();
            if (next == steady_time::max()) return -1;
            return static_cast<int>(std::clamp<std::int64_t>(std::chrono::ceil<milliseconds>(next - now).count(), 0, 60'000));
        }
    }

    /// Waits for a signal, a word of the host or the timeout (-1: none); handles all there are.
    void wait(int timeout_ms) {
        pollfd p[2] = {{signals, POLLIN, 0}, {link, POLLIN, 0}};
        if (::poll(p, 2, timeout_ms) <= 0) return;
        hear();
        signalfd_siginfo s;
        while (::read(signals, &s, sizeof s) == static_cast<ssize_t>(sizeof s))
            if (s.ssi_signo != SIGCHLD) forward(s);
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

    int run(int argc, char** argv) {
        seeded_random random(random_seed());
        guardian_decision decision(options, random);
        for (;;) {
            const auto started = std::chrono::steady_clock::now();
            if (!start(argc, argv)) {
                log(std::string("the host cannot be started: ") + std::strerror(errno));
                return exit_guardian_gave_up;
            }
            watch.host_started(started);
            serving = false;
            int status = 0;
            while (!reap(status)) wait(look_after_host());
            host = -1;
            hear();  // its last words
            close_link();
            clean_up();
            ended = serving && WIFEXITED(status) && WEXITSTATUS(status) != exit_restart_me ? "_exit(" + std::to_string(WEXITSTATUS(status)) + ")" : "";
            const auto v = decision.on_host_exit(status, stop_requests > 0, serving, started, std::chrono::steady_clock::now());
            if (v.action == guardian_decision::verdict::what::exit) return v.exit_code;
            const std::string how = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status)) : "exit code " + std::to_string(WEXITSTATUS(status));
            if (v.action == guardian_decision::verdict::what::give_up) {
                log("the host ended (" + how + ") too often; giving up");
                manager.tell("STATUS=the host ended (" + how + ") too often; gave up");
                return v.exit_code;
            }
            log("the host ended (" + how + "); restarting");
            manager.tell("STATUS=restarting: the host ended (" + how + ")");
            watch.host_ended(std::chrono::steady_clock::now());
            const auto again = std::chrono::steady_clock::now() + v.delay;
            while (stop_requests == 0) {
                const auto left = std::chrono::ceil<milliseconds>(again - std::chrono::steady_clock::now()).count();
                if (left <= 0) break;
                const int watched = look_after_host();
                wait(static_cast<int>(std::min<std::int64_t>(left, watched < 0 ? 1000 : watched)));
                int ignored = 0;
                reap(ignored);
            }
            if (stop_requests > 0) return 0;
        }
    }
};

}  // namespace

int run_guarded(const guardian_options& options, int argc, char** argv, const std::function<int(int, char**)>& host_main) {
    auto manager = service_manager::from_environment();
    if (argc > 1 && std::strcmp(argv[1], host_child_flag) == 0) {
        detail::adopt_guardian_link();
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
    guard g{options, manager ? std::move(*manager) : service_manager()};
    if (!manager) g.log(manager.error().message);
    g.manager.tell("STATUS=starting");
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
