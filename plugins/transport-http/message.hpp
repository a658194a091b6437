#pragma once
// What the binding has to know of a JSON-RPC message, and nothing more. Pure.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net-client/http_client.hpp"

namespace holdfast::transport_http {

enum class message_kind { request, notification, response };

struct outgoing {
    message_kind kind = message_kind::notification;
    std::string id;       ///< of a request, as canonical JSON text
    std::string method;
    bool modern = false;  ///< carries its protocol version in params._meta
    std::string tool;     ///< of a tools/call
    net::headers headers; ///< modern: MCP-Protocol-Version, Mcp-Method, Mcp-Name. Mcp-Param-*: param_headers.hpp
};
/// Throws sdk::plugin_error (HF_E_INVALID): not one JSON-RPC message, or a name that cannot be a header.
outgoing read_outgoing(std::string_view text);

/// The id in the spelling of outgoing::id.
std::string canonical_id(std::string_view id_json);

/// A header value as the specification wants it ("Value Encoding"): plain, or =?base64?…?=
std::string header_value(std::string_view value);

struct incoming {
    bool valid = false;         ///< one JSON-RPC message
    bool response = false;      ///< has no method: an answer
    std::string id;             ///< canonical; empty when absent or null
    std::string initialized_version;  ///< result.protocolVersion, if that is what it holds
};
incoming read_incoming(std::string_view text);

/// A body of one message, or of several in an array (2025-03-26). Empty when it is not JSON.
std::vector<std::string> split_body(std::string_view body);

/// The body of an answer that failed with HTTP `status`, as the JSON-RPC error response of request `id`. A body without an id, or
/// with id null, gets it where the status alone says no more than "I do not understand this"; 401, 429, 503 and their like say
/// what is the matter, and have nothing to do with the era. Empty when it is not a JSON-RPC error, or is another request's.
std::optional<std::string> error_response(std::string_view body, std::string_view id, int status);

}  // namespace holdfast::transport_http
