#pragma once
// application/x-www-form-urlencoded, both ways. Pure.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::oauth {

using fields = std::vector<std::pair<std::string, std::string>>;

std::string form_encode(std::string_view text);
std::string form_encode(const fields& all);

inline constexpr std::size_t max_form_fields = 64;
/// Empty when a percent sign is not followed by two hexadecimal digits, or there are too many fields.
std::optional<fields> form_decode(std::string_view text);

/// The only field of that name: none when it is missing, or there twice (RFC 6749, 3.1: parameters must not be repeated).
std::optional<std::string> sole(const fields& all, std::string_view name);
bool repeated(const fields& all, std::string_view name);

/// Words between spaces, in order, each once.
std::vector<std::string> words(std::string_view text);
std::string joined(const std::vector<std::string>& words);
void unite(std::vector<std::string>& into, const std::vector<std::string>& more);
bool includes(const std::vector<std::string>& all, const std::vector<std::string>& some);

}  // namespace holdfast::oauth
