#pragma once
// JSON-RPC texts as the gateway sends them, and results translated between the eras. Pure.
#include <string>
#include <string_view>

#include "mcp/gateway/types.hpp"

namespace holdfast::mcp::gateway {

/// `result` is JSON text already.
std::string result_message(const json& id, std::string_view result);
/// The id that an answer to a message which cannot be read has: a request's that can be seen, or null.
json id_of_unread(const json& message);
std::string error_message(const json& id, const rpc_error& e);
/// HTTP status of a modern error response.
int status_of(const rpc_error& e);

/// An upstream's result in the client's words.
std::string present(const dialect& to, std::string_view method, json result);
/// What a client hears when an upstream call failed: the server's own error where it gave one.
rpc_error present_failure(const dialect& to, std::string_view server, const error& why, const std::optional<rpc_error>& answered);

std::string progress_message(const json& token, const json& value);
std::string notification_message(std::string_view method, const json& params);
/// {"name","version"} of this gateway.
const json& server_info();

/// The client's params without what is between it and us; what a request is recognised by when it comes back with input.
json request_body(const json& params);

}  // namespace holdfast::mcp::gateway
