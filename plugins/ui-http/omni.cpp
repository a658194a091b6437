#include "ui-http/omni.hpp"

namespace holdfast::ui_http::omni {
namespace {
json or_default(const json& row, std::string_view key, json fallback) {
    const json& v = member(row, key);
    return v.is_null() ? fallback : v;
}
std::string health_status(const json& row) { return string_or(row, "status", "disconnected"); }
json list_of(const json& value) { return value.is_array() ? value : json::array(); }
}  // namespace

json servers(const json& server_list) {
    json rows = json::array();
    for (const json& row : list_of(member(server_list, "servers"))) {
        json out{{"name", string_or(row, "name")},
                 {"mcp_name", string_or(row, "name")},
                 {"health_status", health_status(row)},
                 {"circuit_state", or_default(row, "circuit_state", "closed")},
                 {"consecutive_failures", or_default(row, "consecutive_failures", 0)},
                 {"last_recovery_attempt", member(row, "last_recovery_attempt")},
                 {"total_downtime_seconds", or_default(row, "total_downtime_seconds", 0)},
                 {"recovery_eta", member(row, "recovery_eta")},
                 {"last_check", member(row, "last_check")},
                 {"reason", member(row, "reason")},
                 {"transport", member(row, "transport")},
                 {"protocol_version", member(row, "protocol_version")},
                 {"enabled", or_default(row, "enabled", health_status(row) != "disabled")}};
        const json& tools = member(row, "tools");
        out["tool_count"] = tools.is_array() ? json(tools.size()) : tools.is_number() ? tools : json(0);
        rows.push_back(std::move(out));
    }
    const std::size_t n = rows.size();
    return {{"servers", std::move(rows)}, {"count", n}};
}

json capabilities(const json& server_list, const json& tool_list) {
    json out = json::object();
    for (const json& row : list_of(member(server_list, "servers"))) {
        const std::string name = string_or(row, "name");
        if (name.empty()) continue;
        out[name] = {{"health_status", health_status(row)},
                     {"tools", json::array()},
                     {"prompts", list_of(member(row, "prompts"))},
                     {"resources", list_of(member(row, "resources"))}};
    }
    for (const json& tool : list_of(member(tool_list, "tools"))) {
        const std::string server = string_or(tool, "server");
        if (server.empty()) continue;
        if (!out.contains(server)) out[server] = {{"health_status", "healthy"}, {"tools", json::array()}, {"prompts", json::array()}, {"resources", json::array()}};
        json shape{{"name", string_or(tool, "name")},
                   {"description", string_or(tool, "description")},
                   {"inputSchema", or_default(tool, "input_schema", json::object())}};
        for (const char* key : {"title", "annotations"})
            if (!member(tool, key).is_null()) shape[key] = member(tool, key);
        out[server]["tools"].push_back(std::move(shape));
    }
    return {{"capabilities", std::move(out)}, {"version", member(tool_list, "version")}};
}

json call_params(const json& body, std::string& why) {
    const auto first = [&](std::initializer_list<const char*> keys) -> const json& {
        static const json null;
        for (const char* key : keys)
            if (!member(body, key).is_null()) return member(body, key);
        return null;
    };
    const json& server = first({"server", "mcp_name", "server_name"});
    const json& tool = first({"tool", "tool_name"});
    const json& arguments = first({"arguments", "parameters"});
    if (!server.is_string()) why = "expected \"server\" (or \"mcp_name\"): the name of an MCP server";
    else if (!tool.is_string()) why = "expected \"tool\" (or \"tool_name\"): the name of one of its tools";
    else if (!arguments.is_null() && !arguments.is_object()) why = "\"arguments\": expected an object";
    if (!why.empty()) return nullptr;
    json params{{"server", server}, {"tool", tool}, {"arguments", arguments.is_null() ? json::object() : arguments}};
    if (const json& t = member(body, "timeout_ms"); t.is_number_integer()) params["timeout_ms"] = t;
    return params;
}

json call_answer(const json& params, json result) {
    const json& failed = member(result, "isError");
    return {{"server", params["server"]},     {"tool", params["tool"]},
            {"mcp_name", params["server"]},   {"tool_name", params["tool"]},
            {"success", !(failed.is_boolean() && failed.get<bool>())}, {"result", std::move(result)}};
}

}  // namespace holdfast::ui_http::omni
