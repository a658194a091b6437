#pragma once
// notifications/resources/updated names a resource that "might be a sub-resource of the one that the client actually
// subscribed to". The protocol does not say what makes one; here it is the path: whatever follows the URI after a '/'.
#include <string_view>

namespace holdfast::mcp {

/// An update of `uri` concerns whoever knows `parent`: it is the same one, or lies below it.
constexpr bool is_at_or_below(std::string_view uri, std::string_view parent) noexcept {
    if (parent.empty() || !uri.starts_with(parent)) return false;
    return uri.size() == parent.size() || parent.back() == '/' || uri[parent.size()] == '/';
}

}  // namespace holdfast::mcp
