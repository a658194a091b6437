#include "api/mcp_settings.hpp"

#include "api/method_table.hpp"

namespace holdfast::api {
namespace {

mcp::gateway::visibility visibility_of(const json& v) {
    mcp::gateway::visibility out;
    out.expose = bool_or(v, "expose", true);
    out.tools = mcp::gateway::patterns(member(v, "tools"));
    out.prompts = mcp::gateway::patterns(member(v, "prompts"));
    out.resources = mcp::gateway::patterns(member(v, "resources"));
    return out;
}

std::size_t count_or(const json& from, const char* key, std::size_t fallback) {
    return static_cast<std::size_t>(std::max<std::int64_t>(int_or(from, key, static_cast<std::int64_t>(fallback)), 1));
}

milliseconds seconds_or(const json& from, const char* key, milliseconds fallback) {
    return milliseconds(static_cast<std::int64_t>(number_or(from, key, static_cast<double>(fallback.count()) / 1000) * 1000));
}

}  // namespace

mcp_settings mcp_settings::from(const json& section) {
    mcp_settings out;
    out.enabled = bool_or(section, "enabled", true);
    out.stdio = bool_or(section, "stdio", true);
    out.rules.prefix = string_or(section, "prefix", "server") != "none";
    out.rules.page_size = count_or(section, "page_size", out.rules.page_size);
    out.rules.instructions = string_or(section, "instructions");
    for (const auto& [name, v] : member(section, "servers").items()) out.rules.servers.emplace_back(name, visibility_of(v));
    const std::string pins = string_or(section, "pinning", "hold");
    out.pins = pins == "off" ? pinning::off : pins == "warn" ? pinning::warn : pinning::hold;
    const json& roles = member(section, "roles");
    for (role r : {role::viewer, role::op, role::admin}) {
        const json& v = member(roles, to_string(r));
        auto& mine = out.roles[static_cast<std::size_t>(r)];
        mine = visibility_of(v);
        // A viewer reads: as tool.call has it, calling takes an operator. Annotations of servers are hints and give no rights.
        if (r == role::viewer && !v.contains("tools")) mine.tools = mcp::gateway::patterns(json::array());
    }
    auto& l = out.limits;
    l.call_timeout = seconds_or(section, "call_timeout_s", l.call_timeout);
    const json& limits = member(section, "limits");
    out.max_sessions = count_or(limits, "sessions", out.max_sessions);
    out.max_sessions_per_user = count_or(limits, "sessions_per_user", out.max_sessions_per_user);
    out.max_requests_per_user = count_or(limits, "requests_per_user", out.max_requests_per_user);
    l.max_requests = count_or(limits, "requests_per_session", l.max_requests);
    l.max_subscriptions = count_or(limits, "subscriptions", l.max_subscriptions);
    l.max_replay_bytes = count_or(limits, "replay_bytes", l.max_replay_bytes);
    l.session_idle = seconds_or(limits, "session_idle_s", l.session_idle);
    l.input_wait = seconds_or(limits, "input_wait_s", l.input_wait);
    return out;
}

}  // namespace holdfast::api
