#pragma once
// Samples, RESULT lines comparable with the peer's scripts, and waiting for a driver actor.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>
#include <unistd.h>

#include "kernel/supervise/supervisor.hpp"

namespace holdfast::bench {

using namespace holdfast::supervise;
using clock = std::chrono::steady_clock;

inline std::int64_t ns_now() { return clock::now().time_since_epoch().count(); }

inline std::int64_t cpu_ns() {
    rusage u{};
    getrusage(RUSAGE_SELF, &u);
    const auto t = [](timeval v) { return v.tv_sec * 1'000'000'000ll + v.tv_usec * 1000ll; };
    return t(u.ru_utime) + t(u.ru_stime);
}

inline std::int64_t rss_bytes() {
    std::ifstream f("/proc/self/statm");
    std::int64_t size = 0, resident = 0;
    f >> size >> resident;
    return resident * sysconf(_SC_PAGESIZE);
}

struct samples {
    std::vector<std::int64_t> ns;
    std::int64_t at(double q) const { return ns.empty() ? 0 : ns[std::min(ns.size() - 1, static_cast<std::size_t>(q * static_cast<double>(ns.size())))]; }
    /// Sorts, prints the RESULT line and sets the counters.
    void report(benchmark::State& state, const std::string& line, std::int64_t cpu = 0) {
        std::sort(ns.begin(), ns.end());
        std::printf("RESULT %s n=%zu p50=%lld p90=%lld p99=%lld max=%lld cpu_ns=%lld\n", line.c_str(), ns.size(), (long long)at(0.5), (long long)at(0.9),
                    (long long)at(0.99), (long long)(ns.empty() ? 0 : ns.back()), (long long)(ns.empty() ? 0 : cpu / (std::int64_t)ns.size()));
        std::fflush(stdout);
        state.counters["p50_us"] = static_cast<double>(at(0.5)) / 1e3;
        state.counters["p99_us"] = static_cast<double>(at(0.99)) / 1e3;
    }
};

inline void rate(benchmark::State& state, const std::string& line, std::int64_t messages, std::int64_t wall, std::int64_t cpu) {
    const double per_s = static_cast<double>(messages) * 1e9 / static_cast<double>(wall);
    std::printf("RESULT %s n=%lld per_s=%.0f cpu_ns=%lld\n", line.c_str(), (long long)messages, per_s, (long long)(cpu / messages));
    std::fflush(stdout);
    state.counters["per_s"] = per_s;
    state.counters["cpu_ns"] = static_cast<double>(cpu) / static_cast<double>(messages);
    state.SetIterationTime(static_cast<double>(wall) / 1e9);
}

class latch {
  public:
    void open() {
        std::lock_guard lock(m_);
        open_ = true;
        c_.notify_all();
    }
    void wait() {
        std::unique_lock lock(m_);
        if (!c_.wait_for(lock, std::chrono::minutes(5), [&] { return open_; })) {
            std::fprintf(stderr, "the driver did not finish within 5 minutes\n");
            std::abort();
        }
    }

  private:
    std::mutex m_;
    std::condition_variable c_;
    bool open_ = false;
};

inline supervisor_options endless(name_registry* names, strategy how = strategy::one_for_one, seconds window = seconds(1)) {
    supervisor_options o;
    o.rules.how = how;
    o.rules.intensity = {max_intensity, window};
    o.rules.backoff = backoff_policy::none();
    o.names = names;
    return o;
}

}  // namespace holdfast::bench
