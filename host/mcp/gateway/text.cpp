#include "mcp/gateway/text.hpp"

#include <algorithm>
#include <array>

namespace holdfast::mcp::gateway {
namespace {

constexpr int legacy_resource_not_found = -32002;  // replaced by invalid_params in the modern era
constexpr int gateway_failed = -32000;             // legacy range, no meaning attached: the server did not answer

bool cacheable(std::string_view method) { return method == "resources/read"; }

}  // namespace

int log_severity(std::string_view level) {
    static constexpr std::array<std::string_view, 8> names{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"};
    const auto it = std::find(names.begin(), names.end(), level);
    return it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

bool can_ask(const json& capabilities, std::string_view method, const json& params) {
    if (method == "roots/list") return capabilities.contains("roots");
    if (method == "sampling/createMessage") return capabilities.contains("sampling");
    if (method != "elicitation/create") return false;
    const json& e = member(capabilities, "elicitation");
    if (!e.is_object()) return false;
    if (string_or(params, "mode", "form") == "url") return e.contains("url");
    return e.empty() || e.contains("form");  // {} is how it was said before modes existed
}

json unasked(std::string_view method) {
    if (method == "elicitation/create") return {{"action", "decline"}};
    return {{"error", {{"code", rpc_code::method_not_found}, {"message", "the client does not support " + std::string(method)}}}};
}

std::string result_message(const json& id, std::string_view result) {
    std::string out = "{\"jsonrpc\":\"2.0\",\"id\":" + dump(id) + ",\"result\":";
    out.reserve(out.size() + result.size() + 1);
    out += result;
    return out += '}';
}

json id_of_unread(const json& message) {
    const json& id = member(message, "id");
    return member(message, "method").is_string() && (id.is_string() || id.is_number_integer()) ? id : json();
}

std::string error_message(const json& id, const rpc_error& e) { return encode_error(id, e); }

int status_of(const rpc_error& e) {
    switch (e.code) {
        case rpc_code::method_not_found: return 404;
        case rpc_code::parse_error:
        case rpc_code::invalid_request:
        case rpc_code::header_mismatch:
        case rpc_code::missing_capability:
        case rpc_code::unsupported_version: return 400;
        default: return 200;
    }
}

const json& server_info() {
    static const json info{{"name", "holdfast"}, {"title", "Holdfast"}, {"version", HOLDFAST_VERSION}};
    return info;
}

std::string present(const dialect& to, std::string_view method, json result) {
    if (to.modern()) {
        result["resultType"] = "complete";
        if (!member(result, "_meta").is_object()) result["_meta"] = json::object();
        result["_meta"][meta::server_info] = server_info();
        if (cacheable(method)) {
            if (int_or(result, "ttlMs", -1) < 0) result["ttlMs"] = 0;
            // Who may see it is decided here, by role: whatever the server thinks of its other clients.
            result["cacheScope"] = "private";
        }
        return dump(result);
    }
    for (const char* word : {"resultType", "ttlMs", "cacheScope"}) result.erase(word);
    if (const json& structured = member(result, "structuredContent"); method == "tools/call" && !structured.is_null() && !structured.is_object()) {
        if (!member(result, "content").is_array() || result["content"].empty()) result["content"] = json::array({{{"type", "text"}, {"text", dump(structured)}}});
        result.erase("structuredContent");  // an object in this era, or nothing
    }
    if (json own = member(result, "_meta"); own.is_object()) {
        own.erase(meta::server_info);
        if (own.empty()) result.erase("_meta");
        else result["_meta"] = std::move(own);
    }
    return dump(result);
}

rpc_error present_failure(const dialect& to, std::string_view server, const error& why, const std::optional<rpc_error>& answered) {
    if (answered) {
        rpc_error e = *answered;
        if (to.modern() && e.code == legacy_resource_not_found) e.code = rpc_code::invalid_params;
        // A refusal about versions and headers is between the gateway and that server; the client sent neither.
        if (e.code == rpc_code::header_mismatch || e.code == rpc_code::unsupported_version ||
            (!to.modern() && e.code == rpc_code::missing_capability))
            e.code = rpc_code::internal_error;
        return e;
    }
    json data{{"code", std::string(to_string(why.code))}, {"server", server}};
    if (why.retry_after.count() > 0) data["retry_after_ms"] = why.retry_after.count();
    const int code = why.code == errc::not_found || why.code == errc::invalid_argument ? rpc_code::invalid_params
                     : to.modern()                                                      ? rpc_code::internal_error
                                                                                        : gateway_failed;
    return {code, why.message, std::move(data)};
}

std::string progress_message(const json& token, const json& value) {
    json params = value;
    params["progressToken"] = token;
    return encode_notification("notifications/progress", params);
}

std::string notification_message(std::string_view method, const json& params) { return encode_notification(method, params); }

json request_body(const json& params) {
    if (!params.is_object()) return json::object();
    json body = params;
    for (const char* own : {"_meta", "inputResponses", "requestState"}) body.erase(own);
    return body;
}

}  // namespace holdfast::mcp::gateway
