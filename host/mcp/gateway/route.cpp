#include "mcp/gateway/route.hpp"

#include <array>

#include "mcp/gateway/text.hpp"

namespace holdfast::mcp::gateway {
namespace {

constexpr int legacy_resource_not_found = -32002;

rpc_error invalid(std::string why) { return {rpc_code::invalid_params, std::move(why), {}}; }

routed list(const offer& from, const dialect& to, list_kind kind, const json& params) {
    const json& cursor = member(params, "cursor");
    if (!cursor.is_null() && !cursor.is_string()) return invalid("cursor must be a string");
    auto text = from.page(kind, to, cursor.is_string() ? cursor.get_ref<const std::string&>() : std::string());
    if (!text) return invalid(text.error().message);
    return std::move(*text);
}

routed named(const offer& from, const std::string& method, json params) {
    const bool tool = method == "tools/call";
    const json& name = member(params, "name");
    if (!name.is_string()) return invalid("name must be a string");
    if (const json& a = member(params, "arguments"); !a.is_null() && !a.is_object()) return invalid("arguments must be an object");
    const auto& text = name.get_ref<const std::string&>();
    const auto* entry = tool ? from.tool(text) : from.prompt(text);
    if (!entry) return invalid((tool ? "Unknown tool: " : "Unknown prompt: ") + text);
    if (entry->held)
        return invalid("the definition of '" + text + "' has changed since it was approved; an administrator has to approve it again (holdfast gateway pins)");
    params["name"] = entry->name;
    params.erase("task");  // nobody was told that tasks are understood here: it is a request like any other
    return upstream_request{entry->server, method, std::move(params)};
}

routed read(const offer& from, const dialect& to, const std::string& method, json params) {
    const json& uri = member(params, "uri");
    if (!uri.is_string()) return invalid("uri must be a string");
    const auto* server = from.resource_server(uri.get_ref<const std::string&>());
    if (!server)
        return rpc_error{to.modern() ? rpc_code::invalid_params : legacy_resource_not_found, "Resource not found: " + uri.get<std::string>(), {{"uri", uri}}};
    return upstream_request{*server, method, std::move(params)};
}

routed complete(const offer& from, const std::string& method, json params) {
    const json& argument = member(params, "argument");
    if (!member(argument, "name").is_string() || !member(argument, "value").is_string()) return invalid("argument needs a name and a value, both strings");
    const json& ref = member(params, "ref");
    const std::string type = string_or(ref, "type");
    if (type == "ref/prompt") {
        const auto* entry = from.prompt(string_or(ref, "name"));
        if (!entry) return invalid("Unknown prompt: " + string_or(ref, "name"));
        std::string server = entry->server;
        params["ref"]["name"] = entry->name;
        return upstream_request{std::move(server), method, std::move(params)};
    }
    if (type != "ref/resource") return invalid("ref is neither a ref/prompt nor a ref/resource");
    const auto* server = from.template_server(string_or(ref, "uri"));
    if (!server) return invalid("Unknown resource template: " + string_or(ref, "uri"));
    return upstream_request{*server, method, std::move(params)};
}

std::string_view named_by(const std::string& method) {
    if (method == "tools/call" || method == "prompts/get") return "name";
    return method == "resources/read" ? "uri" : std::string_view{};
}

rpc_error mismatch(std::string why) { return {rpc_code::header_mismatch, "Header mismatch: " + std::move(why), {}}; }

std::string lower(std::string_view s) {
    std::string out(s);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return out;
}

std::optional<std::string> base64(std::string_view text) {
    static const auto values = [] {
        std::array<int, 256> v{};
        v.fill(-1);
        constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (std::size_t i = 0; i < alphabet.size(); ++i) v[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
        return v;
    }();
    if (text.size() % 4 != 0) return {};
    std::size_t padding = 0;
    while (padding < 2 && !text.empty() && text.back() == '=') {
        text.remove_suffix(1);
        ++padding;
    }
    std::string out;
    std::uint32_t bits = 0;
    int have = 0;
    for (unsigned char c : text) {
        if (values[c] < 0) return {};
        bits = (bits << 6) | static_cast<std::uint32_t>(values[c]);
        if ((have += 6) >= 8) out += static_cast<char>((bits >> (have -= 8)) & 0xff);
    }
    return out;
}

/// Integers by value, everything else by its text.
bool same(const json& value, const std::string& header) {
    if (value.is_string()) return value.get_ref<const std::string&>() == header;
    if (value.is_boolean()) return header == (value.get<bool>() ? "true" : "false");
    if (!value.is_number() || header.empty()) return false;
    if (value.is_number_integer() && dump(value) == header) return true;  // exact, also beyond 2^53
    char* end = nullptr;
    const double number = std::strtod(header.c_str(), &end);
    return end == header.c_str() + header.size() && number == value.get<double>();
}

}  // namespace

routed route(const offer& from, const dialect& to, const std::string& method, json params) {
    if (!params.is_object()) params = json::object();
    if (method == "tools/call" || method == "prompts/get") return named(from, method, std::move(params));
    if (method == "tools/list") return list(from, to, list_kind::tools, params);
    if (method == "prompts/list") return list(from, to, list_kind::prompts, params);
    if (method == "resources/list") return list(from, to, list_kind::resources, params);
    if (method == "resources/templates/list") return list(from, to, list_kind::templates, params);
    if (method == "resources/read") return read(from, to, method, std::move(params));
    if (method == "completion/complete") return complete(from, method, std::move(params));
    if (method == "server/discover" && to.modern()) return from.discover();
    return rpc_error{rpc_code::method_not_found, "Method not found: " + method, {}};
}

bool is_modern_message(const std::string& method, const json& params, const request_headers& headers, bool in_session) {
    if (member(params, "_meta").contains(meta::protocol_version)) return true;
    if (headers.version && !is_legacy(*headers.version) && !in_session) return true;
    return method == "server/discover" && !in_session;
}

std::optional<rpc_error> check_modern(const std::string& method, const json& params, const request_headers& headers) {
    const json& m = member(params, "_meta");
    const json& version = member(m, meta::protocol_version);
    if (!version.is_string()) return invalid("params._meta has no io.modelcontextprotocol/protocolVersion");
    const auto& stated = version.get_ref<const std::string&>();
    if (headers.present) {
        if (!headers.version) return mismatch("MCP-Protocol-Version is missing");
        if (*headers.version != stated) return mismatch("MCP-Protocol-Version '" + *headers.version + "' does not match the body's '" + stated + "'");
    }
    if (!is_modern(stated))
        return rpc_error{rpc_code::unsupported_version, "Unsupported protocol version", {{"supported", {modern_version}}, {"requested", stated}}};
    if (!member(m, meta::client_capabilities).is_object()) return invalid("params._meta has no io.modelcontextprotocol/clientCapabilities object");
    if (const json& info = member(m, meta::client_info); !info.is_null() && !info.is_object()) return invalid("io.modelcontextprotocol/clientInfo is not an object");
    if (const json& level = member(m, meta::log_level); !level.is_null() && (!level.is_string() || log_severity(level.get_ref<const std::string&>()) < 0))
        return invalid("io.modelcontextprotocol/logLevel is not a log level");
    if (const json& token = member(m, "progressToken"); !token.is_null() && !token.is_string() && !token.is_number_integer())
        return invalid("progressToken is neither a string nor an integer");
    if (!headers.present) return {};
    if (!headers.method) return mismatch("Mcp-Method is missing");
    if (*headers.method != method) return mismatch("Mcp-Method '" + *headers.method + "' does not match the body's '" + method + "'");
    const auto key = named_by(method);
    if (key.empty()) return {};
    if (!headers.name) return mismatch("Mcp-Name is missing");
    const auto name = header_value(*headers.name);
    if (!name) return mismatch("Mcp-Name is malformed");
    if (const json& body = member(params, key); !body.is_string() || body.get_ref<const std::string&>() != *name)
        return mismatch("Mcp-Name '" + *name + "' does not match the body");
    return {};
}

std::optional<rpc_error> check_param_headers(const offer::entry& tool, const json& arguments, const request_headers& headers) {
    if (!headers.present || tool.headers.empty()) return {};
    std::map<std::string, std::string> sent;
    for (const auto& [name, value] : headers.params.items()) {
        std::string key = lower(name);
        if (key.rfind("mcp-param-", 0) == 0) key.erase(0, 10);
        if (value.is_string()) sent[key] = value.get<std::string>();
    }
    for (const auto& h : tool.headers) {
        const json* at = &arguments;
        for (const auto& step : h.path) at = &member(*at, step);
        const auto it = sent.find(h.header);
        if (at->is_null() && it == sent.end()) continue;
        if (it == sent.end()) return mismatch("Mcp-Param-" + h.header + " is missing");
        const auto value = header_value(it->second);
        if (!value) return mismatch("Mcp-Param-" + h.header + " is malformed");
        if (!same(*at, *value)) return mismatch("Mcp-Param-" + h.header + " '" + *value + "' does not match the arguments");
    }
    return {};
}

std::optional<std::string> header_value(std::string_view text) {
    constexpr std::string_view head = "=?base64?", tail = "?=";
    for (unsigned char c : text)
        if ((c < 0x20 && c != '\t') || c > 0x7e) return {};
    if (text.size() >= head.size() + tail.size() && text.substr(0, head.size()) == head && text.substr(text.size() - tail.size()) == tail)
        return base64(text.substr(head.size(), text.size() - head.size() - tail.size()));
    return std::string(text);
}

}  // namespace holdfast::mcp::gateway
