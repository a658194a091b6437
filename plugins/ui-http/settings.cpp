#include "ui-http/settings.hpp"

#include <algorithm>

#include "holdfast/status.hpp"
#include "ui-http/json_text.hpp"

namespace holdfast::ui_http {
namespace {
[[noreturn]] void wrong(std::string message) { throw sdk::plugin_error(HF_E_INVALID, std::move(message)); }

std::vector<std::string> lower_strings(const json& value, const char* name) {
    std::vector<std::string> out;
    if (value.is_null()) return out;
    if (!value.is_array()) wrong(std::string(name) + ": expected an array of strings");
    for (const json& item : value) {
        if (!item.is_string()) wrong(std::string(name) + ": expected an array of strings");
        std::string text = item.get<std::string>();
        for (char& c : text)
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
        while (!text.empty() && text.back() == '/') text.pop_back();
        out.push_back(std::move(text));
    }
    return out;
}
}  // namespace

settings read_settings(std::string_view json_text) {
    settings s;
    const auto parsed = parse_json(json_text.empty() ? "{}" : json_text);
    if (!parsed || !parsed->is_object()) wrong("settings: expected an object");
    const std::string listen = string_or(*parsed, "listen", "127.0.0.1:7777");
    const auto address = web::parse_listen(listen);
    if (!address) wrong("listen: expected \"ADDRESS:PORT\" such as \"127.0.0.1:7777\" or \"[::1]:0\", found \"" + listen + "\"");
    s.listen = *address;
    const std::string mode = string_or(member(*parsed, "auth"), "mode", "token");
    if (mode != "token" && mode != "none") wrong("auth.mode: expected \"token\" or \"none\", found \"" + mode + "\"");
    s.token_auth = mode == "token";
    if (!s.token_auth && !s.loopback())
        wrong("auth.mode \"none\" is allowed on a loopback address only, and listen is \"" + listen +
              "\": anyone who reaches it could use every tool; set auth.mode to \"token\" or listen to 127.0.0.1");
    s.allowed_origins = lower_strings(member(*parsed, "allowed_origins"), "allowed_origins");
    for (const auto& origin : s.allowed_origins)
        if (origin.rfind("http://", 0) != 0 && origin.rfind("https://", 0) != 0)
            wrong("allowed_origins: expected origins such as \"https://chat.example\", found \"" + origin + "\"");
    s.allowed_hosts = lower_strings(member(*parsed, "allowed_hosts"), "allowed_hosts");
    for (const auto& host : s.allowed_hosts)
        if (!web::parse_authority(host)) wrong("allowed_hosts: expected names such as \"chat.example\", found \"" + host + "\"");
    const auto integer = [](const json& in, const char* key, const char* name, long fallback, long low, long high) {
        const json& v = member(in, key);
        if (v.is_null()) return fallback;
        if (!v.is_number_integer() || v.get<std::int64_t>() < low || v.get<std::int64_t>() > high)
            wrong(std::string(name) + ": expected an integer from " + std::to_string(low) + " to " + std::to_string(high));
        return v.get<long>();
    };
    const auto number = [&](const char* key, long fallback, long low, long high) { return integer(*parsed, key, key, fallback, low, high); };
    s.limits.max_connections = static_cast<std::size_t>(number("max_connections", 1000, 1, 100'000));
    s.message_rate = static_cast<int>(number("message_rate", 10, 1, 100'000));
    s.limits.ping_time = std::chrono::seconds(number("ping_s", 60, 2, 3600));
    s.threads = static_cast<int>(number("threads", 2, 1, 16));
    const json& limits = member(*parsed, "limits");
    if (!limits.is_null() && !limits.is_object()) wrong("limits: expected an object");
    const auto bytes = [&](const char* key, const char* name, std::size_t& to, long low, long high) {
        to = static_cast<std::size_t>(integer(limits, key, name, static_cast<long>(to), low, high));
    };
    const auto time = [&](const char* key, const char* name, std::chrono::milliseconds& to, long low, long high) {
        to = std::chrono::milliseconds(integer(limits, key, name, static_cast<long>(to.count()), low, high));
    };
    bytes("body_bytes", "limits.body_bytes", s.limits.body_bytes, 1024, 16 << 20);
    bytes("websocket_message_bytes", "limits.websocket_message_bytes", s.limits.message_bytes, 1024, 16 << 20);
    bytes("header_bytes", "limits.header_bytes", s.limits.header_bytes, 1024, 32 << 10);  // half of the server's read buffer
    time("header_ms", "limits.header_ms", s.limits.header_time, 100, 600'000);
    bytes("queue_bytes", "limits.queue_bytes", s.limits.queue_bytes, 16 << 10, static_cast<long>(s.limits.reply_queue_bytes / 2));  // answers go beyond it
    time("stuck_ms", "limits.stuck_ms", s.limits.stuck_time, 100, 600'000);
    const json& mcp = member(*parsed, "mcp");
    if (const json& enabled = member(mcp, "enabled"); enabled.is_boolean()) s.mcp.enabled = enabled.get<bool>();
    for (auto [key, to] : {std::pair{"websocket", &s.mcp.websocket}, std::pair{"sse", &s.mcp.sse}})
        if (const json& on = member(mcp, key); on.is_boolean()) *to = on.get<bool>();
    s.mcp.path = string_or(mcp, "path", s.mcp.path);
    if (s.mcp.path.size() < 2 || s.mcp.path.front() != '/' || s.mcp.path.find_first_of("?# ") != std::string::npos)
        wrong("mcp.path: expected a path such as \"/mcp\", found \"" + s.mcp.path + "\"");
    for (const char* taken : {"/api/", "/auth/", "/ws"})
        if (s.mcp.path.rfind(taken, 0) == 0) wrong("mcp.path: \"" + s.mcp.path + "\" belongs to the API; choose another path");
    if (const json& rate = member(mcp, "rate"); rate.is_number_integer()) s.mcp.rate = static_cast<int>(std::clamp<std::int64_t>(rate.get<std::int64_t>(), 0, 1'000'000));
    return s;
}

}  // namespace holdfast::ui_http
