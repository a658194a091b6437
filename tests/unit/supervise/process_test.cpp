// O1–O7 with real processes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "kernel/supervise/detail/line_splitter.hpp"
#include "kernel/supervise/detail/process_table.hpp"
#include "kernel/supervise/process.hpp"
#include "unit/supervise/test_gate.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

struct seen {
    std::vector<std::string> lines, errors;
    std::vector<std::size_t> oversize;
    std::optional<process_exit> exit;
    int memory_alerts = 0;
    bool alert_before_exit = false;
};

class O : public testing::Test {
  protected:
    process_options sh(std::string script) {
        process_options o;
        o.argv = {"sh", "-c", std::move(script)};
        o.environment = allowed_environment(default_environment_names());
        return o;
    }
    process_callbacks callbacks() {
        process_callbacks c;
        c.on_line = [this](std::string_view l) { s.change([&](seen& v) { v.lines.emplace_back(l); }); };
        c.on_stderr = [this](std::string_view l) { s.change([&](seen& v) { v.errors.emplace_back(l); }); };
        c.on_oversize = [this](std::size_t n) { s.change([&](seen& v) { v.oversize.push_back(n); }); };
        c.on_memory_limit = [this](const process_usage&) {
            s.change([](seen& v) {
                ++v.memory_alerts;
                v.alert_before_exit = !v.exit;
            });
        };
        c.on_exit = [this](const process_exit& e) { s.change([&](seen& v) { v.exit = e; }); };
        return c;
    }
    std::shared_ptr<process> start(process_options o) {
        auto p = spawner.spawn(std::move(o), callbacks());
        EXPECT_TRUE(p) << p.error().message;
        return p ? *p : nullptr;
    }
    process_exit ended() {
        EXPECT_TRUE(s.wait([](seen& v) { return v.exit.has_value(); }));
        return s.get().exit.value_or(process_exit{});
    }
    bool line(const std::string& text) {
        return s.wait([&](seen& v) { return std::find(v.lines.begin(), v.lines.end(), text) != v.lines.end(); });
    }
    /// Waits until a process is gone (or a zombie of somebody else), without sleeping on a guess.
    static bool gone(pid_t pid) {
        for (const auto end = std::chrono::steady_clock::now() + seconds(20); std::chrono::steady_clock::now() < end; std::this_thread::yield()) {
            std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
            std::string all((std::istreambuf_iterator<char>(stat)), {});
            const auto close = all.rfind(')');
            if (close == std::string::npos || all.substr(close + 2, 1) == "Z") return true;
        }
        return false;
    }

    observed<seen> s;
    pool_runtime rt;
    process_spawner spawner{rt};
};

using O1 = O;
using O2 = O;
using O3 = O;
using O4 = O;
using O5 = O;
using O6 = O;
using O7 = O;

}  // namespace

TEST_F(O1, exec_failures_are_reported_synchronously_with_their_reason) {
    const auto code = [&](std::vector<std::string> argv, std::string cwd = {}) {
        process_options o;
        o.argv = std::move(argv);
        o.cwd = std::move(cwd);
        auto r = spawner.spawn(std::move(o), {});
        EXPECT_FALSE(r);
        return r ? errc::internal : r.error().code;
    };
    EXPECT_EQ(code({"no-such-command-holdfast"}), errc::command_not_found);
    EXPECT_EQ(code({"/no/such/file"}), errc::command_not_found);
    const std::string plain = "/tmp/holdfast-plain-" + std::to_string(getpid());
    std::ofstream(plain) << "not executable";
    EXPECT_EQ(code({plain}), errc::forbidden);
    ASSERT_EQ(chmod(plain.c_str(), 0755), 0);
    EXPECT_EQ(code({plain}), errc::invalid_argument);  // executable, but no program
    std::filesystem::remove(plain);
    EXPECT_EQ(code({"/tmp"}), errc::forbidden);
    EXPECT_EQ(code({"true"}, "/no/such/directory"), errc::invalid_argument);
    EXPECT_EQ(code({}), errc::invalid_argument);
    EXPECT_EQ(code({"echo", std::string("a\0b", 3)}), errc::invalid_argument);
    EXPECT_EQ(spawner.running(), 0u);
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);  // no zombie either
}

TEST_F(O1, the_child_gets_a_clean_world) {
    ::setenv("HOLDFAST_TEST_SECRET", "leak", 1);
    const int leak = open("/dev/null", O_RDONLY);  // not close-on-exec, on purpose
    auto o = sh("echo env:$HOLDFAST_TEST_SECRET:$EXTRA; ls /proc/self/fd | tr '\\n' ' '; echo; grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status; "
                "ulimit -c; ulimit -n; pwd; ps -o pgid=,sid= -p $$ | tr -s ' '; echo $$");
    o.environment.push_back("EXTRA=given");
    o.cwd = "/";
    o.nofile_limit = 512;
    auto p = start(std::move(o));
    const auto e = ended();
    EXPECT_EQ(e.reason.kind, exit_kind::normal);
    const auto l = s.get().lines;
    ASSERT_GE(l.size(), 10u);
    EXPECT_EQ(l[0], "env::given");
    EXPECT_EQ(l[1], "0 1 2 3 ");  // 3 is ls's own
    const std::set<std::string> status(l.begin() + 2, l.begin() + 5);
    EXPECT_EQ(status, (std::set<std::string>{"NoNewPrivs:\t1", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"}));
    EXPECT_EQ(l[5], "0");
    EXPECT_EQ(l[6], "512");
    EXPECT_EQ(l[7], "/");
    const auto pid = std::to_string(p->pid());
    EXPECT_NE(l[8].find(pid + " " + pid), std::string::npos) << l[8];
    EXPECT_EQ(l[9], pid);
    close(leak);
    ::unsetenv("HOLDFAST_TEST_SECRET");
}

/// A program whose exec does not return while this lives: the kernel first asks us for our lease on its file.
struct slow_program {
    slow_program() {
        ::signal(SIGIO, SIG_IGN);  // the asking
        std::ofstream(path) << "#!/bin/sh\necho ran\nexec sleep 1000\n";
        EXPECT_EQ(chmod(path.c_str(), 0755), 0);
        fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        held = fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
    }
    ~slow_program() {
        go_on();
        std::filesystem::remove(path);
    }
    void go_on() {
        if (fd < 0) return;
        fcntl(fd, F_SETLEASE, F_UNLCK);  // closing is not enough: the child has a copy of the descriptor until its exec
        ::close(std::exchange(fd, -1));
    }
    const std::string path = "/tmp/holdfast-slow-" + std::to_string(getpid());
    int fd = -1;
    bool held = false;
};

TEST_F(O1, a_process_that_nobody_waits_for_any_more_is_ended_and_tells_nobody) {
    slow_program slow;
    if (!slow.held) GTEST_SKIP() << "no leases on files of /tmp";
    process_options late, queued = sh("echo ran; exec sleep 1000");
    late.argv = {slow.path};
    late.environment = queued.environment;
    for (auto* o : {&late, &queued}) {  // one in its exec, one behind it
        const auto r = spawner.spawn(std::move(*o), callbacks(), milliseconds(50));
        ASSERT_FALSE(r);
        EXPECT_EQ(r.error().code, errc::timeout) << r.error().message;
    }
    slow.go_on();
    ASSERT_TRUE(spawner.spawn(sh("exit 0"), {}));  // its turn comes after theirs
    const auto end = std::chrono::steady_clock::now() + seconds(5);
    while (spawner.running() > 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(spawner.running(), 0u);
    EXPECT_TRUE(s.get().lines.empty());
    EXPECT_FALSE(s.get().exit);
}

TEST_F(O1, descriptors_can_be_handed_over_by_number) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    auto o = sh("echo over >&7");
    o.inherit = {{pair[1], 7}};
    auto p = start(std::move(o));
    ended();
    char buf[16] = {};
    EXPECT_EQ(read(pair[0], buf, sizeof buf), 5);
    EXPECT_STREQ(buf, "over\n");
    close(pair[0]);
    close(pair[1]);
}

TEST_F(O2, exit_code_and_signal_are_told_apart_and_all_output_comes_first) {
    start(sh("printf 'one\\ntwo'; echo bad >&2; exit 3"));
    const auto e = ended();
    EXPECT_EQ(e.reason, (exit_reason{exit_kind::exit_code, 3, {}}));
    EXPECT_TRUE(e.drained);
    EXPECT_FALSE(e.intentional);
    EXPECT_EQ(s.get().lines, (std::vector<std::string>{"one", "two"}));
    EXPECT_EQ(s.get().errors, (std::vector<std::string>{"bad"}));
    EXPECT_EQ(e.stderr_tail, "bad\n");
    s.change([](seen& v) { v = {}; });
    start(sh("kill -SEGV $$"));
    EXPECT_EQ(ended().reason.kind, exit_kind::signal);
    EXPECT_EQ(ended().reason.code, SIGSEGV);
}

TEST_F(O2, a_grandchild_that_holds_the_pipe_does_not_delay_the_exit) {
    auto o = sh("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.1; echo done");
    o.drain_timeout = milliseconds(100);
    start(std::move(o));
    const auto e = ended();
    EXPECT_EQ(e.reason.kind, exit_kind::normal);
    EXPECT_FALSE(e.drained);
    ASSERT_EQ(s.get().lines.size(), 2u);
    ::kill(std::stoi(s.get().lines[0]), SIGKILL);  // it left the session: only the guardian may end it
}

TEST_F(O2, one_that_goes_on_writing_into_the_pipe_does_not_delay_the_exit) {
    auto o = sh("echo up; read x; echo last; exit 3");
    o.drain_timeout = milliseconds(100);
    std::atomic<int> pipe{-1};  // we are the one: a line for each that is read
    auto c = callbacks();
    c.on_line = [&, note = c.on_line](std::string_view l) {
        if (l == "up") note(l);
        else if (pipe >= 0) EXPECT_EQ(::write(pipe, "more\n", 5), 5);
    };
    auto p = spawner.spawn(std::move(o), std::move(c));
    ASSERT_TRUE(p && line("up"));
    pipe = open(("/proc/" + std::to_string((*p)->pid()) + "/fd/1").c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(pipe, 0);
    ASSERT_TRUE((*p)->write("\n"));
    const auto e = ended();
    EXPECT_EQ(e.reason.code, 3);
    EXPECT_FALSE(e.drained);
    ::close(pipe.exchange(-1));
}

TEST_F(O2, children_of_others_are_never_reaped) {
    const pid_t mine = fork();
    if (mine == 0) _exit(9);
    start(sh("exit 0"));
    ended();
    int status = 0;
    EXPECT_EQ(waitpid(mine, &status, 0), mine);
    EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST_F(O3, echo_through_cat_keeps_order_and_backpressure) {
    process_options o;
    o.argv = {"cat"};
    o.environment = allowed_environment(default_environment_names());
    o.stdin_high_water = 256 << 10;
    auto p = start(std::move(o));
    constexpr int n = 20'000;
    const std::string pad(100, 'x');
    for (int i = 0; i < n; ++i)
        for (;;) {
            auto r = p->write(std::to_string(i) + pad + "\n");
            if (r) break;
            ASSERT_EQ(r.error().code, errc::overloaded);
            std::this_thread::yield();
        }
    p->close_stdin();
    EXPECT_EQ(ended().reason.kind, exit_kind::normal);
    const auto l = s.get().lines;
    ASSERT_EQ(l.size(), static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) ASSERT_EQ(l[i], std::to_string(i) + pad);
    EXPECT_EQ(p->write("late").error().code, errc::transport_lost);
}

TEST_F(O3, a_process_that_does_not_read_makes_writes_overloaded_not_stuck) {
    auto o = sh("exec sleep 1000");
    o.stdin_high_water = 100'000;
    auto p = start(std::move(o));
    errc code{};
    for (int i = 0; i < 1000 && code == errc{}; ++i)
        if (auto r = p->write(std::string(10'000, 'x')); !r) code = r.error().code;
    EXPECT_EQ(code, errc::overloaded);
    p->kill();
    EXPECT_EQ(ended().reason.kind, exit_kind::killed);
}

TEST_F(O3, stderr_is_always_drained_and_keeps_only_the_newest) {  // mcp-go#956
    auto o = sh("i=0; while [ $i -lt 20000 ]; do echo \"noise $i ................................................\" >&2; i=$((i+1)); done; echo finished");
    o.stderr_ring = 4096;
    start(std::move(o));
    ASSERT_TRUE(line("finished"));
    const auto e = ended();
    EXPECT_LE(e.stderr_tail.size(), 4096u);
    EXPECT_NE(e.stderr_tail.find("noise 19999"), std::string::npos);
    EXPECT_EQ(s.get().errors.size(), 20000u);
}

TEST_F(O3, a_line_over_the_cap_is_dropped_and_told_and_the_next_one_arrives) {
    auto o = sh("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after");
    start(std::move(o));
    EXPECT_TRUE(line("after"));
    ended();
    EXPECT_EQ(s.get().oversize, (std::vector<std::size_t>{10'000'000}));
    EXPECT_EQ(s.get().lines, (std::vector<std::string>{"after"}));
}

TEST_F(O3, writing_to_a_process_that_closed_its_stdin_is_an_error_not_a_signal) {
    auto p = start(sh("exec 0<&-; echo closed; exec sleep 1000"));
    ASSERT_TRUE(line("closed"));
    EXPECT_EQ(p->write("x\n").error().code, errc::transport_lost);
    p->kill();
    ended();
}

TEST_F(O3, lines_are_the_same_however_the_bytes_arrive) {
    const std::string text = "a\n\nbb\nccc\n" + std::string(50, 'd') + "\nlast";
    for (std::size_t step = 1; step < text.size(); ++step) {
        detail::line_splitter split(10, detail::line_splitter::when_long::drop);
        std::string got;
        const auto on_line = [&](std::string_view l) { got += std::string(l) + "|"; };
        const auto on_long = [&](std::size_t n) { got += "<" + std::to_string(n) + ">|"; };
        for (std::size_t i = 0; i < text.size(); i += step) split.feed(std::string_view(text).substr(i, step), on_line, on_long);
        split.finish(on_line, on_long);
        ASSERT_EQ(got, "a||bb|ccc|<50>|last|") << step;
    }
}

TEST_F(O4, the_ladder_closes_stdin_first) {
    auto p = start(sh("trap 'echo TERM' TERM; cat; echo eof"));
    p->stop();
    const auto e = ended();
    EXPECT_EQ(e.reason.kind, exit_kind::shutdown);
    EXPECT_EQ(s.get().lines, (std::vector<std::string>{"eof"}));
}

TEST_F(O4, then_sigterm_then_sigkill_to_the_whole_tree) {
    auto o = sh("trap 'echo TERM' TERM; sh -c 'trap \"\" TERM; echo child:$$; while :; do sleep 1000; done' & echo ready; while :; do wait; done");
    o.stop = {milliseconds(20), milliseconds(100)};
    auto p = start(std::move(o));
    ASSERT_TRUE(line("ready"));
    ASSERT_TRUE(s.wait([](seen& v) { return std::any_of(v.lines.begin(), v.lines.end(), [](auto& l) { return l.rfind("child:", 0) == 0; }); }));
    p->stop();
    const auto e = ended();
    EXPECT_EQ(e.reason.kind, exit_kind::killed);
    const auto l = s.get().lines;
    EXPECT_NE(std::find(l.begin(), l.end(), "TERM"), l.end());
    for (const auto& x : l) {
        if (x.rfind("child:", 0) == 0) { EXPECT_TRUE(gone(std::stoi(x.substr(6)))); }
    }
    EXPECT_TRUE(gone(static_cast<pid_t>(p->pid())));
}

TEST_F(O4, a_stop_also_ends_descendants_that_left_the_session) {
    auto p = start(sh("setsid sh -c 'echo out:$$; exec sleep 1000' & cat"));
    ASSERT_TRUE(s.wait([](seen& v) { return !v.lines.empty(); }));
    p->stop();
    ended();
    EXPECT_TRUE(gone(std::stoi(s.get().lines[0].substr(4))));
}

TEST_F(O4, what_a_crashed_leader_leaves_in_its_session_is_ended) {  // typescript-sdk#2023
    start(sh("sleep 1000 & echo $!; kill -KILL $$"));
    EXPECT_EQ(ended().reason.kind, exit_kind::signal);
    ASSERT_EQ(s.get().lines.size(), 1u);
    EXPECT_TRUE(gone(std::stoi(s.get().lines[0])));
}

TEST_F(O4, a_crashed_leader_takes_those_with_it_that_left_the_session) {  // as the browsers of Puppeteer and Playwright do
    auto o = sh("setsid sleep 1000 & echo $!; cat");
    o.sample_interval = milliseconds(2);
    auto p = start(std::move(o));
    ASSERT_TRUE(s.wait([](seen& v) { return !v.lines.empty(); }));
    const pid_t left = std::stoi(s.get().lines[0]);
    const auto end = std::chrono::steady_clock::now() + seconds(20);
    while (::getsid(left) != left && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    const auto before = spawner.readings();  // the second after this began after this, and has been looked at when the third is made
    while (spawner.readings() < before + 3 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    ::kill(static_cast<pid_t>(p->pid()), SIGKILL);
    EXPECT_EQ(ended().reason.kind, exit_kind::signal);
    const bool is_gone = gone(left);
    EXPECT_TRUE(is_gone);
    if (!is_gone) ::kill(left, SIGKILL);
}

TEST_F(O5, processes_survive_the_thread_that_asked_for_them_and_end_with_the_spawner) {
    std::int64_t pid = 0;
    {
        process_spawner own(rt);
        std::thread asker([&] {
            process_options o;
            o.argv = {"sleep", "1000"};
            o.environment = allowed_environment(default_environment_names());
            auto p = own.spawn(std::move(o), {});
            ASSERT_TRUE(p);
            pid = (*p)->pid();
        });
        asker.join();
        EXPECT_EQ(::kill(static_cast<pid_t>(pid), 0), 0);  // the asking thread's death sent no parent-death signal
    }
    EXPECT_TRUE(gone(static_cast<pid_t>(pid)));
}

TEST_F(O6, over_the_memory_limit_the_reason_comes_before_the_exit) {
    auto o = sh("x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo big; exec sleep 1000 <<< \"$x\"");
    o.argv[0] = "bash";
    o.memory_limit_bytes = 30u << 20;
    o.sample_interval = milliseconds(20);
    start(std::move(o));
    const auto e = ended();
    EXPECT_EQ(e.reason.kind, exit_kind::memory_limit);
    EXPECT_EQ(s.get().memory_alerts, 1);
    EXPECT_TRUE(s.get().alert_before_exit);
}

TEST_F(O6, what_left_the_session_counts_against_the_memory_limit_and_ends_with_it) {
    auto o = sh("setsid bash -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); exec sleep 1000 <<< \"$x\"' & echo $!; read y");
    o.memory_limit_bytes = 30u << 20;
    o.sample_interval = milliseconds(20);
    start(std::move(o));
    EXPECT_EQ(ended().reason.kind, exit_kind::memory_limit);
    EXPECT_TRUE(gone(std::stoi(s.get().lines.at(0))));
}

TEST_F(O6, over_the_cpu_limit_for_a_while_it_is_ended_and_the_reason_says_so) {
    auto o = sh("while :; do :; done");
    o.cpu_limit_percent = 1;
    o.cpu_window = milliseconds(200);
    o.sample_interval = milliseconds(20);
    start(std::move(o));
    EXPECT_EQ(ended().reason.kind, exit_kind::cpu_limit);
}

TEST_F(O6, one_that_idles_stays_below_the_cpu_limit) {
    auto o = sh("echo up; sleep 0.3; echo idle; read x");
    o.cpu_limit_percent = 90;
    o.cpu_window = milliseconds(100);
    o.sample_interval = milliseconds(20);
    auto p = start(std::move(o));
    ASSERT_TRUE(line("idle"));
    p->close_stdin();
    EXPECT_NE(ended().reason.kind, exit_kind::cpu_limit);
}

TEST_F(O6, usage_is_readable) {
    auto p = start(sh("echo up; cat"));
    ASSERT_TRUE(line("up"));
    const auto u = p->usage();
    EXPECT_EQ(u.pid, p->pid());
    EXPECT_GT(u.rss_bytes, 100'000u);
    EXPECT_GE(u.processes, 1u);
    EXPECT_GE(u.descriptors, 3u);
    EXPECT_EQ(spawner.usage().size(), 1u);
    p->stop();
    ended();
}

TEST_F(O6, sockets_are_told_from_other_descriptors) {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    auto o = sh("echo up; read x; exec 7>&- 8>&-; echo closed; cat");
    o.inherit = {{pair[0], 7}, {pair[1], 8}};
    auto p = start(std::move(o));
    ASSERT_TRUE(line("up"));
    const auto open = p->usage();
    ASSERT_TRUE(p->write("go\n"));
    ASSERT_TRUE(line("closed"));
    const auto closed = p->usage();
    EXPECT_EQ(open.sockets, closed.sockets + 2);
    EXPECT_EQ(open.descriptors, closed.descriptors + 2);
    p->stop();
    ended();
    close(pair[0]);
    close(pair[1]);
}

TEST_F(O6, usage_of_many_is_read_once) {
    std::vector<std::shared_ptr<process>> all;
    for (int i = 0; i < 20; ++i) {
        auto o = sh("cat");
        o.sample_interval = seconds(3600);
        all.push_back(start(std::move(o)));
    }
    const auto before = spawner.readings();
    for (const auto& p : all) EXPECT_GE(p->usage().processes, 1u);
    EXPECT_LE(spawner.readings() - before, 2u) << "one, and one more if it took long";
    for (const auto& p : all) p->kill();
    const auto end = std::chrono::steady_clock::now() + seconds(20);
    while (spawner.running() > 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
}

TEST_F(O7, an_intentional_stop_is_no_failure_and_a_supervisor_does_not_respawn) {
    supervisor_options opts;
    observed<std::vector<supervision_report>> reports;
    opts.reports = [&](const supervision_report& r) { reports.change([&](auto& v) { v.push_back(r); }); };
    opts.rules.backoff = backoff_policy::none();
    auto options = sh("echo up; cat");
    observed<std::shared_ptr<process>> current;
    std::vector<child_spec> children;
    children.push_back(process_child("p", spawner, std::move(options), callbacks(), [&](std::shared_ptr<process> p) { current.change([&](auto& c) { c = std::move(p); }); }));
    auto sup = supervisor::start(rt, "root", std::move(opts), std::move(children));
    ASSERT_TRUE(line("up"));
    const auto first = current.get()->pid();
    ::kill(static_cast<pid_t>(first), SIGKILL);  // a crash: replaced
    ASSERT_TRUE(current.wait([&](auto& c) { return c->pid() != first; }));
    ASSERT_TRUE(s.wait([](seen& v) { return v.lines.size() == 2; }));
    auto tree = sup->tree()["children"][0];
    EXPECT_EQ(tree["restarts"], 1);
    EXPECT_EQ(tree["kind"], "process");
    EXPECT_EQ(tree["last_exit"]["kind"], "signal");
    EXPECT_GT(tree["memory_bytes"], 0);
    ASSERT_TRUE(await<void>(seconds(20), [&](auto done) { sup->terminate_child("p", std::move(done)); }));
    EXPECT_EQ(sup->which_children()[0].state, child_state::stopped);
    EXPECT_EQ(sup->which_children()[0].last_exit->kind, exit_kind::shutdown);
    EXPECT_TRUE(gone(static_cast<pid_t>(current.get()->pid())));
    EXPECT_TRUE(sup->stop_and_wait(seconds(20)));
    const auto all = reports.get();
    EXPECT_EQ(std::count_if(all.begin(), all.end(), [](auto& r) { return r.kind == report_kind::progress; }), 2);
}

TEST_F(O7, a_command_that_does_not_exist_is_a_start_error_with_its_code) {
    process_options o;
    o.argv = {"no-such-command-holdfast"};
    auto sup = supervisor::start(rt, "root", {}, {});
    auto r = await<child_ref>(seconds(20), [&](auto done) { sup->start_child(process_child("p", spawner, o), std::move(done)); });
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::command_not_found);
    EXPECT_TRUE(sup->stop_and_wait(seconds(20)));
}

TEST_F(O, a_throwing_callback_ends_the_process_with_that_reason) {  // T1
    auto c = callbacks();
    c.on_line = [](std::string_view) { throw std::runtime_error("boom"); };
    auto p = spawner.spawn(sh("echo x; exec sleep 1000"), std::move(c));
    ASSERT_TRUE(p);
    EXPECT_EQ(ended().reason, (exit_reason{exit_kind::error, 0, "boom"}));
}

TEST_F(O, nothing_leaks_over_many_spawns) {
    const auto count = [] { return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {}); };
    const auto before = count();
    for (int i = 0; i < 50; ++i) {
        s.change([](seen& v) { v = {}; });
        start(sh("exit 0"));
        ended();
    }
    const auto end = std::chrono::steady_clock::now() + seconds(20);
    while ((spawner.running() > 0 || count() != before) && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(spawner.running(), 0u);
    EXPECT_EQ(count(), before);
}

// ---- the table of processes

#if defined(__has_feature)
constexpr bool pointers_are_watched = __has_feature(address_sanitizer);
#else
constexpr bool pointers_are_watched = false;
#endif

/// While it lives nothing can be opened.
struct out_of_descriptors {
    out_of_descriptors() {
        EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
        const rlimit none{0, before.rlim_max};
        EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    }
    ~out_of_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
    rlimit before{};
};

struct census_test : testing::Test {
    manual_runtime rt;
    std::shared_ptr<detail::census> census = std::make_shared<detail::census>(rt);
    detail::census::table got;

    void SetUp() override {
        if (pointers_are_watched) GTEST_SKIP() << "whoever watches pointers needs descriptors to look at one";
    }
    void ask() {
        census->ask([this](const detail::census::table& now) { got = now; });
        rt.run_until_idle();
    }
    bool has_us() const {
        return got && std::any_of(got->rows().begin(), got->rows().end(), [](const auto& row) { return row.pid == ::getpid(); });
    }
};

TEST_F(census_test, is_taken_again_when_the_host_was_out_of_descriptors) {
    {
        const out_of_descriptors now;
        ask();
        rt.advance(detail::census::attempt_period);
        EXPECT_FALSE(got);
    }
    rt.advance(detail::census::attempt_period);
    EXPECT_TRUE(has_us());
}

TEST_F(census_test, ends_the_wait_when_there_are_no_descriptors_for_long_and_goes_on_after_that) {
    {
        const out_of_descriptors now;
        ask();
        rt.advance(detail::census::attempt_period * detail::census::max_attempts);
        ASSERT_TRUE(got);
        EXPECT_TRUE(got->rows().empty());
    }
    ask();
    EXPECT_TRUE(has_us());
}
