#pragma once
// The OMNI2 shapes: what /api/v1/mcp/tools/* answers, made from the host's own rows. Pure.
#include "ui-http/json_text.hpp"

namespace holdfast::ui_http::omni {

/// server.list → {"servers":[{name, health_status, circuit_state, consecutive_failures, last_recovery_attempt,
/// total_downtime_seconds, tool_count, …}], "count"}.
json servers(const json& server_list);

/// server.list + tool.list → {"capabilities":{"<server>":{health_status, tools, prompts, resources}}, "version"}.
json capabilities(const json& server_list, const json& tool_list);

/// {server|mcp_name|server_name, tool|tool_name, arguments|parameters} → params of tool.call; null and why when it lacks something.
json call_params(const json& body, std::string& why);

/// CallToolResult → {server, tool, mcp_name, tool_name, success, result}.
json call_answer(const json& params, json result);

}  // namespace holdfast::ui_http::omni
