#include "kernel/events/topic_log.hpp"

#include "kernel/events/cursor.hpp"

namespace holdfast::events {

namespace {
topic_options sane(topic_options o) {
    o.capacity = std::max<std::size_t>(o.capacity, 1);
    o.max_bytes = std::max<std::size_t>(o.max_bytes, 1);
    return o;
}
}  // namespace

topic_log::topic_log(std::string name, std::uint64_t epoch, std::uint64_t next_seq, topic_options limits,
                     const clock_source& clock, std::shared_ptr<bus_counters> counters)
    : name_(std::make_shared<const std::string>(std::move(name))),
      clock_(clock),
      counters_(std::move(counters)),
      limits_(sane(limits)),
      epoch_(epoch),
      first_(std::max<std::uint64_t>(next_seq, 1)),
      next_(std::max<std::uint64_t>(next_seq, 1)) {}

position topic_log::current() const {
    const std::lock_guard lock(m_);
    return {epoch_, next_.load() - 1};
}

std::uint64_t topic_log::append(std::shared_ptr<event_body>& body, std::uint64_t expected, std::int64_t timestamp_ms,
                                bool& mismatch) {
    const std::uint32_t cost = body->cost_;
    // A thread's list of cursors to wake is kept between publications; taken away while in use, as a wake may publish.
    thread_local cursors spare;
    cursors woken = std::move(spare);
    garbage old;
    std::uint64_t seq = 0;
    {
        std::unique_lock lock(m_);
        if (over_limit(1, cost) && !wait_for_room(lock, cost, old)) return 0;
        if (closed_) return 0;
        seq = next_.load(std::memory_order_relaxed);
        if (expected != 0 && expected != seq) {
            mismatch = true;
            return 0;
        }
        body->topic_ = name_;
        body->seq_ = seq;
        body->epoch_ = epoch_;
        body->timestamp_ms_ =
            timestamp_ms ? timestamp_ms
                         : std::chrono::duration_cast<milliseconds>(clock_.wall().time_since_epoch()).count();

        chunk* last = chunks_.size() > head_ ? chunks_.back().get() : nullptr;
        const std::uint32_t used = last ? last->count.load(std::memory_order_relaxed) : 0;
        if (!last || used == last->size || last->bytes + cost > limits_.max_bytes / chunks_per_byte_limit) {
            const std::uint32_t size = last ? std::min(last->size * 2, max_chunk_events) : first_chunk_events;
            chunks_.push_back(std::make_shared<chunk>(seq, size));
            last = chunks_.back().get();
        }
        const std::uint32_t slot = last->count.load(std::memory_order_relaxed);
        last->slots[slot] = std::move(body);
        last->costs[slot] = cost;
        last->bytes += cost;
        bytes_ += cost;
        ++published_;
        last->count.store(slot + 1, std::memory_order_release);
        next_.store(seq + 1, std::memory_order_release);
        if (!parked_.empty()) {
            woken.swap(parked_);
            for (auto& c : woken) c->parked_ = false;
        }
    }
    wake(woken);
    woken.clear();
    spare = std::move(woken);
    return seq;
}

void topic_log::wake(cursors& woken) noexcept {
    for (auto& c : woken)
        if (auto sink = c->sink_.lock()) sink->ready(*c);
}

bool topic_log::over_limit(std::size_t extra_events, std::size_t extra_bytes) const noexcept {
    const std::uint64_t kept = next_.load(std::memory_order_relaxed) - first_.load(std::memory_order_relaxed);
    return kept > 0 && (kept + extra_events > limits_.capacity || bytes_ + extra_bytes > limits_.max_bytes);
}

void topic_log::trim_one(garbage& g) {
    const std::uint64_t seq = first_.load(std::memory_order_relaxed);
    chunk_ptr& c = chunks_[head_];
    bytes_ -= c->costs[seq - c->first];
    first_.store(seq + 1, std::memory_order_release);
    if (seq + 1 < c->first + c->count.load(std::memory_order_relaxed)) return;
    // Its last event so far: no more will follow in it either, the next one opens a new chunk.
    g.push_back(std::move(c));
    if (++head_ * 2 > chunks_.size()) {
        chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
}

cursor* topic_log::slowest_lossless() {
    cursor* found = nullptr;
    std::uint64_t least = next_.load(std::memory_order_relaxed);
    const std::uint64_t now = generation_.load(std::memory_order_relaxed);
    for (cursor* c : lossless_) {
        if (c->generation_.load(std::memory_order_relaxed) != now) continue;  // it will get an epoch notice
        // Of equals the last: readers tend to run in the order they came, so that one is the last to make room.
        if (const std::uint64_t p = c->pos_.load(); p <= least) least = p, found = c;
    }
    slowest_ = least;
    return found;
}

bool topic_log::wait_for_room(std::unique_lock<short_mutex>& lock, std::size_t cost, garbage& g) {
    while (!closed_ && over_limit(1, cost)) {
        const std::uint64_t oldest = first_.load(std::memory_order_relaxed);
        if (lossless_.empty() || slowest_ > oldest) {
            trim_one(g);
            continue;
        }
        cursor* const slow = slowest_lossless();
        if (!slow || slowest_ > oldest) {
            slowest_ = slow ? slowest_ : next_.load(std::memory_order_relaxed);
            trim_one(g);
            continue;
        }
        // A quarter of the ring at a time, so that publisher and reader do not take turns event by event.
        wanted_.store(std::min(next_.load(std::memory_order_relaxed), oldest + limits_.capacity / 4 + 1));
        blocker_.store(slow);
        if (slow->pos_.load() > oldest) continue;  // it moved before it could see blocker_
        ++waiting_publishers_;
        room_.wait(lock);
        if (--waiting_publishers_ == 0) blocker_.store(nullptr);
    }
    return !closed_;
}

void topic_log::trim_to_limits(garbage& g) {
    if (!lossless_.empty()) slowest_lossless();
    while (over_limit(0, 0) && (lossless_.empty() || slowest_ > first_.load())) trim_one(g);
}

void topic_log::forget_all(garbage& g) {
    for (; head_ < chunks_.size(); ++head_) g.push_back(std::move(chunks_[head_]));
    chunks_.clear();
    head_ = 0;
    bytes_ = 0;
}

void topic_log::set_limits(topic_options limits) {
    garbage old;
    const std::lock_guard lock(m_);
    limits_ = sane(limits);
    trim_to_limits(old);
    room_.notify_all();
}

void topic_log::trim() {
    garbage old;
    const std::lock_guard lock(m_);
    const std::uint64_t end = next_.load();
    if (!lossless_.empty() && slowest_lossless() && slowest_ < end) {
        while (first_.load() < slowest_) trim_one(old);
        return;
    }
    first_.store(end);
    forget_all(old);
}

void topic_log::reopen(std::uint64_t epoch, std::uint64_t next_seq, std::optional<topic_options> limits) {
    garbage old;
    cursors woken;
    {
        const std::lock_guard lock(m_);
        if (limits) limits_ = sane(*limits);
        next_seq = std::max<std::uint64_t>(next_seq, 1);
        if (epoch == epoch_ && next_seq == next_.load()) {
            trim_to_limits(old);
        } else {
            forget_all(old);
            epoch_ = epoch;
            generation_.fetch_add(1);
            next_.store(next_seq);
            first_.store(next_seq);
            slowest_ = 0;
            woken.swap(parked_);
            for (auto& c : woken) c->parked_ = false;
        }
        room_.notify_all();
    }
    wake(woken);
}

position topic_log::close(notice::reason why) {
    cursors woken;
    position at;
    {
        const std::lock_guard lock(m_);
        if (!closed_) closed_why_ = why;
        closed_ = true;
        at = {epoch_, next_.load() - 1};
        woken.swap(parked_);
        for (auto& c : woken) c->parked_ = false;
        room_.notify_all();
    }
    wake(woken);
    return at;
}

const topic_log::chunk_ptr& topic_log::chunk_of(std::uint64_t seq) const {
    const auto after = std::upper_bound(chunks_.begin() + static_cast<std::ptrdiff_t>(head_), chunks_.end(), seq,
                                        [](std::uint64_t s, const chunk_ptr& c) { return s < c->first; });
    return *(after - 1);
}

replay_result topic_log::replay(std::uint64_t from, std::size_t max) const {
    replay_result r;
    const std::lock_guard lock(m_);
    const std::uint64_t first = first_.load(), end = next_.load();
    r.current = {epoch_, end - 1};
    from = std::max<std::uint64_t>(from, 1);
    if (from < first) {
        r.gap = notice{notice::kind::gap, notice::reason::trimmed, *name_, epoch_, from, first - 1};
        from = first;
    }
    while (from < end && r.events.size() < max) {
        const chunk_ptr& c = chunk_of(from);
        const std::uint64_t stop = std::min<std::uint64_t>(c->first + c->count.load(), from + (max - r.events.size()));
        for (; from < stop; ++from) r.events.push_back(c->slots[from - c->first]);
    }
    return r;
}

topic_log::usage topic_log::usage_now() const {
    const std::lock_guard lock(m_);
    return {published_, bytes_};
}

}  // namespace holdfast::events
