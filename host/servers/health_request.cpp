#include "servers/health_request.hpp"

namespace holdfast::servers {
namespace {
constexpr std::size_t shown_bytes = 200;  // of each side of a difference

std::string shown(const json& v) {
    std::string text = dump(v);
    if (text.size() <= shown_bytes) return text;
    std::size_t end = shown_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // between characters
    return text.substr(0, end) + "…";
}
}  // namespace

bool holds(const json& whole, const json& part) {
    if (part.is_object()) {
        if (!whole.is_object()) return false;
        for (const auto& [key, value] : part.items())
            if (!whole.contains(key) || !holds(whole[key], value)) return false;
        return true;
    }
    if (part.is_array()) {
        if (!whole.is_array() || whole.size() < part.size()) return false;
        for (std::size_t i = 0; i < part.size(); ++i)
            if (!holds(whole[i], part[i])) return false;
        return true;
    }
    return whole == part;
}

result<void> health_request::judge(const json& answer) const {
    if (expect.is_null() || holds(answer, expect)) return {};
    return fail(errc::protocol_error, "the answer to " + string_or(request, "method") + " is not as \"expect\" wants it: expected " + shown(expect) + ", got " + shown(answer));
}

result<health_request> health_request_from(const json& given) {
    health_request out;
    if (given.is_null()) return out;
    if (!given.is_object()) return fail(errc::config_invalid, "must be an object");
    const json& tool = member(given, "tool");
    const json& method = member(given, "method");
    const json& params = member(given, tool.is_null() ? "params" : "arguments");
    const std::string wanted = tool.is_null() ? "method" : "tool";
    if (!tool.is_null() && !method.is_null()) return fail(errc::config_invalid, "must name a \"tool\" or a \"method\", not both");
    if (string_or(given, wanted.c_str()).empty()) return fail(errc::config_invalid, "must name a \"tool\" or a \"method\"");
    if (!params.is_null() && !params.is_object()) return fail(errc::config_invalid, tool.is_null() ? "has \"params\" that are no object" : "has \"arguments\" that are no object");
    for (const auto& [key, value] : given.items())
        if (key != wanted && key != "expect" && key != "jsonrpc" && key != (tool.is_null() ? "params" : "arguments"))
            return fail(errc::config_invalid, "does not know \"" + key + "\"");
    out.expect = member(given, "expect");
    if (tool.is_null()) {
        out.request = {{"method", method}};
        if (!params.is_null()) out.request["params"] = params;
    } else {
        out.request = {{"method", "tools/call"}, {"params", {{"name", tool}, {"arguments", params.is_null() ? json::object() : params}}}};
    }
    return out;
}

}  // namespace holdfast::servers
