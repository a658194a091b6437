#pragma once
// Where a client's request goes: answered here from the offer, sent to the server it names, or refused. Pure.
#include <variant>

#include "mcp/gateway/offer.hpp"

namespace holdfast::mcp::gateway {

/// What HTTP said beside the body. Absent members were not sent.
struct request_headers {
    bool present = false;  ///< HTTP: then they must agree with the body
    std::optional<std::string> version, method, name;
    json params = json::object();  ///< "mcp-param-<name>" (any case): value
};

using local_answer = std::string;  ///< a result as JSON text
using routed = std::variant<local_answer, upstream_request, rpc_error>;

routed route(const offer& from, const dialect& to, const std::string& method, json params);

/// Whether a message is one of the modern era: by its _meta, or by what HTTP says its version is.
bool is_modern_message(const std::string& method, const json& params, const request_headers& headers, bool in_session);
/// What is wrong with a modern request before anybody looks at its method: headers, _meta, version.
std::optional<rpc_error> check_modern(const std::string& method, const json& params, const request_headers& headers);
/// Mcp-Param-* of a tool call against its arguments.
std::optional<rpc_error> check_param_headers(const offer::entry& tool, const json& arguments, const request_headers& headers);
/// A header value, decoded if it is =?base64?…?=. Empty: it is malformed.
std::optional<std::string> header_value(std::string_view text);

}  // namespace holdfast::mcp::gateway
