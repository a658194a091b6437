#include "kernel/events/subscription.hpp"

namespace holdfast::events {

subscription::impl::impl(subscribe_options options, std::string prefix, bool pattern, bool armed,
                         std::shared_ptr<bus_counters> counters)
    : options_(std::move(options)),
      reading_(std::make_shared<const reading>(reading{options_.policy, options_.types, options_.key})),
      prefix_(std::move(prefix)),
      pattern_(pattern),
      counters_(std::move(counters)),
      armed_(armed) {
    counters_->subscriptions.fetch_add(1, std::memory_order_relaxed);
}

subscription::impl::~impl() { counters_->subscriptions.fetch_sub(1, std::memory_order_relaxed); }

cursor::attachment subscription::impl::join(const std::shared_ptr<topic_log>& log) {
    const std::lock_guard lock(m_);
    if (left_) return {};
    auto c = std::make_shared<cursor>(log, reading_, weak_from_this());
    members_.emplace(c.get(), c);
    if (pattern_) {
        const auto a = c->attach({}, true);
        if (a.pending) members_.erase(c.get());  // dropped this very moment: nothing will come
        return a;
    }
    one_ = c;
    const auto a = c->attach(options_, armed_);
    at_ = a.at;
    return a;
}

void subscription::impl::refuse(notice::reason why) {
    refusal_ = notice{notice::kind::closed, why, prefix_};
}

void subscription::impl::fire() noexcept {
    if (!options_.wake) return;
    const callback_gate::pass pass(gate_);
    if (!pass) return;
    try {
        options_.wake();
    } catch (...) {
        counters_->callback_exceptions.fetch_add(1, std::memory_order_relaxed);
    }
}

void subscription::impl::ready(cursor& c) noexcept {
    if (!pattern_) return fire();
    {
        const std::lock_guard lock(m_);
        if (left_) return;
        ready_.push_back(&c);
        if (!std::exchange(armed_, false)) return;
    }
    fire();
}

void subscription::impl::bus_closed() noexcept {
    {
        const std::lock_guard lock(m_);
        bus_closed_ = true;
        if (!std::exchange(armed_, false)) return;
    }
    fire();
}

batch subscription::impl::next(std::size_t max) {
    if (closed()) return {};
    if (refusal_) {
        note_ = *refusal_;
        return finish();
    }
    return pattern_ ? next_of_pattern(max) : next_of_one(max);
}

bool subscription::impl::more() {
    if (closed()) return false;
    if (refusal_) return true;
    if (!pattern_) return one_->more();
    const std::lock_guard lock(m_);
    return !ready_.empty();
}

/// note_ is the last thing this subscription says.
batch subscription::impl::finish() {
    unsubscribe();
    return {{}, &note_};
}

batch subscription::impl::next_of_one(std::size_t max) {
    std::span<const event> run;
    switch (one_->next(max, run, note_)) {
        case cursor::step::events: return {run, nullptr};
        case cursor::step::note: return {{}, &note_};
        case cursor::step::closed: return finish();
        case cursor::step::empty: break;
    }
    return {};
}

batch subscription::impl::next_of_pattern(std::size_t max) {
    for (;;) {
        cursor* c = nullptr;
        {
            const std::lock_guard lock(m_);
            if (left_) return {};
            if (ready_.empty() && !(bus_closed_ && members_.empty())) {
                armed_ = true;
                return {};
            }
            if (!ready_.empty()) {
                c = ready_.front();
                ready_.pop_front();
            }
        }
        if (!c) {
            note_ = {notice::kind::closed, notice::reason::bus_closed, prefix_ + '*'};
            return finish();
        }
        std::span<const event> run;
        const auto s = c->next(max, run, note_);
        if (s == cursor::step::empty) continue;  // parked: it will report again
        if (s == cursor::step::closed) {
            if (note_.why == notice::reason::overrun) return finish();
            std::shared_ptr<cursor> gone;
            {
                const std::lock_guard lock(m_);
                if (const auto it = members_.find(c); it != members_.end()) {
                    gone = std::move(it->second);
                    members_.erase(it);
                }
            }
            if (gone) gone->detach();
            if (note_.why == notice::reason::bus_closed) continue;
            note_.what = notice::kind::epoch_changed;  // of this name; the pattern goes on
            note_.from = 0;
            return {{}, &note_};
        }
        {
            const std::lock_guard lock(m_);
            if (!left_) ready_.push_back(c);  // behind the others: one busy topic does not keep them waiting
        }
        return {run, s == cursor::step::note ? &note_ : nullptr};
    }
}

void subscription::impl::unsubscribe() noexcept {
    closed_.store(true, std::memory_order_relaxed);
    decltype(members_) members;
    {
        const std::lock_guard lock(m_);
        if (!std::exchange(left_, true)) {
            // The cursors stay: the consumer may be in next() or hold a run of theirs.
            members = members_;
            ready_.clear();
        }
    }
    for (auto& [c, owned] : members) c->detach();
    gate_.close();
}

subscription::subscription(std::shared_ptr<impl> i) noexcept : impl_(std::move(i)) {}
subscription::subscription(subscription&&) noexcept = default;
subscription& subscription::operator=(subscription&& o) noexcept {
    if (this != &o) {
        unsubscribe();
        impl_ = std::move(o.impl_);
    }
    return *this;
}
subscription::~subscription() { unsubscribe(); }

position subscription::attached_at() const noexcept { return impl_ ? impl_->attached_at() : position{}; }
batch subscription::next(std::size_t max) { return impl_ ? impl_->next(max) : batch{}; }
bool subscription::more() const { return impl_ && impl_->more(); }
bool subscription::closed() const noexcept { return !impl_ || impl_->closed(); }
void subscription::unsubscribe() noexcept {
    if (impl_) impl_->unsubscribe();
}

std::vector<item> subscription::poll(std::size_t max) {
    std::vector<item> out;
    while (out.size() < max) {
        const batch b = next(max - out.size());
        if (b.empty()) break;
        for (const event& e : b.events) out.push_back({e, std::nullopt});
        if (b.note) out.push_back({nullptr, *b.note});
    }
    return out;
}

std::string_view to_string(notice::kind k) noexcept {
    switch (k) {
        case notice::kind::gap: return "gap";
        case notice::kind::epoch_changed: return "epoch_changed";
        case notice::kind::closed: return "closed";
    }
    return "?";
}

std::string_view to_string(notice::reason r) noexcept {
    switch (r) {
        case notice::reason::trimmed: return "trimmed";
        case notice::reason::overrun: return "overrun";
        case notice::reason::coalesced: return "coalesced";
        case notice::reason::reopened: return "reopened";
        case notice::reason::topic_dropped: return "topic_dropped";
        case notice::reason::bus_closed: return "bus_closed";
        case notice::reason::refused: return "refused";
    }
    return "?";
}

std::function<std::string(const event_body&)> key_field(std::string field) {
    return [field = std::move(field)](const event_body& e) -> std::string {
        const json* fields = e.payload_as<json>();
        if (!fields) return {};
        const json& value = member(*fields, field);
        if (value.is_null()) return {};
        return value.is_string() ? value.get<std::string>() : dump(value);
    };
}

}  // namespace holdfast::events
