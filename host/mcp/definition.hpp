#pragma once
// Tool definitions: what makes one acceptable, and the hash that pins it.
#include <string>

#include "kernel/core/json.hpp"

namespace holdfast::mcp {

inline constexpr std::size_t max_tool_name_bytes = 256;
inline constexpr std::size_t max_definition_bytes = 256u << 10;

/// SHA-256 in hexadecimal over the canonical JSON (sorted keys, no spaces) of the definition without its `_meta`.
std::string definition_hash(const json& definition);
/// Makes an entry of a tools, prompts, resources or templates list what the schemas of both eras say, where servers are known to be
/// careless: members that are null go, an inputSchema without a type is one of an object. A client refuses the whole list for one entry.
/// Errors: protocol_error, with the reason to log: a member of another type than it has to be.
result<void> tidy_definition(json& definition);
/// Checks name, inputSchema and every x-mcp-header annotation (spec: transports/streamable-http, custom headers).
/// Errors: protocol_error, with the reason to log.
result<void> check_tool(const json& definition);

}  // namespace holdfast::mcp
