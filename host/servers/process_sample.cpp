#include "servers/process_sample.hpp"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

namespace holdfast::servers {

process_sample process_sampler::sample(std::int64_t pid, steady_time now) {
    process_sample out{std::nan(""), std::nan("")};
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    if (!std::getline(file, text)) return out;
    const auto name_end = text.rfind(')');  // the name may hold anything, even ')'
    if (name_end == std::string::npos) return out;
    std::istringstream rest(text.substr(name_end + 1));
    std::string skipped;
    std::uint64_t user = 0, system = 0, value = 0;
    std::int64_t pages = 0;
    rest >> skipped;                                   // 3: state
    for (int i = 4; i <= 13; ++i) rest >> skipped;
    rest >> user >> system;                            // 14, 15
    for (int i = 16; i <= 23; ++i) rest >> value;      // 23: vsize
    rest >> pages;                                     // 24: rss
    if (!rest) return out;
    out.memory_bytes = static_cast<double>(pages) * static_cast<double>(sysconf(_SC_PAGESIZE));
    const std::uint64_t ticks = user + system;
    if (pid == pid_ && now > at_) {
        const double elapsed = std::chrono::duration<double>(now - at_).count();
        out.cpu_percent = 100.0 * static_cast<double>(ticks - ticks_) / static_cast<double>(sysconf(_SC_CLK_TCK)) / elapsed;
    }
    pid_ = pid;
    ticks_ = ticks;
    at_ = now;
    return out;
}

}  // namespace holdfast::servers
