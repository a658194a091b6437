#pragma once
#include <cstdint>
#include <string>

#include "kernel/core/result.hpp"

namespace holdfast::demo {

struct clock_reading {
    std::string utc;       ///< RFC 3339 with Z
    std::string local;     ///< RFC 3339 with the zone's offset
    std::string sentence;  ///< "It is 07:38:08 on Saturday, 21 November 2026 in Europe/Berlin (UTC+01:00)."
    std::int64_t unix_ms = 0;
};

/// The time now; `zone` is an IANA name, empty = UTC. [any thread]
/// Errors: invalid_argument for a zone the system does not know.
result<clock_reading> read_clock(const std::string& zone);

}  // namespace holdfast::demo
