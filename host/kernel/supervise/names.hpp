#pragma once
// Names of actors. A name resolves to one incarnation; the dead one it meant before answers `stale` (S10).
#include <memory>
#include <string>
#include <string_view>

#include "kernel/supervise/actor.hpp"

namespace holdfast::supervise {

/// [any thread] Sharded; no callback is ever made while a shard is locked.
class name_registry {
  public:
    name_registry();
    ~name_registry();
    /// Replaces an incarnation that has ended. Errors: already_exists when a live one has the name.
    result<void> add(std::string_view id, actor_ref who);
    /// Nothing happens when the name means another incarnation by now.
    void remove(std::string_view id, std::uint64_t incarnation);
    /// Errors: not_found; stale when the incarnation it means has ended and no replacement has registered yet.
    result<actor_ref> find(std::string_view id) const;
    /// Errors: not_found; stale when that incarnation is not the one the name means now, or has ended.
    result<actor_ref> find(std::string_view id, std::uint64_t incarnation) const;
    /// Unchecked cast: the caller knows what is registered under that name.
    template <class A>
    result<ref<A>> find_as(std::string_view id) const {
        auto found = find(id);
        if (!found) return tl::unexpected<error>(std::move(found.error()));
        return ref_cast<A>(*found);
    }
    std::size_t size() const;

  private:
    struct shard;
    std::unique_ptr<shard[]> shards_;
};

}  // namespace holdfast::supervise
