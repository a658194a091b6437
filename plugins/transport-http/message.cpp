#include "transport-http/message.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::transport_http {
namespace {
using json = nlohmann::json;
constexpr const char* version_key = "io.modelcontextprotocol/protocolVersion";

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

json parsed(std::string_view text) {
    return net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
}
std::string dumped(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }
const json* member(const json& o, const char* key) {
    if (!o.is_object()) return nullptr;
    const auto it = o.find(key);
    return it == o.end() ? nullptr : &*it;
}
std::string text_of(const json* o, const char* key) {
    const json* m = o ? member(*o, key) : nullptr;
    return m && m->is_string() ? m->get<std::string>() : std::string();
}

bool plain(std::string_view v) {
    if (v.empty()) return true;
    if (v.front() == ' ' || v.front() == '\t' || v.back() == ' ' || v.back() == '\t') return false;
    for (const char c : v)
        if ((c < 0x20 && c != '\t') || c > 0x7E) return false;  // char may be signed or not: both ends are looked at
    for (const char c : v)
        if (static_cast<unsigned char>(c) >= 0x7F) return false;
    return !(v.starts_with("=?base64?") && v.ends_with("?="));
}

// The statuses that the host's client takes for an older era when no body explains them (host/mcp/client_connect.cpp).
bool not_understood(int status) {
    return status >= 400 && status < 500 && status != 401 && status != 403 && status != 407 && status != 408 && status != 429;
}

}  // namespace

std::string header_value(std::string_view value) { return plain(value) ? std::string(value) : "=?base64?" + net::base64(value) + "?="; }

outgoing read_outgoing(std::string_view text) {
    const json j = parsed(text);
    if (!j.is_object()) refuse("a message has to be one JSON-RPC object, nested no deeper than " + std::to_string(net::max_json_depth));
    outgoing o;
    o.method = text_of(&j, "method");
    const json* const id = member(j, "id");
    if (o.method.empty()) {
        if (!id) refuse("a message needs a method or an id");
        o.kind = message_kind::response;
        return o;
    }
    if (id && !id->is_null()) {
        o.kind = message_kind::request;
        o.id = dumped(*id);
    }
    const json* const params = member(j, "params");
    const json* const meta = params ? member(*params, "_meta") : nullptr;
    const std::string version = text_of(meta, version_key);
    if (version.empty()) return o;
    o.modern = true;
    if (!plain(version) || !plain(o.method)) refuse("the protocol version or the method cannot be a header");
    o.headers.push_back({"MCP-Protocol-Version", version});
    o.headers.push_back({"Mcp-Method", o.method});
    const bool named = o.method == "tools/call" || o.method == "prompts/get";
    const std::string name = text_of(params, named ? "name" : "uri");
    if (o.method == "tools/call") o.tool = name;
    if ((named || o.method == "resources/read") && !name.empty()) o.headers.push_back({"Mcp-Name", header_value(name)});
    return o;
}

std::string canonical_id(std::string_view id_json) {
    const json j = parsed(id_json);
    return j.is_discarded() ? std::string(id_json) : dumped(j);
}

incoming read_incoming(std::string_view text) {
    incoming in;
    const json j = parsed(text);
    if (!j.is_object()) return in;
    const json *const method = member(j, "method"), *const id = member(j, "id");
    in.response = !method;
    in.valid = method || member(j, "result") || member(j, "error");
    if (id && !id->is_null()) in.id = dumped(*id);
    const json* const result = member(j, "result");
    in.initialized_version = text_of(result, "protocolVersion");
    return in;
}

std::vector<std::string> split_body(std::string_view body) {
    std::vector<std::string> out;
    const json j = parsed(body);
    if (j.is_object()) out.emplace_back(body);
    if (j.is_array())
        for (const json& one : j)
            if (one.is_object()) out.push_back(dumped(one));
    return out;
}

std::optional<std::string> error_response(std::string_view body, std::string_view id, int status) {
    json j = parsed(body);
    const json* const e = member(j, "error");
    if (!e || !e->is_object() || text_of(&j, "jsonrpc") != "2.0") return std::nullopt;
    const json* const its = member(j, "id");
    if (its && !its->is_null()) return dumped(*its) == id ? std::optional(std::string(body)) : std::nullopt;
    if (!not_understood(status)) return std::nullopt;
    j["id"] = json::parse(id, nullptr, false);
    return dumped(j);
}

}  // namespace holdfast::transport_http
