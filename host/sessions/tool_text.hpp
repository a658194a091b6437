#pragma once
// Results of tools as data: bounded for the store, flattened to text for the model.
#include <string>
#include <string_view>

#include "kernel/core/json.hpp"

namespace holdfast::sessions {

/// A CallToolResult that reports an error in one sentence.
json error_result(std::string_view text);
/// The result as stored: whole, or its text cut to about max_bytes with a sentence that says so.
json bounded_result(const json& outcome, std::size_t max_bytes);
/// What the model reads: the text parts; other parts as a short note; structured content when there is no text.
std::string result_text(const json& outcome, std::size_t max_bytes);
/// The longest prefix of at most max_bytes that ends between characters.
std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes) noexcept;

}  // namespace holdfast::sessions
