#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace holdfast {

/// A string that cannot be mistaken for another kind of id.
template <class Tag>
struct strong_id {
    std::string value;
    strong_id() = default;
    explicit strong_id(std::string v) : value(std::move(v)) {}
    explicit operator bool() const { return !value.empty(); }
    friend auto operator<=>(const strong_id&, const strong_id&) = default;
};

using session_id = strong_id<struct session_tag>;
using plugin_id = strong_id<struct plugin_tag>;

/// `prefix` + 20 characters from the kernel's random source (about 100 bits). [any thread]
std::string random_id(std::string_view prefix);
/// n random bytes in hexadecimal: tokens. [any thread]
std::string random_hex(std::size_t bytes);

}  // namespace holdfast

template <class Tag>
struct std::hash<holdfast::strong_id<Tag>> {
    std::size_t operator()(const holdfast::strong_id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.value); }
};
