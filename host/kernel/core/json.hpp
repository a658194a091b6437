#pragma once
// JSON from outside the process: bounded before it becomes a DOM (limits: architecture, "Limits on input").
#include <nlohmann/json.hpp>
#include <string_view>

#include "kernel/core/result.hpp"

namespace holdfast {

using json = nlohmann::json;

inline constexpr std::size_t json_max_depth = 64;

/// Parses untrusted text. Errors: invalid_argument, with the byte offset. Never throws.
/// The depth is checked before any node is allocated: a DOM 100,000 levels deep cannot even be destroyed safely.
result<json> parse_json(std::string_view text, std::size_t max_depth = json_max_depth);

/// Serialises with invalid UTF-8 replaced, so that bytes from a peer can never make dump() throw.
std::string dump(const json& value);

/// Field access that cannot throw: the fallback when absent or of another type.
std::string string_or(const json& object, std::string_view key, std::string_view fallback = {});
std::int64_t int_or(const json& object, std::string_view key, std::int64_t fallback);
double number_or(const json& object, std::string_view key, double fallback);
bool bool_or(const json& object, std::string_view key, bool fallback);
/// The member, or a shared null.
const json& member(const json& object, std::string_view key);

}  // namespace holdfast
