#pragma once
// Results for people: tables and trees on stdout.
#include <string>

#include "kernel/core/json.hpp"

namespace holdfast::app {

/// Terminal control characters of `text` replaced: what comes from servers and models must not move the cursor.
std::string printable(std::string_view text, bool keep_newlines = false);

/// The human form of a listing method's result.
void print_result(const std::string& method, const json& result);

std::string human_duration(std::int64_t ms);  ///< "3m 12s"

}  // namespace holdfast::app
