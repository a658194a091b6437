#pragma once
// Which URIs an RFC 6570 template may stand for. Pure; linear in the URI for each expression.
#include <string_view>

namespace holdfast::mcp::gateway {

/// {x} stands for one segment (at least one character, no '/'), every other expression for anything.
bool matches(std::string_view uri_template, std::string_view uri);
/// Characters outside of expressions: the more, the more particular.
std::size_t literal_length(std::string_view uri_template);
/// "file" of "file:///x"; empty if there is none.
std::string_view scheme_of(std::string_view uri);

}  // namespace holdfast::mcp::gateway
