#pragma once
// JSON-RPC 2.0 as MCP uses it: one message per text, ids are strings or integers, no batches. Strict and bounded.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "kernel/core/json.hpp"

namespace holdfast::mcp {

inline constexpr std::size_t max_message_bytes = 16u << 20;  ///< transports cap lines at 4 MiB; this is the last resort
inline constexpr std::size_t max_id_bytes = 256;
inline constexpr std::size_t max_method_bytes = 128;

namespace rpc_code {
inline constexpr int parse_error = -32700;
inline constexpr int invalid_request = -32600;
inline constexpr int method_not_found = -32601;
inline constexpr int invalid_params = -32602;
inline constexpr int internal_error = -32603;
inline constexpr int resource_not_found = -32002;  ///< legacy
inline constexpr int header_mismatch = -32020;
inline constexpr int missing_capability = -32021;
inline constexpr int unsupported_version = -32022;
inline constexpr int url_elicitation_required = -32042;  ///< 2025-11-25 only
/// One that only a modern server sends, with that meaning.
constexpr bool is_modern(int code) { return code <= header_mismatch && code >= unsupported_version; }
}  // namespace rpc_code

struct rpc_error {
    int code = rpc_code::internal_error;
    std::string message;
    json data;  ///< null when absent
};

struct rpc_request {
    json id;  ///< string or integer
    std::string method;
    json params;  ///< object, or null when absent
};
struct rpc_notification {
    std::string method;
    json params;
};
struct rpc_response {
    json id;  ///< null: the peer could not read the id of what it answers
    json result;                     ///< when there is no error
    std::optional<rpc_error> error;
};
using rpc_message = std::variant<rpc_request, rpc_notification, rpc_response>;

/// Errors: protocol_error, with what is wrong. Never throws.
result<rpc_message> decode(std::string_view text);
result<rpc_message> decode_value(json value);

std::string encode_request(std::uint64_t id, std::string_view method, const json& params);
std::string encode_notification(std::string_view method, const json& params);
std::string encode_result(const json& id, const json& result);
std::string encode_error(const json& id, const rpc_error& error);
/// Numbers as JSON text, as transports name requests.
std::string id_text(const json& id);

}  // namespace holdfast::mcp
