#pragma once
// The event bus: one sequenced, bounded log per topic; subscribers are cursors into it. See rules E1–E4.
//
//   events::bus bus;
//   bus.publish("session:abc", "MessageAdded", json{{"message_id", "m1"}});      // → 1
//   auto sub = bus.subscribe("session:abc", {.wake = [&] { post_drain_to_me(); }});
//   auto snapshot = …; discard events with seq <= snapshot.seq                    // attach without a gap
//   for (auto b = sub.next(64); !b.empty(); b = sub.next(64)) { for (const event& e : b.events) …; if (b.note) …; }
//
// A name that ends in '*' is a prefix pattern: every topic that begins with it, those created later included.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/events/event.hpp"

namespace holdfast::events {

inline constexpr std::size_t default_capacity = 1024;           // events kept per topic
inline constexpr std::size_t default_max_bytes = 8u << 20;      // bytes kept per topic
inline constexpr std::size_t default_max_topics = 200'000;
inline constexpr std::size_t push_batch = 64;                   // items per turn of a push subscription

struct topic_options {
    std::size_t capacity = default_capacity;
    std::size_t max_bytes = default_max_bytes;  ///< the newest event is kept even when larger than this
};

struct bus_options {
    topic_options topic;  ///< for topics created on demand
    std::size_t max_topics = default_max_topics;
    /// Epoch of the first topic created on demand; each later one takes the next. 0 = the wall clock in milliseconds, so
    /// that topics recreated after a drop or a restart of the host never repeat an epoch.
    std::uint64_t first_epoch = 0;
    const clock_source* clock = nullptr;  ///< borrowed, outlives all; null = the system's, at 1–4 ms
};

struct position {
    std::uint64_t epoch = 0;
    std::uint64_t seq = 0;  ///< last number published; 0 = none yet
    friend bool operator==(const position&, const position&) = default;
};

/// What happens when a subscriber is a whole ring behind.
enum class overflow {
    disconnect,   ///< closed with reason overrun: attach again (the default, for UIs)
    drop_oldest,  ///< goes on at the oldest event kept, after a gap notice
    coalesce,     ///< of the waiting events with one key only the newest is delivered; gaps are notified
    lossless,     ///< the publisher waits for it. For the journal only; never publish to the topic from its own consumer
};

/// Something that is not an event but must be known to read the events correctly.
struct notice {
    enum class kind {
        gap,            ///< numbers from…to will not come
        epoch_changed,  ///< the history before is void: fetch a snapshot; the next number is `from`
        closed,         ///< last item of the subscription; `from` = last number delivered (0 = none)
    };
    enum class reason { trimmed, overrun, coalesced, reopened, topic_dropped, bus_closed, refused };
    kind what = kind::gap;
    reason why = reason::trimmed;
    std::string topic;
    std::uint64_t epoch = 0;
    std::uint64_t from = 0;
    std::uint64_t to = 0;  ///< gap only, inclusive; to + 1 is available
};
std::string_view to_string(notice::kind k) noexcept;
std::string_view to_string(notice::reason r) noexcept;

struct subscribe_options {
    /// First number wanted (inclusive); none = only what is published from now on. Older than what is kept: a gap
    /// notice comes first, whatever the policy. Beyond the next number: an epoch notice, for it is another history.
    /// Ignored by patterns.
    std::optional<std::uint64_t> from{};
    std::optional<std::uint64_t> epoch{};  ///< the epoch `from` belongs to; if the topic has another: an epoch notice first
    overflow policy = overflow::disconnect;
    std::vector<std::string> types{};  ///< only these; empty = all. Numbers filtered out are not gaps
    /// coalesce only: events with equal keys replace one another; an empty key is never replaced.
    std::function<std::string(const event_body&)> key{};
    /// Called once when items arrive after next() has come back empty (or after subscribe); not again until next() came
    /// back empty again. Called by the publishing thread, outside all locks of the bus; by the subscribing thread if items
    /// wait already. Keep it short: post a message. Exceptions are caught and counted.
    std::function<void()> wake{};
};

/// Key for coalescing by a field of JSON payloads ("" when absent: never replaced).
std::function<std::string(const event_body&)> key_field(std::string field);

/// Events in order, or one notice, or nothing.
struct batch {
    std::span<const event> events;  ///< valid until the next call on the subscription; copy an event to keep it
    const notice* note = nullptr;   ///< as above
    bool empty() const noexcept { return events.empty() && note == nullptr; }
};

struct item {
    event ev;  ///< null for a notice
    std::optional<notice> note;
};

/// A cursor. Move-only; its destructor unsubscribes.
/// [one thread at a time, except unsubscribe() and closed()]
class subscription {
  public:
    subscription() = default;
    subscription(subscription&&) noexcept;
    subscription& operator=(subscription&&) noexcept;
    ~subscription();

    /// Number and epoch of the topic at the moment of subscribing: everything after it will come. {} for patterns.
    position attached_at() const noexcept;

    /// The next run of at most `max` events, without copying; a pattern yields runs of one topic after another. An
    /// empty batch means: nothing now, `wake` is armed. The events of a lossless subscription count as consumed when
    /// next() is called again. A subscription retains at most one chunk (64 events, 1/16 of max_bytes) beyond the ring.
    batch next(std::size_t max);

    /// Whether next() would probably return something; a hint that arms nothing. A busy consumer does
    /// well to post itself a few more times before it arms (by an empty next()): a wake per event costs the publisher
    /// about ten times what the publication costs.
    bool more() const;

    /// Up to `max` items, copied out. Convenience over next().
    std::vector<item> poll(std::size_t max);

    /// After it returns no wake starts, and none is running, unless it is called from inside that very wake.
    /// Do not hold a lock that the wake takes. [any thread]
    void unsubscribe() noexcept;
    bool closed() const noexcept;  ///< unsubscribed, or the closed notice was delivered [any thread]
    explicit operator bool() const noexcept { return impl_ != nullptr; }

    class impl;
    explicit subscription(std::shared_ptr<impl> i) noexcept;

  private:
    std::shared_ptr<impl> impl_;  // second owners: topics where it waits for a wake
};

/// Runs the closure later, on a thread of its choice, at most one closure of this subscription is outstanding at a time.
using executor_post = std::function<void(unique_function<void()>)>;

/// A handler called with every item, one at a time and in order. Its destructor unsubscribes.
class push_subscription {
  public:
    push_subscription() = default;
    push_subscription(push_subscription&&) noexcept;
    push_subscription& operator=(push_subscription&&) noexcept;
    ~push_subscription();

    position attached_at() const noexcept;
    /// After it returns no handler starts, and none is running, unless it is called from inside that very handler.
    /// Do not hold a lock that the handler takes. [any thread]
    void unsubscribe() noexcept;
    std::uint64_t handler_exceptions() const noexcept;
    explicit operator bool() const noexcept { return impl_ != nullptr; }

    class impl;
    explicit push_subscription(std::shared_ptr<impl> i) noexcept;

  private:
    std::shared_ptr<impl> impl_;  // second owner: the closure posted to the executor
};

struct replay_result {
    std::optional<notice> gap;  ///< reason trimmed: the first number available is gap->to + 1
    std::vector<event> events;
    position current;
};

struct bus_stats {
    std::size_t topics = 0;
    std::size_t subscriptions = 0;
    std::uint64_t published = 0;
    std::uint64_t refused = 0;             ///< publications to a closed bus, a dropped topic, or one topic too many
    std::uint64_t overruns = 0;            ///< subscriptions closed because they were too slow
    std::uint64_t callback_exceptions = 0; ///< thrown by wakes and handlers
    std::size_t retained_bytes = 0;
};

class topic_log;

/// A topic at hand: publishing without looking the name up. Copyable. [any thread]
class topic_handle {
  public:
    topic_handle() = default;
    explicit operator bool() const noexcept { return log_ != nullptr; }
    const std::string& name() const noexcept;
    std::uint64_t next_seq() const noexcept;
    position current() const noexcept;

    /// Appends and wakes. Returns the number given, 0 if refused (topic dropped, bus closed).
    template <class Payload>
    std::uint64_t publish(std::string_view type, Payload&& payload) const {
        return append(make_body(type, std::forward<Payload>(payload)));
    }
    /// As publish, provided that the number will be `seq` (see bus::publish_at).
    template <class Payload>
    result<std::uint64_t> publish_at(std::uint64_t seq, std::string_view type, Payload&& payload,
                                     std::int64_t timestamp_ms = 0) const {
        return append_at(make_body(type, std::forward<Payload>(payload)), seq, timestamp_ms);
    }

  private:
    friend class bus;
    explicit topic_handle(std::shared_ptr<topic_log> log) noexcept : log_(std::move(log)) {}
    std::uint64_t append(std::shared_ptr<event_body> body) const;
    result<std::uint64_t> append_at(std::shared_ptr<event_body> body, std::uint64_t seq, std::int64_t timestamp_ms) const;
    std::shared_ptr<topic_log> log_;  // second owner: the bus, until the topic is dropped
};

/// [any thread] Subscriptions and topic handles may outlive it; they find it closed.
class bus {
  public:
    explicit bus(bus_options options = {});
    ~bus();  ///< close()
    bus(const bus&) = delete;
    bus& operator=(const bus&) = delete;

    /// Appends one event to the topic, creating it if need be, and wakes whoever waits for it. Order per topic is the
    /// order of the numbers. Blocks only for a lossless subscriber that is a whole ring behind. Returns the number, 0 if
    /// refused (closed, too many topics). Payload: json object, object_text, or any type with payload_traits.
    template <class Payload>
    std::uint64_t publish(std::string_view topic, std::string_view type, Payload&& payload) {
        return append(topic, make_body(type, std::forward<Payload>(payload)));
    }

    /// For the owner of a topic who has stored event `seq` durably before announcing it. timestamp 0 = now.
    /// Errors: stale (the next number is another: the topic has a second publisher, or the caller's count is wrong;
    /// nothing is published), unavailable (refused as above).
    template <class Payload>
    result<std::uint64_t> publish_at(std::string_view topic, std::uint64_t seq, std::string_view type, Payload&& payload,
                                     std::int64_t timestamp_ms = 0) {
        return append_at(topic, make_body(type, std::forward<Payload>(payload)), seq, timestamp_ms);
    }

    std::uint64_t next_seq(std::string_view topic);  ///< 1 for a topic that does not exist (it is not created)
    std::optional<position> current(std::string_view topic) const;
    topic_handle topic(std::string_view name);  ///< creates on demand; empty handle never, a refusing one maybe

    /// Makes the topic continue at `next_seq` in `epoch`. An existing topic with another epoch or number loses its events
    /// and its subscribers get an epoch notice; with the same ones nothing happens. Errors: overloaded, unavailable.
    result<topic_handle> open_topic(std::string_view name, std::uint64_t epoch, std::uint64_t next_seq,
                                    std::optional<topic_options> limits = {});
    /// Forgets the topic; subscribers drain what is left and are then closed (patterns just go on without it). Returns
    /// where it stood, for open_topic later; a topic recreated on demand starts at 1 in a new epoch. Errors: not_found.
    result<position> drop_topic(std::string_view name);
    /// Frees the events kept, not the numbering: for idle topics. One that nobody watches or holds a handle of is then but
    /// its name and two numbers (and has the default limits when it is used again). False if there is no such topic.
    bool trim_topic(std::string_view name);
    void set_limits(std::string_view name, topic_options limits);  ///< creates on demand

    subscription subscribe(std::string_view topic_or_pattern, subscribe_options options = {});
    /// `handler` is called through `post` with every item; what it throws is caught and counted. options.wake is not used.
    push_subscription subscribe_push(std::string_view topic_or_pattern, subscribe_options options, executor_post post,
                                     std::function<void(const item&)> handler);

    /// Up to `max` events from number `from` (inclusive), a gap first if some are gone. Empty for an unknown topic.
    replay_result replay(std::string_view topic, std::uint64_t from, std::size_t max = default_capacity) const;

    std::vector<std::string> topics(std::string_view prefix = {}) const;  ///< sorted
    bus_stats stats() const;

    /// Refuses publications, releases waiting publishers, closes every subscription (they drain what is left first).
    void close() noexcept;

    class impl;

  private:
    std::uint64_t append(std::string_view topic, std::shared_ptr<event_body> body);
    result<std::uint64_t> append_at(std::string_view topic, std::shared_ptr<event_body> body, std::uint64_t seq,
                                    std::int64_t timestamp_ms);
    std::shared_ptr<impl> impl_;  // second owners: none; shared so that subscriptions can hold it weakly
};

}  // namespace holdfast::events
