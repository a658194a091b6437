// Whatever was acknowledged is there: after kill -9, and after simulated power cuts.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>
#include <thread>

#include "unit/stores/faulty_vfs.hpp"
#include "unit/stores/support.hpp"

namespace {

using namespace stores_test;

using acks = std::map<std::string, std::int64_t>;  // stream → the last seq acknowledged

/// Starts the victim, kills it right after its n-th acknowledgement was read, and returns what it had acknowledged.
void kill_after(const std::string& file, std::uint64_t n, acks& seen) {
    int out[2];
    ASSERT_EQ(::pipe2(out, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::dup2(out[1], STDOUT_FILENO);
        ::execl(VICTIM, VICTIM, PLUGINS "/store-sqlite.so", file.c_str(), nullptr);
        ::_exit(127);
    }
    ::close(out[1]);
    std::string text;
    char buffer[4096];
    bool killed = false;
    for (ssize_t got = 0; (got = ::read(out[0], buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<std::size_t>(got));
        if (!killed && static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n')) >= n) killed = ::kill(pid, SIGKILL) == 0;
    }
    ::close(out[0]);
    int how = 0;
    ASSERT_EQ(::waitpid(pid, &how, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(how)) << "the victim ended by itself: " << WEXITSTATUS(how);
    text.resize(text.rfind('\n') + 1);
    std::istringstream lines(text);
    std::string stream;
    for (std::int64_t seq = 0; lines >> stream >> seq;) seen[stream] = std::max(seen[stream], seq);
}

/// Every stream is complete from 1, at least up to what was acknowledged.
void expect_all(client& c, const acks& seen, const std::string& when) {
    ASSERT_TRUE(c.up().ok()) << when << ": " << c.up().message;
    for (const auto& [stream, last] : seen) {
        std::int64_t next = 1;
        while (true) {
            const auto r = c.call("read", {{"stream", stream}, {"after", next - 1}, {"limit", 1000}}).result;
            for (const json& e : r.at("events")) ASSERT_EQ(e.at("seq"), next++) << when << ": " << stream;
            if (r.at("events").empty()) break;
        }
        ASSERT_GT(next, last) << when << ": " << stream << " lost acknowledged events";
        ASSERT_EQ(c.last(stream), next - 1) << when;
    }
}

TEST(store_sqlite_durability, kill_9_loses_nothing_that_was_acknowledged) {
    directory d;
    std::mt19937_64 random(20261121);
    acks seen;
    for (int round = 0; round < 50; ++round) {
        kill_after(d.file(), 1 + random() % 60, seen);
        if (HasFatalFailure()) return;
        if (round % 10 != 9) continue;  // in between the next victim recovers by itself
        auto c = sqlite(d.file());
        expect_all(c, seen, "round " + std::to_string(round));
        if (HasFatalFailure()) return;
    }
    EXPECT_EQ(seen.size(), 4u);
}

TEST(store_sqlite_durability, power_cuts_lose_nothing_that_was_acknowledged) {
    faulty_vfs::install();
    directory d;
    faulty_vfs::record(d.path);
    {
        auto c = sqlite(d.file());
        ASSERT_TRUE(c.up().ok());
        std::mutex mutex;
        acks seen;
        constexpr int threads = 3, each = 600;
        std::atomic<int> total{0};
        std::vector<std::thread> writers;
        for (int t = 0; t < threads; ++t)
            writers.emplace_back([&, t] {
                const std::string stream = "s" + std::to_string(t);
                for (std::int64_t seq = 1; seq <= each; ++seq) {
                    if (c.append(stream, seq, {{"text", std::string(static_cast<std::size_t>(seq * 37 % 5000), 'x')}}) != HF_OK) break;
                    std::lock_guard lock(mutex);
                    seen[stream] = seq;
                    ++total;
                }
            });
        std::mt19937_64 random(7);
        int cuts = 0;
        for (int wanted = 0; wanted < threads * each && !HasFailure(); wanted = total + 1 + static_cast<int>(random() % 8)) {
            while (total < wanted && total < threads * each && !HasFailure()) std::this_thread::yield();
            acks before;
            {
                std::lock_guard lock(mutex);
                before = seen;
            }
            for (int chance = 0; chance < 8 && !HasFailure(); ++chance, ++cuts) {
                directory after;
                faulty_vfs::power_cut(after.path, random);
                auto recovered = sqlite(after.file());
                expect_all(recovered, before, "cut " + std::to_string(cuts));
            }
        }
        for (auto& w : writers) w.join();
        EXPECT_EQ(total, threads * each);
        std::printf("RESULT store_power_cuts %d without a loss\n", cuts);
    }
    faulty_vfs::record("");
}

TEST(store_sqlite_durability, twenty_threads_share_commits) {
    directory d;
    auto c = sqlite(d.file());
    constexpr int threads = 20, each = 100;
    std::vector<std::thread> writers;
    const auto begin = std::chrono::steady_clock::now();
    for (int t = 0; t < threads; ++t)
        writers.emplace_back([&, t] {
            for (int i = 1; i <= each; ++i) EXPECT_EQ(c.append("s" + std::to_string(t), i), HF_OK);
        });
    for (auto& w : writers) w.join();
    const double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double commits = c.instance().host().metric("store_commits");
    std::printf("RESULT store_group_commit %.0f appends/s, %.1f in one commit\n", threads * each / s, threads * each / commits);
    EXPECT_EQ(c.instance().host().metric("store_writes"), threads * each);
    EXPECT_LT(commits, threads * each / 2.0) << "nothing was shared";
    for (int t = 0; t < threads; ++t) EXPECT_EQ(c.last("s" + std::to_string(t)), each);
}

}  // namespace
