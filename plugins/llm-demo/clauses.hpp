#pragma once
// One message may ask for several things: "what time is it and echo hi".
#include <string>
#include <string_view>
#include <vector>

namespace llm_demo {

std::string lower(std::string_view s);
std::string_view trim(std::string_view s);
/// Case-insensitive; `word` in lower case.
bool starts_with_word(std::string_view s, std::string_view word);
bool has_word(std::string_view s, std::string_view word);

/// Cut where a part begins that is a request by itself; "add 2 and 3" stays whole.
std::vector<std::string> clauses_of(std::string_view message, bool (*is_request)(std::string_view));

}  // namespace llm_demo
