#pragma once
// Elicitation answers. Pure.
#include "kernel/core/json.hpp"

namespace holdfast::mcp {

/// An accepted answer to a form, completed: a property that the form gives a default and the answer leaves out gets it.
/// `params` are those of elicitation/create. Other answers, and URL mode, stay as they are.
json with_defaults(const json& params, json response);

}  // namespace holdfast::mcp
