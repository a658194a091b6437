#pragma once
// Where actors run, and where time and descriptors come from. Two implementations: a pool of threads, and one that runs
// everything on the caller's thread in simulated time.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::supervise {

using task = unique_function<void()>;

namespace detail {
/// Something the run queue can hold. Intrusive: scheduling an actor allocates nothing.
class runnable {
  public:
    virtual void run_turn() = 0;       ///< on a pool thread; one at a time for one runnable; must not throw
    virtual void drop() noexcept = 0;  ///< instead of run_turn when the runtime ends with this still queued
    runnable* next_runnable = nullptr;

  protected:
    ~runnable() = default;
};
struct timer_state;
struct watch_state;
}  // namespace detail

/// A one-shot timer. Destroying or cancelling it means the callback does not start any more (it may be running on
/// another thread at that moment; cancel never waits). [any thread, one at a time]
class timer_handle {
  public:
    timer_handle() = default;
    explicit timer_handle(std::shared_ptr<detail::timer_state> state) : state_(std::move(state)) {}
    timer_handle(timer_handle&& o) noexcept = default;
    timer_handle& operator=(timer_handle&& o) noexcept;
    ~timer_handle() { cancel(); }
    void cancel() noexcept;
    void detach() noexcept { state_.reset(); }  ///< let it fire without a handle
    bool pending() const noexcept;

  private:
    std::shared_ptr<detail::timer_state> state_;  // second owner: the runtime's timer queue
};

enum fd_interest : std::uint32_t { fd_readable = 1, fd_writable = 2, fd_hangup = 4 };

/// Readiness of a descriptor, one shot per arm: created armed, after the callback call rearm() for the next one.
/// The descriptor stays the caller's; cancel() before closing it. After cancel() returns no callback starts.
class fd_watch {
  public:
    fd_watch() = default;
    explicit fd_watch(std::shared_ptr<detail::watch_state> state) : state_(std::move(state)) {}
    fd_watch(fd_watch&&) noexcept = default;
    fd_watch& operator=(fd_watch&& o) noexcept;
    ~fd_watch() { cancel(); }
    /// [any thread] false when cancelled or the runtime has stopped.
    bool rearm(std::uint32_t interest) noexcept;
    void cancel() noexcept;
    explicit operator bool() const noexcept { return state_ != nullptr; }

  private:
    std::shared_ptr<detail::watch_state> state_;  // second owner: the reactor while armed
};

enum class dispatch : std::uint8_t {
    pool,     ///< the callback runs on a pool thread and may take its time
    prompt,   ///< so it does, and passes what waits in the queue: for who answers people. Every other turn at most is such a one
    reactor,  ///< the callback runs on the reactor's thread: a tell(), nothing that takes time
};

class runtime {
  public:
    virtual ~runtime() = default;
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    virtual const clock_source& clock() const = 0;
    steady_time now() const { return clock().now(); }

    /// Runs f soon on a pool thread. false after stop() (f is then destroyed unrun). [any thread]
    bool post(task f);
    /// Runs f on a pool thread once `delay` has passed (0: as soon as possible, never inside this call). [any thread]
    /// Dropping the handle cancels. After stop() the timer never fires.
    [[nodiscard]] timer_handle after(nanoseconds delay, task f);
    /// [any thread] Errors: io_error (epoll refuses the descriptor: a regular file, or one already watched; dup it),
    /// unavailable after stop().
    [[nodiscard]] virtual result<fd_watch> watch_fd(int fd, std::uint32_t interest,
                                                    unique_function<void(std::uint32_t ready)> f,
                                                    dispatch where = dispatch::pool) = 0;
    /// For actors. [any thread]
    virtual bool enqueue(detail::runnable* item) = 0;
    /// True on a thread that runs this runtime's queue: blocking there starves others.
    virtual bool on_pool_thread() const noexcept = 0;

    struct counters {
        std::uint64_t turns = 0;        ///< items run since the start
        std::size_t queued = 0;         ///< items waiting now
        std::size_t timers = 0;         ///< timers pending now
        std::size_t threads = 0;
        std::size_t lost = 0;           ///< threads that are stuck inside a turn and were replaced
        std::uint64_t escaped = 0;      ///< exceptions caught at the pool's boundary (each is a bug; none ends the host)
    };
    virtual counters stats() const = 0;

  protected:
    runtime() = default;
    virtual void add_timer(std::shared_ptr<detail::timer_state> t) = 0;
};

struct pool_options {
    std::size_t threads = 0;                      ///< 0: one per core, at least 2
    const clock_source* clock = nullptr;          ///< null: the system's. Timers always run on the system's steady clock.
    std::string name = "hf-pool";                 ///< thread names: hf-pool-0 … (15 characters at most)
};

class watchdog;

/// The real one: a pool of threads with one run queue, and one reactor thread for timers and descriptors.
class pool_runtime final : public runtime {
  public:
    explicit pool_runtime(pool_options options = {});
    ~pool_runtime() override;  ///< stop(5 s)

    /// Refuses new work, cancels timers and watches, finishes the turns under way, joins. Queued work is dropped.
    /// false: a thread was still inside a turn at the deadline; it is left behind (detached), never joined.
    /// [not on a pool thread] Idempotent.
    bool stop(nanoseconds deadline);

    /// From now on a thread that is inside one turn for longer than `deadline` is told of, once (tid: the kernel's number of it), and another
    /// thread takes its place in the pool; should it ever come back, it ends. Once, before there is work; the dog may end before the runtime.
    void watch_turns(watchdog& dog, nanoseconds deadline, std::function<void(std::uint32_t tid)> stuck);

    const clock_source& clock() const override;
    result<fd_watch> watch_fd(int fd, std::uint32_t interest, unique_function<void(std::uint32_t)> f,
                              dispatch where = dispatch::pool) override;
    bool enqueue(detail::runnable* item) override;
    bool on_pool_thread() const noexcept override;
    counters stats() const override;

  protected:
    void add_timer(std::shared_ptr<detail::timer_state> t) override;

  private:
    struct impl;
    std::shared_ptr<impl> impl_;  // second owner: its threads, so that one left behind at the deadline stays valid
};

/// For tests of actors in simulated time: nothing runs until told to, everything runs on the calling thread, in order.
/// Enqueueing is thread-safe, so real threads may tell actors that run here.
class manual_runtime final : public runtime {
  public:
    manual_runtime();
    ~manual_runtime() override;

    /// Runs queued work, due timers and ready descriptors until nothing is left. Returns the number of items run.
    std::size_t run_until_idle();
    /// Moves the clock to every timer on the way, in order, running everything due at each stop.
    void advance(nanoseconds d);
    /// Blocks (real time) until other threads enqueued something or a watched descriptor is ready, then runs it.
    /// false when `real_deadline` passed first.
    bool wait_and_run(nanoseconds real_deadline);

    const clock_source& clock() const override;
    result<fd_watch> watch_fd(int fd, std::uint32_t interest, unique_function<void(std::uint32_t)> f,
                              dispatch where = dispatch::pool) override;
    bool enqueue(detail::runnable* item) override;
    bool on_pool_thread() const noexcept override;
    counters stats() const override;

  protected:
    void add_timer(std::shared_ptr<detail::timer_state> t) override;

  private:
    struct impl;
    std::shared_ptr<impl> impl_;  // second owner: timer and watch handles that outlive the runtime
};

}  // namespace holdfast::supervise
