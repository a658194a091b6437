#pragma once
// What can be known about a server before it is started (SRV-1).
#include "servers/server_spec.hpp"

namespace holdfast::servers {

/// "preset": "stdio" | "tcp" | "websocket" | "http" with "host" (127.0.0.1), "port" and "path" (/mcp) written out as "url"; "stdio"
/// asks for a "command". An entry without "preset" comes back as it is. Errors: config_invalid.
result<json> with_preset(const json& server);

/// The program and its directory are there, the address can be one. Looks at the file system, connects to nothing.
/// Errors: command_not_found, forbidden (not executable), not_found (the directory), invalid_argument (the address).
result<void> preflight(const server_spec& spec);

}  // namespace holdfast::servers
