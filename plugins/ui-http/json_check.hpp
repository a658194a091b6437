#pragma once
// Whether text is one JSON value, without building it: what is handed on as it came must not be more than it seems.
#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::ui_http {

/// Strict RFC 8259: one value, valid UTF-8, no object with the same key twice, nesting up to `depth`. Empty: it is; else what is wrong
/// and at which byte. Linear, but for the sorting of large objects' keys.
std::string json_problem(std::string_view text, std::size_t depth);

}  // namespace holdfast::ui_http
