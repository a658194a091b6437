#pragma once
// Internal. The names of the topics, and who watches which.
#include <array>

#include "kernel/events/subscription.hpp"

namespace holdfast::events {

class bus::impl {
  public:
    explicit impl(bus_options options);

    struct attached {
        subscription handle;
        std::shared_ptr<subscription::impl> body;
        bool pending = false;
    };
    attached attach(std::string_view name, subscribe_options options, bool arm);

    using log_ptr = std::shared_ptr<topic_log>;
    log_ptr find(std::string_view name) const;  ///< null also for a topic at rest
    log_ptr find_or_create(std::string_view name);  ///< null: closed, a pattern, or too many topics
    std::optional<position> where(std::string_view name) const;
    bool trim(std::string_view name);
    result<log_ptr> open(std::string_view name, std::uint64_t epoch, std::uint64_t next_seq,
                         std::optional<topic_options> limits);
    result<position> drop(std::string_view name);
    std::vector<log_ptr> all() const;
    std::vector<std::string> names(std::string_view prefix) const;
    std::size_t count() const {
        const std::lock_guard lock(registry_);
        return count_;
    }
    void close() noexcept;
    std::uint64_t refused() {
        counters->refused.fetch_add(1, std::memory_order_relaxed);
        return 0;
    }

    std::atomic<bool> closed{false};
    std::atomic<std::uint64_t> published_by_freed{0};  // logs that are no more
    const std::shared_ptr<bus_counters> counters;

  private:
    struct name_hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
    };
    /// A topic: its log, or, while it is at rest (nothing kept, nobody near it), where its numbering stands.
    struct place {
        log_ptr log;
        position rest;
    };
    // Looking a name up takes only its shard's lock.
    struct alignas(64) shard {
        mutable short_mutex m;
        std::unordered_map<std::string, place, name_hash, std::equal_to<>> topics;
    };
    static constexpr std::size_t shard_count = 16;
    /// Names differ at their ends (ids, numbers); the map hashes the whole of it once more.
    shard& shard_of(std::string_view name) const {
        unsigned h = static_cast<unsigned>(name.size());
        for (const char c : name.substr(name.size() - std::min<std::size_t>(name.size(), 4)))
            h = h * 31 + static_cast<unsigned char>(c);
        return shards_[h % shard_count];
    }
    log_ptr create(std::string_view name, position at, topic_options limits);

    const bus_options options_;
    const clock_source& clock_;
    std::atomic<std::uint64_t> next_epoch_;
    mutable std::array<shard, shard_count> shards_;

    // Creation, dropping, pattern subscription: rare. Taken before any other lock.
    mutable std::mutex registry_;
    std::size_t count_ = 0;
    std::vector<std::weak_ptr<subscription::impl>> patterns_;
};

}  // namespace holdfast::events
