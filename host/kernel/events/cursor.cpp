#include "kernel/events/cursor.hpp"

namespace holdfast::events {

using kind = notice::kind;
using reason = notice::reason;

cursor::cursor(std::shared_ptr<topic_log> log, std::shared_ptr<const reading> how, std::weak_ptr<ready_sink> sink)
    : log_(std::move(log)), how_(std::move(how)), sink_(std::move(sink)) {}

notice cursor::make(kind k, reason r, std::uint64_t from, std::uint64_t to) const {
    return {k, r, log_->name(), epoch_, from, to};
}

cursor::attachment cursor::attach(const subscribe_options& options, bool arm) {
    const std::lock_guard lock(log_->m_);
    const std::uint64_t first = log_->first_.load(), end = log_->next_.load();
    epoch_ = log_->epoch_;
    generation_.store(log_->generation_.load());
    std::uint64_t at = end;
    if (options.epoch && *options.epoch != epoch_) {
        pending_ = make(kind::epoch_changed, reason::reopened, end);
    } else if (options.from) {
        const std::uint64_t from = std::max<std::uint64_t>(*options.from, 1);
        if (from > end) {
            pending_ = make(kind::epoch_changed, reason::reopened, end);
        } else if (from < first) {
            pending_ = make(kind::gap, reason::trimmed, from, first - 1);
            at = first;
        } else {
            at = from;
        }
    }
    pos_.store(at);
    run_end_ = at;
    queue_limit_ = log_->limits_.capacity;
    const bool pending = pending_.has_value() || at < end || log_->closed_;
    if (detached_) return {{epoch_, end - 1}, pending};
    if (how_->policy == overflow::lossless) {
        log_->lossless_.push_back(this);
        log_->slowest_ = 0;  // look again
    }
    if (arm && !pending) {
        parked_ = true;
        log_->parked_.push_back(shared_from_this());
    }
    return {{epoch_, end - 1}, pending};
}

void cursor::detach() {
    std::shared_ptr<cursor> self;  // keep the last reference until the lock is released
    const std::lock_guard lock(log_->m_);
    detached_ = true;
    if (parked_) {
        auto& list = log_->parked_;
        const auto it = std::find_if(list.begin(), list.end(), [this](const auto& c) { return c.get() == this; });
        self = std::move(*it);
        list.erase(it);
        parked_ = false;
    }
    if (std::erase(log_->lossless_, this) > 0) log_->room_.notify_all();
}

void cursor::consumed() {
    if (run_end_ == pos_.load(std::memory_order_relaxed)) return;
    if (how_->policy != overflow::lossless) {
        pos_.store(run_end_, std::memory_order_relaxed);
        return;
    }
    pos_.store(run_end_);
    if (log_->blocker_.load() == this && run_end_ >= log_->wanted_.load()) {
        const std::lock_guard lock(log_->m_);
        log_->room_.notify_all();
    }
}

cursor::step cursor::next(std::size_t max, std::span<const event>& run, notice& out) {
    max = std::max<std::size_t>(max, 1);
    for (;;) {
        consumed();
        if (pending_) {
            out = std::move(*pending_);
            pending_.reset();
            return step::note;
        }
        const bool merging = how_->policy == overflow::coalesce && how_->key;
        const step s = merging ? coalesced(max, run, out) : look(max, run, out);
        if (s == step::events && !merging && !how_->types.empty() && !filtered(run)) continue;
        if (s == step::events) last_delivered_ = run.back()->seq();
        if (s == step::closed) out.from = last_delivered_;
        return s;
    }
}

bool cursor::filtered(std::span<const event>& run) {
    scratch_.clear();
    for (const event& e : run)
        if (how_->wants(*e)) scratch_.push_back(e);
    run = scratch_;
    return !scratch_.empty();
}

/// The next run in the log itself.
cursor::step cursor::look(std::size_t max, std::span<const event>& run, notice& out) {
    for (;;) {
        const std::uint64_t at = pos_.load(std::memory_order_relaxed);
        if (pin_ && at >= log_->first_.load(std::memory_order_acquire) &&
            generation_.load(std::memory_order_relaxed) == log_->generation_.load(std::memory_order_acquire)) {
            const std::uint64_t end = pin_->first + pin_->count.load(std::memory_order_acquire);
            if (at >= pin_->first && at < end) {
                const std::size_t n = std::min<std::size_t>(max, end - at);
                run = {&pin_->slots[at - pin_->first], n};
                run_end_ = at + n;
                return step::events;
            }
        }
        bool found = false;
        if (const step s = settle(out, found); !found) return s;
    }
}

bool cursor::more() const noexcept {
    return log_->next_seq() > run_end_ || pending_ || !queue_.empty() ||
           generation_.load(std::memory_order_relaxed) != log_->generation_.load(std::memory_order_relaxed);
}

/// Under the lock: finds the chunk of pos_ (found), or says what is in the way.
cursor::step cursor::settle(notice& out, bool& found) {
    std::shared_ptr<chunk> old = std::move(pin_);  // may be freed: not under the lock
    const std::lock_guard lock(log_->m_);
    const std::uint64_t first = log_->first_.load(), end = log_->next_.load();
    const std::uint64_t at = pos_.load(std::memory_order_relaxed);
    if (generation_.load() != log_->generation_.load()) {
        generation_.store(log_->generation_.load());
        epoch_ = log_->epoch_;
        pos_.store(first);
        run_end_ = first;
        last_delivered_ = 0;
        log_->slowest_ = 0;
        log_->room_.notify_all();
        out = make(kind::epoch_changed, reason::reopened, first);
        return step::note;
    }
    if (at < first) {
        if (how_->policy == overflow::disconnect) {
            log_->counters_->overruns.fetch_add(1, std::memory_order_relaxed);
            out = make(kind::closed, reason::overrun, 0);
            return step::closed;
        }
        out = make(kind::gap, reason::overrun, at, first - 1);
        pos_.store(first);
        run_end_ = first;
        return step::note;
    }
    if (at < end) {
        pin_ = log_->chunk_of(at);
        found = true;
        return step::events;
    }
    if (log_->closed_) {
        out = make(kind::closed, log_->closed_why_, 0);
        return step::closed;
    }
    if (!parked_ && !detached_) {
        parked_ = true;
        log_->parked_.push_back(shared_from_this());
    }
    // With room left in it, the chunk is where the next event goes: that one will be read without the lock.
    if (old && at < old->first + old->size) pin_ = std::move(old);
    return step::empty;
}

/// Everything that waits goes through a queue in which newer events replace older ones of their key.
cursor::step cursor::coalesced(std::size_t max, std::span<const event>& run, notice& out) {
    if (const step s = gather(out); queue_.empty()) return s;
    if (!queue_.front().ev) {
        out = make(kind::gap, reason::coalesced, queue_.front().from);
        for (; !queue_.empty() && !queue_.front().ev; queue_.pop_front()) {
            out.to = queue_.front().to;
            if (queue_.front().lost) out.why = reason::overrun;
        }
        return step::note;
    }
    scratch_.clear();
    for (; scratch_.size() < max && !queue_.empty() && queue_.front().ev; queue_.pop_front()) {
        const auto it = newest_.find(how_->key(*queue_.front().ev));
        if (it != newest_.end() && it->second == queue_.front().to) newest_.erase(it);
        scratch_.push_back(std::move(queue_.front().ev));
    }
    run = scratch_;
    return step::events;
}

/// Fills the queue as far as it may grow. With something in it never parks: the consumer has not been told "nothing" yet.
cursor::step cursor::gather(notice& out) {
    while (queue_.size() < queue_limit_) {
        // "Not before": an event is readable a moment before next_seq() counts it.
        if (!queue_.empty() && pos_.load(std::memory_order_relaxed) >= log_->next_seq() &&
            generation_.load() == log_->generation_.load())
            break;
        std::span<const event> run;
        const step s = look(max_chunk_events, run, out);
        if (s == step::events) {
            for (const event& e : run) replace_or_keep(e);
            consumed();
        } else if (s == step::note && out.what == kind::gap) {
            queue_.push_back({nullptr, out.from, out.to, true});
        } else {
            queue_.clear();
            newest_.clear();
            return s;
        }
    }
    return step::events;
}

void cursor::replace_or_keep(const event& e) {
    if (!how_->wants(*e)) return;
    if (std::string key = how_->key(*e); !key.empty()) {
        const auto [it, fresh] = newest_.try_emplace(std::move(key), e->seq());
        if (!fresh) {
            std::lower_bound(queue_.begin(), queue_.end(), it->second,
                             [](const waiting& w, std::uint64_t s) { return w.to < s; })
                ->ev = nullptr;
            it->second = e->seq();
        }
    }
    queue_.push_back({e, e->seq(), e->seq(), false});
}

}  // namespace holdfast::events
