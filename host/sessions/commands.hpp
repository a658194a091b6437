#pragma once
// What is typed after a slash: split, and expanded through the user's aliases. Pure.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/result.hpp"

namespace holdfast::sessions {

inline constexpr unsigned max_alias_depth = 8;
inline constexpr std::size_t max_alias_bytes = 4096;

struct command_line {
    std::string name;                ///< "model", without the slash; empty: not a command but a message
    std::string rest;                ///< everything after the name, trimmed; for a message, all of it
    std::vector<std::string> words;  ///< of rest
};

using alias_table = std::map<std::string, std::string>;

bool is_builtin(std::string_view name);
/// The help text; the aliases are listed after the commands.
std::string help_text(const alias_table& aliases);
/// Expands aliases until a command of ours or a message is left. "$*" in an expansion stands for what was typed after the
/// alias, "$1" … "$9" for single words; without either it is appended. Errors: command_not_found; invalid_argument (a loop).
result<command_line> expand(std::string_view typed, const alias_table& aliases);
/// Errors: invalid_argument: the name is one of ours, or has other characters than letters, digits, - and _.
result<void> check_alias(std::string_view name, std::string_view expansion);

}  // namespace holdfast::sessions
