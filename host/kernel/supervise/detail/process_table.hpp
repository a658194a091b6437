#pragma once
// /proc, read once for everybody. Private to the process files and the guardian.
#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace holdfast::supervise::detail {

struct process_row {
    pid_t pid, ppid, group, session;
    char state;
    std::uint64_t cpu_ms, rss_bytes, start_ticks;
};

/// One row per process that could be read.
std::vector<process_row> read_process_table();
/// false: it is gone.
bool read_process(pid_t pid, process_row& out);
/// pid's descendants, by parent links; without pid itself.
std::vector<process_row> descendants_of(const std::vector<process_row>& table, pid_t pid);
/// SIGKILL, unless the pid means another process by now.
void kill_if_same(const process_row& row);

}  // namespace holdfast::supervise::detail
