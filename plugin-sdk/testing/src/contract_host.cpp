// What every plugin owes the host it runs in and the process it shares: threads, files, memory, output, hosts of other ages.
// With instances in processes of their own, what is counted here is what the host's side leaves behind; the threads that a plugin
// starts itself are counted there.
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <clocale>
#include <filesystem>
#include <fstream>
#include <thread>

#include "contract_suite.hpp"

extern char** environ;

namespace holdfast::testing::contract {
namespace {

constexpr const char* host_interfaces[] = {"hf.metrics/1", "hf.log/1",    "hf.events/1", "hf.api/1",
                                           "hf.process/1", "hf.worker/1", "hf.timer/1",  "hf.config/1", "hf.listen/1"};

std::size_t entries(const char* dir) {
    std::size_t n = 0;
    if (DIR* d = ::opendir(dir)) {
        while (::readdir(d)) ++n;
        ::closedir(d);
    }
    return n;
}
std::size_t threads() { return entries("/proc/self/task"); }
std::size_t files() { return entries("/proc/self/fd"); }
// Threads end a moment after they were joined by nobody: look until the deadline.
bool falls_to(std::size_t (*count)(), std::size_t limit) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    while (count() > limit) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}
/// Of any thread: the one that starts them need not be ours.
std::size_t children() {
    std::size_t n = 0;
    std::error_code ended;  // a thread that ends meanwhile has no children any more
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ended)) {
        std::ifstream in(task.path() / "children");
        n += static_cast<std::size_t>(std::distance(std::istream_iterator<std::string>(in), {}));
    }
    return n;
}

/// One life as far as it goes here. False: a failure is noted.
bool live(bench& b, fake_host_options o) {
    auto p = b.make("life", std::move(o));
    auto s = p->create();
    if (s.ok()) s = p->init();
    if (s.ok() && b.at().starts) s = p->start();
    EXPECT_TRUE(s.ok()) << s.code << " " << s.message;
    const auto end = p->down();
    EXPECT_TRUE(end.ok()) << end.message;
    return s.ok() && end.ok();
}
bool live(bench& b) { return live(b, b.options()); }

void many_lives_leave_no_threads(bench& b) {
    ASSERT_TRUE(live(b));  // warm: libraries start what they keep
    const std::size_t before = threads();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(live(b));
    EXPECT_TRUE(falls_to(&threads, before)) << "threads were left behind: " << threads() << " > " << before;
    EXPECT_EQ(b.file().own_threads().value_or(0), 0u) << "threads were left behind when their instance ended";
}
void many_lives_leave_no_open_files(bench& b) {
    ASSERT_TRUE(live(b));
    const std::size_t before = files();
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(live(b));
    EXPECT_TRUE(falls_to(&files, before)) << "open files were left behind: " << files() << " > " << before;
}
void many_lives_leave_no_processes(bench& b) {
    const std::size_t before = children();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(live(b));
    EXPECT_TRUE(falls_to(&children, before)) << "child processes were left behind";
}
void many_lives_do_not_grow(bench& b) {
    // Caches fill in steps: only growth that never ends is a leak. What other threads free a moment later is not counted by taking
    // the least of each round.
    constexpr int rounds = 8, lives = 10;
    constexpr std::size_t least = 256;  // bytes in each life
    std::size_t last = 0;
    for (int r = 0; r <= rounds; ++r) {
        std::size_t now = SIZE_MAX;
        for (int i = 0; i < lives; ++i) {
            ASSERT_TRUE(live(b));
            now = std::min(now, ::mallinfo2().uordblks);
        }
        if (r > 0 && now < last + least * lives) return;
        last = now;
    }
    ADD_FAILURE() << "every life leaves memory behind";
}

void init_starts_no_threads(bench& b) {
    auto p = b.make();
    const std::size_t before = threads();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    if (const auto own = b.file().own_threads()) {
        EXPECT_EQ(*own, 0u) << "threads before start";
        return;
    }
    EXPECT_TRUE(falls_to(&threads, before)) << threads() - before << " threads before start";
}
void start_uses_the_hosts_threads_only(bench& b) {
    if (!b.at().starts) DOES_NOT_APPLY("it cannot start here");
    auto p = b.make();
    const std::size_t before = threads() - p->host().threads();
    const auto s = p->up();
    ASSERT_TRUE(s.ok()) << s.message;
    // A thread that begins may show before the host counts it: look twice.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    std::size_t own = 0;
    do {
        const auto now = threads();
        own = b.file().own_threads().value_or(now - std::min(now, before + p->host().threads()));
        if (own) std::this_thread::yield();
    } while (own && std::chrono::steady_clock::now() < deadline);
    EXPECT_EQ(own, 0u) << "threads that the host did not start: ask for a worker";
    p->down();
}
void nothing_is_printed(bench& b) {
    const int sink = ::memfd_create("printed", MFD_CLOEXEC), out = ::dup(1), err = ::dup(2);
    ASSERT_TRUE(sink >= 0 && out >= 0 && err >= 0);
    ::dup2(sink, 1), ::dup2(sink, 2);
    const bool lived = live(b);
    ::fflush(nullptr);
    ::dup2(out, 1), ::dup2(err, 2);
    ::close(out), ::close(err);
    struct stat st {};
    ::fstat(sink, &st);
    std::string text(std::min<std::size_t>(static_cast<std::size_t>(st.st_size), 80), '\0');
    const auto n = ::pread(sink, text.data(), text.size(), 0);
    ::close(sink);
    EXPECT_TRUE(lived);
    EXPECT_EQ(st.st_size, 0) << "log through the host instead of printing: " << text.substr(0, n > 0 ? static_cast<std::size_t>(n) : 0);
}

std::string process_state() {
    std::string out;
    for (int s = 1; s < 65; ++s) {
        struct sigaction a {};
        if (::sigaction(s, nullptr, &a) == 0 && a.sa_handler != SIG_DFL)
            out += "signal " + std::to_string(s) + (a.sa_handler == SIG_IGN ? " ignored" : " handled") + "\n";
    }
    char* const dir = ::getcwd(nullptr, 0);
    out += std::string("directory ") + (dir ? dir : "?") + "\nlocale " + std::setlocale(LC_ALL, nullptr) + "\n";
    ::free(dir);
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("Umask") || line.starts_with("SigBlk") || line.starts_with("Seccomp:") || line.starts_with("Uid")) out += line + "\n";
    for (char** e = environ; *e; ++e) out += std::string(*e) + "\n";
    return out;
}
void the_process_is_left_as_it_was(bench& b) {
    { const fake_host first(b.options()); }  // it sets what a host sets
    const std::string before = process_state();
    ASSERT_TRUE(live(b));
    const std::string after = process_state();
    if (before == after) return;
    const auto differ = std::mismatch(before.begin(), before.end(), after.begin(), after.end());
    const auto line = before.rfind('\n', static_cast<std::size_t>(differ.first - before.begin()) - 1) + 1;
    ADD_FAILURE() << "signals, directory, umask, locale or environment changed, at: " << after.substr(line, 60);
}

void the_log_level_is_respected(bench& b) {
    for (const std::int32_t level : {HF_LOG_OFF, HF_LOG_ERROR}) {
        auto o = b.options();
        o.log_level = level;
        auto p = b.make("quiet", o);
        ASSERT_TRUE(p->create().ok());
        ASSERT_TRUE(p->init().ok());
        if (b.at().starts) {
            EXPECT_TRUE(p->start().ok());
        }
        p->quiesce(), p->stop();
        for (const logged& l : p->host().logs()) {
            EXPECT_GE(l.level, level) << "a line below the level: " << l.message;
        }
    }
}
void log_lines_are_whole(bench& b) {
    auto p = b.make();
    ASSERT_TRUE(p->create().ok());
    ASSERT_TRUE(p->init().ok());
    if (b.at().starts) {
        EXPECT_TRUE(p->start().ok());
    }
    p->quiesce(), p->stop();
    for (const logged& l : p->host().logs()) {
        EXPECT_TRUE(l.level >= HF_LOG_TRACE && l.level < HF_LOG_OFF) << l.message;
        EXPECT_FALSE(l.message.empty());
        EXPECT_TRUE(l.fields.empty() || json::parse(l.fields, nullptr, false).is_object()) << "fields are a JSON object or empty: " << l.fields;
    }
}

void a_poor_host_is_enough_or_refused(bench& b) {
    fake_host_options o = b.options();
    o.without.assign(std::begin(host_interfaces), std::end(host_interfaces));
    auto p = b.make("poor", o);
    const auto s = b.at().starts ? p->up() : p->create();
    if (!s.ok()) {
        EXPECT_FALSE(s.message.empty());
    }
    p->down();
}
void what_it_says_it_needs_is_enough(bench& b) {
    const json m = json::parse(b.file().manifest());
    if (!m.contains("needs")) DOES_NOT_APPLY("the manifest does not say what it needs");
    const auto needs = m["needs"].get<std::vector<std::string>>();
    fake_host_options o = b.options();
    for (const char* id : host_interfaces)
        if (std::find(needs.begin(), needs.end(), id) == needs.end()) o.without.push_back(id);
    live(b, o);
}
void a_failing_host_is_survived(bench& b) {
    fake_host_options o = b.options();
    o.failing = true;
    auto p = b.make("unlucky", o);
    auto s = p->create();
    if (s.ok()) s = p->init();
    if (s.ok() && b.at().starts) s = p->start();
    if (!s.ok()) {
        EXPECT_FALSE(s.message.empty()) << "refused without a reason";
    }
    p->down();
}
void a_newer_host_is_fine(bench& b) {
    fake_host_options o = b.options();
    o.newer = true;
    live(b, o);
}

}  // namespace

const std::vector<test>& host_tests() {
    static const std::vector<test> all{
        {"many_lives_leave_no_threads", &many_lives_leave_no_threads},
        {"many_lives_leave_no_open_files", &many_lives_leave_no_open_files},
        {"many_lives_leave_no_processes", &many_lives_leave_no_processes},
        {"many_lives_do_not_grow", &many_lives_do_not_grow},
        {"init_starts_no_threads", &init_starts_no_threads},
        {"start_uses_the_hosts_threads_only", &start_uses_the_hosts_threads_only},
        {"nothing_is_printed", &nothing_is_printed},
        {"the_process_is_left_as_it_was", &the_process_is_left_as_it_was},
        {"the_log_level_is_respected", &the_log_level_is_respected},
        {"log_lines_are_whole", &log_lines_are_whole},
        {"a_poor_host_is_enough_or_refused", &a_poor_host_is_enough_or_refused},
        {"what_it_says_it_needs_is_enough", &what_it_says_it_needs_is_enough},
        {"a_failing_host_is_survived", &a_failing_host_is_survived},
        {"a_newer_host_is_fine", &a_newer_host_is_fine},
    };
    return all;
}

}  // namespace holdfast::testing::contract
