#pragma once
// One child process: an actor that owns its descriptors. Private to process.cpp and process_spawner.cpp.
#include <deque>
#include <mutex>

#include "kernel/supervise/actor.hpp"
#include "kernel/supervise/detail/line_splitter.hpp"
#include "kernel/supervise/detail/process_table.hpp"
#include "kernel/supervise/detail/spawn.hpp"

namespace holdfast::supervise::detail {

class process_actor final : public actor {
  public:
    process_actor(runtime& rt, process_options options, process_callbacks callbacks, spawned_process p, std::shared_ptr<census> c);

    pid_t pid() const noexcept { return pid_; }
    bool running() const noexcept { return !told_exit_.load(); }
    // [any thread]
    result<void> write(std::string bytes);
    void close_stdin();
    void stop();
    void kill();
    std::string stderr_tail() const;
    process_usage usage() const;
    process_usage usage(const process_table& now) const;
    /// The spawner ends: kills the tree and reaps, without the runtime. [not in a turn]
    void end_now();

  private:
    ~process_actor() override;
    void on_start() override;
    void on_stop() override;
    void on_exit(const exit_reason&) noexcept override;

    // Owner: the turn.
    struct stream {
        int fd = -1;
        fd_watch watch;
        line_splitter lines;
        bool is_stderr = false;
    };
    void watch(stream& s);
    void read_stream(stream& s);
    void deliver(stream& s, std::string_view chunk);
    void drain(stream& s);
    void end_stream(stream& s);
    void leader_ended();
    void finish_if_drained();
    void finish(bool drained);
    void begin_stop();
    using table = process_table;
    void with_table(void (process_actor::*then)(const table&), nanoseconds age = {});  ///< in a turn of its own, soon
    void ask_to_end(const table& now);
    void remember(const table& now);
    void end_session(const table& now);
    void kill_others_locked(const table& now);
    void end(const table& now);
    void step(int signal);
    void kill_tree();
    void sample();
    void look(const table& all);
    process_usage consumption(const table& now) const;
    process_exit describe_exit(bool drained) const;
    template <class F>
    void guarded(F&& f) noexcept;

    // Guarded by write_mutex_.
    void flush_locked();
    void close_stdin_locked();

    const pid_t pid_;
    const process_options options_;
    process_callbacks callbacks_;
    const std::shared_ptr<census> census_;  // shared with the spawner and its other processes
    int pidfd_;
    fd_watch pidfd_watch_;
    stream out_, err_;
    timer_handle ladder_, drain_, sampler_;
    int status_kind_ = 0, status_ = 0;
    exit_reason reason_;
    bool leader_gone_ = false, over_memory_ = false, over_cpu_ = false, stop_begun_ = false;
    std::string callback_error_;
    std::uint64_t window_cpu_ms_ = 0;  // used when the window began
    steady_time window_began_{};

    std::atomic<bool> intentional_{false}, killed_{false}, told_exit_{false};
    mutable std::mutex life_mutex_;   // guards known_, reaped_ and signals to the group: the pid is ours until it is reaped
    std::vector<process_row> known_;  // its tree as last seen: they may leave the session, and lose their parent
    bool reaped_ = false;

    mutable std::mutex write_mutex_;  // leaf
    int in_;
    fd_watch in_watch_;
    std::deque<std::string> queue_;
    std::size_t queued_ = 0, offset_ = 0;
    bool in_armed_ = false, close_after_flush_ = false, refused_ = false;

    mutable std::mutex tail_mutex_;   // leaf
    std::string tail_;                // newest bytes of stderr; up to twice the ring, trimmed when it gets there
};

}  // namespace holdfast::supervise::detail
