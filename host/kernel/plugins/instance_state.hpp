#pragma once
// The life of one plugin instance as a pure state machine. Time comes in; what to do comes out.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/clock.hpp"

namespace holdfast::plugins {

enum class instance_phase : std::uint8_t {
    discovered,   ///< a file is known (or looked for)
    verified,
    loaded,
    created,
    ready,        ///< after init
    active,       ///< after start: the only phase that is resolved to
    quiescing,
    stopped,
    retired,      ///< removed; its generation stays mapped
    backoff,      ///< waiting before the next attempt
    quarantined,  ///< not started again before the expiry or a person's command
    failed,       ///< its last attempt failed
};
inline constexpr std::size_t instance_phase_count = 12;
std::string_view to_string(instance_phase p) noexcept;  ///< "discovered" … as in the API

}  // namespace holdfast::plugins
