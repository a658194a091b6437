#include "kernel/events/bus_impl.hpp"

#include <time.h>

namespace holdfast::events {

namespace {
bool is_pattern(std::string_view name) { return name.ends_with('*'); }
// Time stamps need milliseconds at best, so the kernel's coarse clock will do (it moves every 1 to 4 ms): a fifth of the
// cost, of some weight in a publication of 100 ns.
class tick_clock final : public clock_source {
  public:
    steady_time now() const override { return std::chrono::steady_clock::now(); }
    wall_time wall() const override {
        timespec t{};
        clock_gettime(CLOCK_REALTIME_COARSE, &t);
        return wall_time(std::chrono::duration_cast<wall_time::duration>(seconds(t.tv_sec) + nanoseconds(t.tv_nsec)));
    }
};
// Topics may outlive the bus in their subscriptions, so its own clock must be immortal.
const clock_source& wall_clock() {
    static const tick_clock clock;
    return clock;
}
}  // namespace

bus::impl::impl(bus_options options)
    : counters(std::make_shared<bus_counters>()),
      options_(options),
      clock_(options.clock ? *options.clock : wall_clock()),
      next_epoch_(options.first_epoch ? options.first_epoch
                                      : static_cast<std::uint64_t>(
                                            std::chrono::duration_cast<milliseconds>(clock_.wall().time_since_epoch()).count())) {}

bus::impl::log_ptr bus::impl::find(std::string_view name) const {
    const shard& s = shard_of(name);
    const std::lock_guard lock(s.m);
    const auto it = s.topics.find(name);
    return it == s.topics.end() ? nullptr : it->second.log;
}

std::optional<position> bus::impl::where(std::string_view name) const {
    const shard& s = shard_of(name);
    const std::lock_guard lock(s.m);
    const auto it = s.topics.find(name);
    if (it == s.topics.end()) return std::nullopt;
    return it->second.log ? it->second.log->current() : it->second.rest;
}

bus::impl::log_ptr bus::impl::find_or_create(std::string_view name) {
    if (auto log = find(name)) return log;
    const std::lock_guard lock(registry_);
    if (auto log = find(name)) return log;
    if (closed || is_pattern(name)) return nullptr;
    if (const auto at = where(name)) return create(name, *at, options_.topic);
    if (count_ >= options_.max_topics) return nullptr;
    return create(name, {next_epoch_.fetch_add(1), 0}, options_.topic);
}

/// registry_ is held; there is no log of that name.
bus::impl::log_ptr bus::impl::create(std::string_view name, position at, topic_options limits) {
    auto log = std::make_shared<topic_log>(std::string(name), at.epoch, at.seq + 1, limits, clock_, counters);
    // Before anyone can publish to it: patterns see a new topic from its first event.
    std::erase_if(patterns_, [&](const auto& weak) {
        const auto p = weak.lock();
        if (p && !p->closed() && p->matches(name)) p->join(log);
        return !p || p->closed();
    });
    shard& s = shard_of(name);
    const std::lock_guard lock(s.m);
    const auto [it, fresh] = s.topics.try_emplace(std::string(name));
    it->second.log = log;
    count_ += fresh;
    return log;
}

result<bus::impl::log_ptr> bus::impl::open(std::string_view name, std::uint64_t epoch, std::uint64_t next_seq,
                                           std::optional<topic_options> limits) {
    if (is_pattern(name)) return fail(errc::invalid_argument, "a topic name must not end in '*': " + std::string(name));
    const std::lock_guard lock(registry_);
    if (closed) return fail(errc::unavailable, "the event bus is closed");
    if (auto log = find(name)) {
        log->reopen(epoch, next_seq, limits);
        return log;
    }
    if (count_ >= options_.max_topics && !where(name))
        return fail(errc::overloaded, "too many topics (" + std::to_string(count_) + "); drop those of finished sessions");
    return create(name, {epoch, std::max<std::uint64_t>(next_seq, 1) - 1}, limits.value_or(options_.topic));
}

bool bus::impl::trim(std::string_view name) {
    const log_ptr log = find(name);
    if (!log) return where(name).has_value();
    log->trim();
    const std::lock_guard lock(registry_);
    shard& s = shard_of(name);
    const std::lock_guard shard_lock(s.m);
    const auto it = s.topics.find(name);
    // References are copied from the map, under this lock, or from one another. So if there are but the map's and ours, nobody
    // publishes, reads or is about to, and nobody will before the lock is released.
    if (it == s.topics.end() || it->second.log != log || log.use_count() != 2 || !log->empty()) return true;
    it->second.rest = log->current();
    it->second.log.reset();
    published_by_freed.fetch_add(log->usage_now().published);
    return true;
}

result<position> bus::impl::drop(std::string_view name) {
    log_ptr log;
    {
        const std::lock_guard lock(registry_);
        shard& s = shard_of(name);
        const std::lock_guard shard_lock(s.m);
        const auto it = s.topics.find(name);
        if (it == s.topics.end()) return fail(errc::not_found, "no topic " + std::string(name));
        log = std::move(it->second.log);
        const position rest = it->second.rest;
        s.topics.erase(it);
        --count_;
        if (!log) return rest;
    }
    const position at = log->close(notice::reason::topic_dropped);
    published_by_freed.fetch_add(log->usage_now().published);
    return at;
}

std::vector<bus::impl::log_ptr> bus::impl::all() const {
    std::vector<log_ptr> out;
    for (const shard& s : shards_) {
        const std::lock_guard lock(s.m);
        for (const auto& [name, topic] : s.topics)
            if (topic.log) out.push_back(topic.log);
    }
    return out;
}

std::vector<std::string> bus::impl::names(std::string_view prefix) const {
    std::vector<std::string> out;
    for (const shard& s : shards_) {
        const std::lock_guard lock(s.m);
        for (const auto& [name, topic] : s.topics)
            if (name.starts_with(prefix)) out.push_back(name);
    }
    return out;
}

void bus::impl::close() noexcept {
    std::vector<std::shared_ptr<subscription::impl>> patterns;
    {
        const std::lock_guard lock(registry_);
        if (closed.exchange(true)) return;
        for (const auto& weak : patterns_)
            if (auto p = weak.lock()) patterns.push_back(std::move(p));
        patterns_.clear();
    }
    for (const auto& log : all()) log->close(notice::reason::bus_closed);
    for (const auto& p : patterns) p->bus_closed();
}

bus::impl::attached bus::impl::attach(std::string_view name, subscribe_options options, bool arm) {
    const bool pattern = is_pattern(name);
    const std::string_view prefix = pattern ? name.substr(0, name.size() - 1) : name;
    auto body = std::make_shared<subscription::impl>(std::move(options), std::string(prefix), pattern, arm, counters);
    attached a{subscription(body), body, false};
    if (pattern) {
        const std::lock_guard lock(registry_);
        if (closed) {
            body->refuse(notice::reason::bus_closed);
            a.pending = true;
            return a;
        }
        patterns_.push_back(body);
        for (const auto& log : all())
            if (body->matches(log->name())) body->join(log);
        return a;
    }
    if (const auto log = find_or_create(name)) {
        a.pending = body->join(log).pending;
    } else {
        body->refuse(closed ? notice::reason::bus_closed : notice::reason::refused);
        a.pending = true;
    }
    return a;
}

bus::bus(bus_options options) : impl_(std::make_shared<impl>(options)) {}
bus::~bus() { close(); }
void bus::close() noexcept { impl_->close(); }

subscription bus::subscribe(std::string_view name, subscribe_options options) {
    auto a = impl_->attach(name, std::move(options), true);
    if (a.pending) a.body->fire();
    return std::move(a.handle);
}

std::uint64_t bus::append(std::string_view name, std::shared_ptr<event_body> body) {
    while (const auto log = impl_->find_or_create(name)) {
        bool mismatch = false;
        if (const std::uint64_t seq = log->append(body, 0, 0, mismatch)) return seq;
        if (impl_->closed) break;  // else it was dropped between look-up and append: a new one takes its place
    }
    return impl_->refused();
}

namespace {
result<std::uint64_t> append_exactly(topic_log& log, std::shared_ptr<event_body>& body, std::uint64_t seq,
                                     std::int64_t timestamp_ms) {
    bool mismatch = false;
    if (seq == 0) return fail(errc::invalid_argument, "event numbers start at 1");
    if (const std::uint64_t given = log.append(body, seq, timestamp_ms, mismatch)) return given;
    if (mismatch)
        return fail(errc::stale, "event " + std::to_string(seq) + " of " + log.name() + " is not the next one, " +
                                     std::to_string(log.next_seq()) + " is: the topic has another publisher or was reopened");
    return fail(errc::unavailable, "topic " + log.name() + " is closed");
}
}  // namespace

result<std::uint64_t> bus::append_at(std::string_view name, std::shared_ptr<event_body> body, std::uint64_t seq,
                                     std::int64_t timestamp_ms) {
    while (const auto log = impl_->find_or_create(name)) {
        auto r = append_exactly(*log, body, seq, timestamp_ms);
        if (r || r.error().code != errc::unavailable || impl_->closed) {
            if (!r) impl_->refused();
            return r;
        }
    }
    impl_->refused();
    return fail(errc::unavailable, "topic " + std::string(name) + " cannot be created: bus closed, too many topics, or a pattern");
}

std::uint64_t bus::next_seq(std::string_view name) {
    const auto at = impl_->where(name);
    return at ? at->seq + 1 : 1;
}

std::optional<position> bus::current(std::string_view name) const { return impl_->where(name); }

topic_handle bus::topic(std::string_view name) { return topic_handle(impl_->find_or_create(name)); }

result<topic_handle> bus::open_topic(std::string_view name, std::uint64_t epoch, std::uint64_t next_seq,
                                     std::optional<topic_options> limits) {
    auto log = impl_->open(name, epoch, next_seq, limits);
    if (!log) return unexpected(log.error());
    return topic_handle(std::move(*log));
}

result<position> bus::drop_topic(std::string_view name) { return impl_->drop(name); }

bool bus::trim_topic(std::string_view name) { return impl_->trim(name); }

void bus::set_limits(std::string_view name, topic_options limits) {
    if (const auto log = impl_->find_or_create(name)) log->set_limits(limits);
}

replay_result bus::replay(std::string_view name, std::uint64_t from, std::size_t max) const {
    if (const auto log = impl_->find(name)) return log->replay(from, max);
    replay_result r;
    if (const auto at = impl_->where(name)) {
        r.current = *at;
        from = std::max<std::uint64_t>(from, 1);
        if (from <= at->seq) r.gap = notice{notice::kind::gap, notice::reason::trimmed, std::string(name), at->epoch, from, at->seq};
    }
    return r;
}

std::vector<std::string> bus::topics(std::string_view prefix) const {
    auto names = impl_->names(prefix);
    std::sort(names.begin(), names.end());
    return names;
}

bus_stats bus::stats() const {
    bus_stats s;
    s.published = impl_->published_by_freed;
    for (const auto& log : impl_->all()) {
        const auto u = log->usage_now();
        s.published += u.published;
        s.retained_bytes += u.bytes;
    }
    s.topics = impl_->count();
    s.subscriptions = impl_->counters->subscriptions;
    s.refused = impl_->counters->refused;
    s.overruns = impl_->counters->overruns;
    s.callback_exceptions = impl_->counters->callback_exceptions;
    return s;
}

const std::string& topic_handle::name() const noexcept {
    static const std::string none;
    return log_ ? log_->name() : none;
}
std::uint64_t topic_handle::next_seq() const noexcept { return log_ ? log_->next_seq() : 1; }
position topic_handle::current() const noexcept { return log_ ? log_->current() : position{}; }

std::uint64_t topic_handle::append(std::shared_ptr<event_body> body) const {
    bool mismatch = false;
    return log_ ? log_->append(body, 0, 0, mismatch) : 0;
}

result<std::uint64_t> topic_handle::append_at(std::shared_ptr<event_body> body, std::uint64_t seq,
                                              std::int64_t timestamp_ms) const {
    if (!log_) return fail(errc::unavailable, "no such topic");
    return append_exactly(*log_, body, seq, timestamp_ms);
}

}  // namespace holdfast::events
