#pragma once
// Words of HTTP and of untrusted JSON. Pure.
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

bool valid_header_name(std::string_view name);
/// Printable, no control character but tab: nothing that could begin another header.
bool valid_header_value(std::string_view value);
bool same_name(std::string_view a, std::string_view b);  ///< without regard to ASCII case

/// `text/event-stream; charset=utf-8` → `text/event-stream`, in lower case.
std::string media_type(std::string_view content_type);

/// Retry-After: seconds or an HTTP date, seen from `now`. Dates in the past are 0.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, std::chrono::system_clock::time_point now);

std::string base64(std::string_view bytes);

/// True when no object or array in `json` is nested deeper than `limit`. Looks at brackets only; costs no stack.
bool json_depth_within(std::string_view json, std::size_t limit);
inline constexpr std::size_t max_json_depth = 64;

/// At most `bytes` bytes of `text`, cut at a character, control characters as spaces: fit for a sentence.
std::string excerpt(std::string_view text, std::size_t bytes);

}  // namespace holdfast::net
