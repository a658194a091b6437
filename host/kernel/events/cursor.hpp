#pragma once
// Internal. One reader's place in one topic.
#include <deque>
#include <unordered_map>

#include "kernel/events/topic_log.hpp"

namespace holdfast::events {

/// What every cursor of a subscription has in common, immutable.
struct reading {
    overflow policy = overflow::disconnect;
    std::vector<std::string> types;
    std::function<std::string(const event_body&)> key;
    bool wants(const event_body& e) const {
        return types.empty() || std::find(types.begin(), types.end(), e.type()) != types.end();
    }
};

/// Where a publisher reports that a parked cursor has something to read. Called outside all locks of the topic.
class ready_sink {
  public:
    virtual ~ready_sink() = default;
    virtual void ready(cursor& c) noexcept = 0;
};

/// Owner: the consumer's thread, except where the topic's lock is named.
class cursor : public std::enable_shared_from_this<cursor> {
  public:
    cursor(std::shared_ptr<topic_log> log, std::shared_ptr<const reading> how, std::weak_ptr<ready_sink> sink);

    struct attachment {
        position at;
        bool pending;  ///< something can be read at once
    };
    /// Takes its place in the topic. `arm`: parks when nothing is pending.
    attachment attach(const subscribe_options& options, bool arm);
    /// Leaves the topic's lists. [any thread]
    void detach();

    enum class step { events, note, empty, closed };
    /// events: `run`; note and closed: `out`; empty: parked.
    step next(std::size_t max, std::span<const event>& run, notice& out);
    bool more() const noexcept;  ///< a hint; takes no lock

    const std::string& topic() const noexcept { return log_->name(); }

  private:
    friend class topic_log;
    void consumed();
    step look(std::size_t max, std::span<const event>& run, notice& out);
    step settle(notice& out, bool& found);
    step coalesced(std::size_t max, std::span<const event>& run, notice& out);
    step gather(notice& out);
    void replace_or_keep(const event& e);
    bool filtered(std::span<const event>& run);
    notice make(notice::kind k, notice::reason r, std::uint64_t from, std::uint64_t to = 0) const;

    const std::shared_ptr<topic_log> log_;  // second owner: the bus
    const std::shared_ptr<const reading> how_;
    const std::weak_ptr<ready_sink> sink_;  // the subscription: alive as long as its handle

    std::shared_ptr<chunk> pin_;            // the chunk being read
    std::atomic<std::uint64_t> pos_{0};     // next number to read; lossless publishers look at it
    std::uint64_t run_end_ = 0;             // pos_ once the run handed out is consumed
    std::uint64_t last_delivered_ = 0;
    std::uint64_t epoch_ = 0;
    std::atomic<std::uint64_t> generation_{0};  // written under the topic's lock
    std::optional<notice> pending_;         // to be delivered before anything else
    std::vector<event> scratch_;            // the run when it is not contiguous in the log

    bool parked_ = false;    // under the topic's lock
    bool detached_ = false;  // under the topic's lock

    // coalesce only
    struct waiting {
        event ev;  // null: replaced by a newer one, or lost
        std::uint64_t from;
        std::uint64_t to;
        bool lost;
    };
    std::deque<waiting> queue_;                             // at most twice the topic's capacity
    std::unordered_map<std::string, std::uint64_t> newest_;  // key → number of its event in queue_
    std::size_t queue_limit_ = default_capacity;
};

}  // namespace holdfast::events
