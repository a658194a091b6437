#pragma once
// JSON from clients and from the host: bounded before it becomes a DOM, never throwing.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::ui_http {

using json = nlohmann::json;
inline constexpr std::size_t json_max_depth = 64;

/// nullopt, and why, when the text is not JSON or nests too deep.
std::optional<json> parse_json(std::string_view text, std::string* why = nullptr);
/// Invalid UTF-8 is replaced.
std::string dump(const json& value);
/// The member of an object, or a shared null.
const json& member(const json& object, std::string_view key);
std::string string_or(const json& object, std::string_view key, std::string_view fallback = {});

}  // namespace holdfast::ui_http
