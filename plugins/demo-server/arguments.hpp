#pragma once
#include <optional>
#include <string>

#include "kernel/core/json.hpp"

namespace holdfast::demo {

/// Checks arguments against the flat part of a tool's inputSchema: type, required, enum, minimum, maximum, minLength,
/// maxLength and additionalProperties: false. Our own schemas use nothing else. Returns what is wrong, in one sentence.
std::optional<std::string> check_arguments(const json& schema, const json& arguments);

}  // namespace holdfast::demo
