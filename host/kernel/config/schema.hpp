#pragma once
// A validator for the part of JSON Schema 2020-12 that configurations use, made for its messages: every violation says where,
// what was expected, what was found, and which known name is nearest. (Why not a library: doc/adr/0002.)
//
// Keywords: type, properties, patternProperties (no), additionalProperties, required, enum, const, minimum, maximum, minLength,
// maxLength, pattern, items, minItems, maxItems, uniqueItems, oneOf, anyOf, allOf, if/then/else, not, $ref to #/$defs/…, default (see
// fill_defaults). Unknown keywords are annotations.
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::config {

struct violation {
    std::string pointer;  ///< of the offending value, or of the unknown member
    std::string message;
    bool at_key = false;  ///< the place is the member's name rather than its value
};

/// All violations, in document order, at most 50. Empty: valid. Never throws; a broken schema is a violation itself.
std::vector<violation> validate(const json& schema, const json& value, const std::string& base_pointer = {});

/// Sets absent members that have a "default" in the schema, recursively through properties.
void fill_defaults(const json& schema, json& value);

}  // namespace holdfast::config
