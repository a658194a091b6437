#pragma once
// Internal. The log of one topic: events in chunks that are never changed once filled, so that readers go through a chunk
// without a lock or a copy and take the lock once per chunk.
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/events/bus.hpp"
#include "kernel/events/short_mutex.hpp"

namespace holdfast::events {

inline constexpr std::uint32_t first_chunk_events = 8;   // most topics are short: chunks grow from here
inline constexpr std::uint32_t max_chunk_events = 64;
inline constexpr std::size_t chunks_per_byte_limit = 16;  // a chunk is full at max_bytes / this

/// Shared by the bus, its topics and its subscriptions.
struct bus_counters {
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::uint64_t> overruns{0};
    std::atomic<std::uint64_t> callback_exceptions{0};
    std::atomic<std::size_t> subscriptions{0};
};

struct chunk {
    chunk(std::uint64_t first_seq, std::uint32_t events)
        : first(first_seq), size(events), slots(new event[events]), costs(new std::uint32_t[events]) {}
    const std::uint64_t first;
    const std::uint32_t size;
    std::atomic<std::uint32_t> count{0};  // slots below it are written and will not change
    std::size_t bytes = 0;                // under the topic's lock, like costs
    std::unique_ptr<event[]> slots;
    std::unique_ptr<std::uint32_t[]> costs;  // beside the events, so that trimming does not touch cold bodies
};

class cursor;

/// [any thread]
class topic_log {
  public:
    topic_log(std::string name, std::uint64_t epoch, std::uint64_t next_seq, topic_options limits,
              const clock_source& clock, std::shared_ptr<bus_counters> counters);
    topic_log(const topic_log&) = delete;
    topic_log& operator=(const topic_log&) = delete;

    const std::string& name() const noexcept { return *name_; }
    position current() const;
    bool empty() const noexcept { return first_.load() == next_.load(); }  ///< keeps no event
    std::uint64_t next_seq() const noexcept { return next_.load(std::memory_order_acquire); }

    /// `expected` 0 = any. Returns the number; 0 = closed, or `mismatch` set. The body is moved from only on success.
    std::uint64_t append(std::shared_ptr<event_body>& body, std::uint64_t expected, std::int64_t timestamp_ms,
                         bool& mismatch);

    void reopen(std::uint64_t epoch, std::uint64_t next_seq, std::optional<topic_options> limits);
    void set_limits(topic_options limits);
    void trim();
    position close(notice::reason why);
    replay_result replay(std::uint64_t from, std::size_t max) const;

    struct usage {
        std::uint64_t published;
        std::size_t bytes;
    };
    usage usage_now() const;

  private:
    friend class cursor;
    using chunk_ptr = std::shared_ptr<chunk>;  // second owners: cursors that are reading it
    using garbage = std::vector<chunk_ptr>;    // freed after the lock is released
    using cursors = std::vector<std::shared_ptr<cursor>>;

    // All below: under m_.
    bool over_limit(std::size_t extra_events, std::size_t extra_bytes) const noexcept;
    void trim_one(garbage& g);
    bool wait_for_room(std::unique_lock<short_mutex>& lock, std::size_t cost, garbage& g);
    cursor* slowest_lossless();
    void trim_to_limits(garbage& g);
    const chunk_ptr& chunk_of(std::uint64_t seq) const;
    void forget_all(garbage& g);
    static void wake(cursors& woken) noexcept;

    const std::shared_ptr<const std::string> name_;
    const clock_source& clock_;
    const std::shared_ptr<bus_counters> counters_;

    mutable short_mutex m_;
    topic_options limits_;
    std::vector<chunk_ptr> chunks_;  // oldest first, from head_; those before head_ are gone
    std::size_t head_ = 0;
    std::size_t bytes_ = 0;
    std::uint64_t published_ = 0;
    std::uint64_t epoch_;
    bool closed_ = false;
    notice::reason closed_why_ = notice::reason::topic_dropped;
    cursors parked_;  // wait for the next event; the cycle with cursor::log_ is broken by close() and detach()

    // Written under m_, read without it by cursors; on a line of their own, because readers look here all the time.
    alignas(64) std::atomic<std::uint64_t> first_;  // oldest number kept; == next_ when none is
    std::atomic<std::uint64_t> next_;
    std::atomic<std::uint64_t> generation_{0};  // counts reopenings

    // Lossless readers.
    alignas(64) std::vector<cursor*> lossless_;
    std::uint64_t slowest_ = 0;  // no lossless cursor is before it
    std::condition_variable_any room_;
    std::size_t waiting_publishers_ = 0;
    std::atomic<cursor*> blocker_{nullptr};   // whose progress a publisher waits for; compared, never followed
    std::atomic<std::uint64_t> wanted_{0};    // … until it has come this far
};

}  // namespace holdfast::events
