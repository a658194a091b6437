#include "kernel/supervise/names.hpp"

#include <mutex>
#include <shared_mutex>
#include <unordered_map>

namespace holdfast::supervise {
namespace {

constexpr std::size_t shard_count = 16;

struct string_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept { return std::hash<std::string_view>{}(s); }
};

error unknown(std::string_view id) { return {errc::not_found, "nothing is registered as \"" + std::string(id) + "\""}; }
error ended(std::string_view id) { return {errc::stale, "that incarnation of \"" + std::string(id) + "\" has ended"}; }

}  // namespace

struct name_registry::shard {
    mutable std::shared_mutex mutex;
    std::unordered_map<std::string, actor_ref, string_hash, std::equal_to<>> names;
};

static std::size_t shard_of(std::string_view id) { return string_hash{}(id) % shard_count; }

name_registry::name_registry() : shards_(std::make_unique<shard[]>(shard_count)) {}
name_registry::~name_registry() = default;

result<void> name_registry::add(std::string_view id, actor_ref who) {
    actor_ref previous;  // released outside the lock: it may be the last reference
    auto& s = shards_[shard_of(id)];
    std::unique_lock lock(s.mutex);
    if (auto it = s.names.find(id); it != s.names.end()) {
        if (it->second->alive()) return fail(errc::already_exists, "\"" + std::string(id) + "\" is registered already");
        previous = std::exchange(it->second, std::move(who));
    } else {
        s.names.emplace(std::string(id), std::move(who));
    }
    return {};
}

void name_registry::remove(std::string_view id, std::uint64_t incarnation) {
    actor_ref previous;
    auto& s = shards_[shard_of(id)];
    std::unique_lock lock(s.mutex);
    if (auto it = s.names.find(id); it != s.names.end() && it->second.incarnation() == incarnation) {
        previous = std::move(it->second);
        s.names.erase(it);
    }
}

result<actor_ref> name_registry::find(std::string_view id) const {
    const auto& s = shards_[shard_of(id)];
    std::shared_lock lock(s.mutex);
    const auto it = s.names.find(id);
    if (it == s.names.end()) return tl::unexpected<error>(unknown(id));
    if (!it->second->alive()) return tl::unexpected<error>(ended(id));
    return it->second;
}

result<actor_ref> name_registry::find(std::string_view id, std::uint64_t incarnation) const {
    auto found = find(id);
    if (found && found->incarnation() != incarnation) return tl::unexpected<error>(ended(id));
    return found;
}

std::size_t name_registry::size() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < shard_count; ++i) {
        std::shared_lock lock(shards_[i].mutex);
        n += shards_[i].names.size();
    }
    return n;
}

}  // namespace holdfast::supervise
