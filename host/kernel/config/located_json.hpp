#pragma once
// Strict JSON with the place of every value: what an error message about a configuration file needs.
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::config {

struct place {
    std::size_t line = 1;    ///< from 1
    std::size_t column = 1;  ///< from 1, in code points
};

/// One thing wrong with a configuration. to_string: "file:line:column: /json/pointer: message".
struct problem {
    std::string file;
    place at;
    std::string pointer;  ///< RFC 6901; empty = the whole document, or not known (syntax)
    std::string message;  ///< what was expected, what was found, what to do
    std::string to_string() const;
    json to_json() const;
};

struct located_json {
    json value;
    std::map<std::string, place> values;  ///< pointer → where the value begins
    std::map<std::string, place> keys;    ///< pointer of a member → where its key begins
    /// Where the value at the pointer is, or its nearest ancestor that exists.
    place value_at(std::string_view pointer) const;
    place key_at(std::string_view pointer) const;
};

/// RFC 6901 escaping of one token.
std::string pointer_token(std::string_view key);

/// Parses strictly: no comments, no trailing commas, no duplicate keys, valid UTF-8, at most `max_depth` levels.
/// The problem names the place and what was expected there.
tl::expected<located_json, problem> parse_located(std::string_view text, std::string_view file,
                                                  std::size_t max_depth = json_max_depth);

}  // namespace holdfast::config
