#pragma once
// /proc, read once for everybody. Private to the process files and the guardian.
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::supervise::detail {

struct process_row {
    pid_t pid, ppid, group, session;
    char state;
    std::uint64_t cpu_ms, rss_bytes, start_ticks;
};

/// One row per process that could be read. whole: not when we lack the descriptors or memory to read all.
std::vector<process_row> read_process_table(bool* whole = nullptr);
/// false: it is gone.
bool read_process(pid_t pid, process_row& out);
/// pid's descendants, by parent links; without pid itself.
std::vector<process_row> descendants_of(const std::vector<process_row>& table, pid_t pid);
/// One reading of /proc, in the orders in which it is asked. Immutable.
class process_table {
  public:
    process_table() = default;
    explicit process_table(std::vector<process_row> rows);
    const std::vector<process_row>& rows() const { return rows_; }  ///< by pid
    const process_row* find(pid_t pid) const;
    /// pid, the rest of its session, what still runs of `known` (which may have left both), and all descendants of these.
    std::vector<process_row> tree_of(pid_t pid, const std::vector<process_row>& known) const;

  private:
    std::vector<process_row> rows_;
    std::vector<std::uint32_t> by_parent_, by_session_;  // places in rows_
};

/// Reads the table for everybody who needs one at the same time: when a thousand processes end at once it is read a few times, not a
/// thousand times. [any thread]
class census : public std::enable_shared_from_this<census> {
  public:
    using table = std::shared_ptr<const process_table>;
    explicit census(runtime& rt) : rt_(rt) {}
    static constexpr auto attempt_period = std::chrono::milliseconds(10);
    static constexpr unsigned max_attempts = 100;
    /// `then` with a table whose reading began at most `age` before this call: at once when there is one, else on a pool thread. When
    /// we are out of descriptors or memory it is read again for a second; then `then` has what could be read.
    void ask(unique_function<void(const table&)> then, nanoseconds age = {});
    /// One whose reading began at most `age` ago; else it is read here and now. Never null.
    table latest(nanoseconds age = {});
    std::uint64_t readings() const;  ///< so far

  private:
    void post();
    void read();

    runtime& rt_;
    mutable std::mutex mutex_;  // leaf
    std::vector<unique_function<void(const table&)>> waiting_;
    bool under_way_ = false;
    unsigned attempts_ = 0;  // that failed, one after the other
    timer_handle again_;
    table last_;
    steady_time begun_{};  // its reading
    std::uint64_t readings_ = 0;
};

/// SIGKILL, unless the pid means another process by now.
void kill_if_same(const process_row& row);

}  // namespace holdfast::supervise::detail
