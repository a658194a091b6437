#pragma once
// Child processes (rules O1–O7): spawned by one permanent thread, detected by pidfd, drained, stopped as a whole tree.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/result.hpp"
#include "kernel/supervise/runtime.hpp"
#include "kernel/supervise/supervisor.hpp"

namespace holdfast::supervise {

inline constexpr std::size_t default_max_line = 4u << 20;
inline constexpr std::size_t default_stdin_high_water = 1u << 20;
inline constexpr std::size_t default_stderr_ring = 64u << 10;

struct stop_ladder {
    milliseconds after_stdin{1000};  ///< stdin closed → SIGTERM to the group after this
    milliseconds after_term{2000};   ///< SIGTERM → SIGKILL to the whole tree after this
};

struct inherited_fd {
    int parent_fd;  ///< open in this process; stays ours
    int child_fd;   ///< its number there, 3 … 255
};

struct process_options {
    std::vector<std::string> argv;             ///< argv[0] with a slash is a path; else looked up in PATH of `environment`
    std::vector<std::string> environment;      ///< "NAME=value": all of it, nothing is inherited. See allowed_environment().
    std::string cwd;                           ///< empty: ours
    std::vector<inherited_fd> inherit;
    bool raw_stdout = false;                   ///< deliver chunks as they come instead of lines
    std::size_t max_line = default_max_line;   ///< a longer line is dropped whole and reported by on_oversize
    std::size_t stdin_high_water = default_stdin_high_water;
    std::size_t stderr_ring = default_stderr_ring;  ///< the newest bytes kept for stderr_tail()
    std::uint64_t memory_limit_bytes = 0;      ///< resident, of the whole tree; 0: none
    std::uint32_t cpu_limit_percent = 0;       ///< of one core, of the whole tree, on average over cpu_window; 0: none
    milliseconds cpu_window{10'000};
    milliseconds sample_interval{1000};        ///< for both limits, and to know who leaves the session: one that starts and loses
                                               ///< its parent between two samples is none of the tree
    milliseconds drain_timeout{200};           ///< after its exit, for a grandchild that holds the pipe
    std::uint64_t nofile_limit = 4096;
    stop_ladder stop;
};

/// NAME=value for the names in `allow` that are set here. PATH, HOME, LANG, TERM, TMPDIR, USER … : default_environment_names().
std::vector<std::string> allowed_environment(const std::vector<std::string>& allow);
const std::vector<std::string>& default_environment_names();

struct process_exit {
    exit_reason reason;        ///< normal, exit_code(n), signal(n), memory_limit, cpu_limit, shutdown (stopped by us), killed
    bool intentional = false;  ///< stop() or kill() had been called before it ended (O7)
    bool drained = true;       ///< false: a grandchild still held a pipe when drain_timeout passed
    std::string stderr_tail;
};

struct process_usage {
    std::int64_t pid = 0;
    std::uint64_t rss_bytes = 0;   ///< of its tree: its session, and descendants that have left it
    std::uint64_t cpu_ms = 0;
    std::uint32_t processes = 0;
    std::uint32_t descriptors = 0; ///< of the leader
    std::uint32_t sockets = 0;     ///< of the leader
    json to_json() const;
};

/// Called one at a time, in order, on a pool thread; on_exit last and once. An exception ends the process with reason error (T1).
struct process_callbacks {
    std::function<void(std::string_view line)> on_line;    ///< stdout, without the newline; or a chunk with raw_stdout
    std::function<void(std::string_view line)> on_stderr;  ///< stderr lines, cut at 8 KiB
    std::function<void(std::size_t bytes)> on_oversize;    ///< a line over max_line was dropped; told once per line
    std::function<void()> on_drained_stdin;                ///< the write queue is empty again after write() was refused
    std::function<void(const process_usage&)> on_memory_limit;  ///< before the kill; on_exit follows
    std::function<void(const process_exit&)> on_exit;
};

/// One running (or ended) child process. Dropping the handle does not end it. [any thread]
class process {
  public:
    virtual ~process() = default;
    virtual std::int64_t pid() const noexcept = 0;
    virtual bool running() const noexcept = 0;  ///< false once on_exit has been called
    /// Queues bytes for stdin; written as the pipe takes them. Errors: overloaded (more than the high-water mark is queued; nothing
    /// was taken), transport_lost (stdin closed or process gone).
    virtual result<void> write(std::string bytes) = 0;
    virtual void close_stdin() = 0;             ///< after what is queued has been written
    /// The ladder: close stdin → SIGTERM to the group → SIGKILL to the tree. Returns at once; on_exit tells the end. Idempotent.
    virtual void stop() = 0;
    virtual void kill() = 0;                    ///< SIGKILL to the whole tree now
    virtual std::string stderr_tail() const = 0;
    virtual process_usage usage() const = 0;    ///< reads /proc, one table for all who ask within half a second: not for hot paths
};

/// Owns the spawner thread. One for the whole host. What still runs when it is destroyed is killed and reaped there, without on_exit.
class process_spawner {
  public:
    explicit process_spawner(runtime& rt);
    ~process_spawner();

    using spawned = unique_function<void(result<std::shared_ptr<process>>)>;
    /// [any thread] done runs on the spawner's thread, before any other callback: hand it on, do not block.
    /// Errors: command_not_found, forbidden (not executable), invalid_argument, io_error (limit reached …), unavailable (stopping).
    void spawn(process_options options, process_callbacks callbacks, spawned done);
    /// The same, blocking for the exec: about 1 ms, or as long as the program's file system takes. After an error, also timeout, no
    /// callback comes; a process that is made later is killed. [not on the spawner's thread]
    result<std::shared_ptr<process>> spawn(process_options options, process_callbacks callbacks, nanoseconds deadline = seconds(60));

    std::size_t running() const;
    /// Usage of every running process, by one walk over /proc. [any thread, blocks for about a millisecond]
    std::vector<process_usage> usage() const;
    std::uint64_t readings() const;  ///< walks over /proc so far, shared by all processes

  private:
    struct impl;
    std::shared_ptr<impl> impl_;  // second owner: processes that have not ended yet
};

/// A child that is a process. `started` hands over each incarnation before any of its lines is delivered.
/// Exit reasons are those of process_exit; an exec that fails is a start failure. Stop is the ladder, kill is the tree kill.
child_spec process_child(std::string id, process_spawner& spawner, process_options options, process_callbacks callbacks = {},
                         std::function<void(std::shared_ptr<process>)> started = {});

}  // namespace holdfast::supervise
