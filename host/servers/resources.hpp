#pragma once
// Memory, processor share and descriptors of the servers' process trees, by one look at all of them together.
#include <cstdint>
#include <map>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/supervise/process.hpp"

namespace holdfast::servers {

inline constexpr seconds resource_period{10};  ///< between two looks at /proc

struct resource_usage {
    std::int64_t pid = 0;             ///< of the tree's first process
    std::uint64_t memory_bytes = 0;   ///< resident, of the whole tree
    double cpu_percent = 0;           ///< of one core, since the look before
    std::uint32_t processes = 0, descriptors = 0, sockets = 0;
    steady_time at{};                 ///< zero: never looked at
    json to_json() const;             ///< {"memory","cpu","processes","descriptors","sockets"}
};

/// Remembers the look before, for the share. [one thread at a time]
class resource_watch {
  public:
    /// pid of the tree's first process → its usage.
    std::map<std::int64_t, resource_usage> look(const std::vector<supervise::process_usage>& all, steady_time now);

  private:
    struct past {
        std::uint64_t cpu_ms;
        steady_time at;
    };
    std::map<std::int64_t, past> before_;
};

}  // namespace holdfast::servers
