#include "mcp/json_rpc.hpp"

namespace holdfast::mcp {
namespace {

bool usable_id(const json& id) {
    if (id.is_number_integer()) return true;
    return id.is_string() && id.get_ref<const std::string&>().size() <= max_id_bytes;
}

result<rpc_message> wrong(std::string what) { return fail(errc::protocol_error, "not a JSON-RPC message: " + std::move(what)); }

result<rpc_message> decode_response(json& value) {
    rpc_response out;
    const json& id = member(value, "id");
    const bool has_result = value.contains("result"), has_error = value.contains("error");
    if (has_result == has_error) return wrong("a response needs exactly one of result and error");
    if (!id.is_null() && !usable_id(id)) return wrong("an id is a string or an integer");
    if (id.is_null() && has_result) return wrong("a result without an id");
    out.id = id;
    if (has_result) {
        if (!value["result"].is_object()) return wrong("a result is an object");
        out.result = std::move(value["result"]);
        return out;
    }
    const json& e = value["error"];
    const json& code = member(e, "code");
    if (!code.is_number_integer()) return wrong("an error has an integer code");
    // A peer may send any 64-bit number; beyond int it can only be one nobody knows.
    const auto wide = code.get<std::int64_t>();
    rpc_error parsed;
    parsed.code = wide >= INT32_MIN && wide <= INT32_MAX ? static_cast<int>(wide) : rpc_code::internal_error;
    parsed.message = string_or(e, "message", "no message");
    parsed.data = member(e, "data");
    out.error = std::move(parsed);
    return out;
}

}  // namespace

result<rpc_message> decode(std::string_view text) {
    if (text.size() > max_message_bytes)
        return wrong("longer than " + std::to_string(max_message_bytes) + " bytes");
    auto value = parse_json(text);
    if (!value) return wrong(value.error().message);
    return decode_value(std::move(*value));
}

result<rpc_message> decode_value(json value) {
    if (!value.is_object()) return wrong("not an object");
    if (string_or(value, "jsonrpc") != "2.0") return wrong("\"jsonrpc\" is not \"2.0\"");
    if (!value.contains("method")) return decode_response(value);
    if (!value["method"].is_string()) return wrong("a method is a string");
    if (value["method"].get_ref<const std::string&>().size() > max_method_bytes) return wrong("the method's name is too long");
    if (value.contains("result") || value.contains("error")) return wrong("both a request and a response");
    json params;
    if (value.contains("params")) {
        params = std::move(value["params"]);
        if (params.is_array()) return wrong("params by position");
        if (!params.is_object() && !params.is_null()) return wrong("params are an object");
    }
    if (!value.contains("id")) return rpc_notification{value["method"].get<std::string>(), std::move(params)};
    if (!usable_id(value["id"])) return wrong("an id is a string or an integer");
    return rpc_request{value["id"], value["method"].get<std::string>(), std::move(params)};
}

// Written by hand around dump(): the method is ours and the params may be large; no second DOM is built for the envelope.
std::string encode_request(std::uint64_t id, std::string_view method, const json& params) {
    std::string out = "{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(id) + ",\"method\":" + dump(json(method));
    if (!params.is_null()) out += ",\"params\":" + dump(params);
    return out += '}';
}

std::string encode_notification(std::string_view method, const json& params) {
    std::string out = "{\"jsonrpc\":\"2.0\",\"method\":" + dump(json(method));
    if (!params.is_null()) out += ",\"params\":" + dump(params);
    return out += '}';
}

std::string encode_result(const json& id, const json& result) {
    return "{\"jsonrpc\":\"2.0\",\"id\":" + dump(id) + ",\"result\":" + dump(result) + "}";
}

std::string encode_error(const json& id, const rpc_error& e) {
    json body{{"code", e.code}, {"message", e.message}};
    if (!e.data.is_null()) body["data"] = e.data;
    return "{\"jsonrpc\":\"2.0\",\"id\":" + dump(id) + ",\"error\":" + dump(body) + "}";
}

std::string id_text(const json& id) { return dump(id); }

}  // namespace holdfast::mcp
