#pragma once
// Where a plugin runs, and what it may use there.
#include <cstdint>
#include <string_view>

namespace holdfast::plugins {

/// "isolation" of one plugin: the same file, hosted here or in a process of its own.
enum class isolation_mode : std::uint8_t { in_process, process };
std::string_view to_string(isolation_mode m) noexcept;  ///< "in-process", "process", as in the configuration

/// "limits" of a plugin in its own process.
struct runner_limits {
    std::uint64_t memory_mb = 500;  ///< resident, the runner and what it started; 0: none
    std::uint32_t descriptors = 1024;
    std::uint32_t cpu_percent = 0;  ///< of one core, on average over 10 s; 0: none
    bool operator==(const runner_limits&) const = default;
};

}  // namespace holdfast::plugins
