#pragma once
// Internal. The subscription behind the handle: one cursor, or one per topic of a pattern.
#include <deque>
#include <unordered_map>

#include "kernel/events/cursor.hpp"
#include "kernel/events/gate.hpp"

namespace holdfast::events {

class subscription::impl final : public ready_sink, public std::enable_shared_from_this<subscription::impl> {
  public:
    impl(subscribe_options options, std::string pattern_prefix, bool pattern, bool armed,
         std::shared_ptr<bus_counters> counters);
    ~impl() override;

    /// Before the handle is given out; then, for patterns, whenever a topic is created. [bus, registry lock held]
    cursor::attachment join(const std::shared_ptr<topic_log>& log);
    bool matches(std::string_view topic) const { return pattern_ && topic.starts_with(prefix_); }
    void fire() noexcept;                        ///< calls wake, unless unsubscribed
    void bus_closed() noexcept;                  ///< patterns: no topic will join any more
    void refuse(notice::reason why);             ///< nothing will ever come but this closed notice

    batch next(std::size_t max);
    bool more();
    void unsubscribe() noexcept;
    bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }
    position attached_at() const noexcept { return at_; }

  private:
    void ready(cursor& c) noexcept override;
    batch next_of_one(std::size_t max);
    batch next_of_pattern(std::size_t max);
    batch finish();

    const subscribe_options options_;
    const std::shared_ptr<const reading> reading_;
    const std::string prefix_;
    const bool pattern_;
    const std::shared_ptr<bus_counters> counters_;
    position at_;  // set before the handle is given out

    callback_gate gate_;  // around wake
    std::atomic<bool> closed_{false};
    notice note_;  // what the last batch points to. Owner: consumer
    std::optional<notice> refusal_;

    std::mutex m_;  // the rest; taken before a topic's lock, never the other way round
    bool left_ = false;
    bool armed_;  // patterns: wake when a topic becomes ready
    bool bus_closed_ = false;
    std::unordered_map<cursor*, std::shared_ptr<cursor>> members_;
    std::deque<cursor*> ready_;  // members with something to read, each once
    std::shared_ptr<cursor> one_;  // not a pattern: the only member. Set before the handle is given out
};

}  // namespace holdfast::events
