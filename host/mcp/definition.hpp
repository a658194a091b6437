#pragma once
// Tool definitions: what makes one acceptable, and the hash that pins it.
#include <string>

#include "kernel/core/json.hpp"

namespace holdfast::mcp {

inline constexpr std::size_t max_tool_name_bytes = 256;
inline constexpr std::size_t max_definition_bytes = 256u << 10;

/// SHA-256 in hexadecimal over the canonical JSON (sorted keys, no spaces) of the definition without its `_meta`.
std::string definition_hash(const json& definition);
/// Checks name, inputSchema and every x-mcp-header annotation (spec: transports/streamable-http, custom headers).
/// Errors: protocol_error, with the reason to log.
result<void> check_tool(const json& definition);

}  // namespace holdfast::mcp
