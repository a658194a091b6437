#pragma once
// The two documents that say where to log in: of the resource (RFC 9728) and of the authorization server (RFC 8414, OpenID
// Connect Discovery). Both come from strangers. Pure.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/status.hpp"

namespace holdfast::oauth {

inline constexpr std::size_t max_document_bytes = 256 * 1024;  ///< of any answer of an authorization server
inline constexpr std::size_t max_authorization_servers = 16;
inline constexpr std::size_t max_url_bytes = 2048;

struct resource_metadata {
    std::string resource;
    std::vector<std::string> authorization_servers;
    std::vector<std::string> scopes;  ///< scopes_supported
};
/// Where it may be, in order; `named`: by the challenge, then nowhere else.
std::vector<std::string> resource_metadata_urls(const std::string& server_url, const std::string& named);
/// Throws sdk::plugin_error (HF_E_PROTOCOL): not such a document, or one of another resource than `server_url`.
resource_metadata read_resource_metadata(std::string_view text, const std::string& server_url);
/// A token for `resource` may be sent to `url`: same origin, and the path is the resource's or below it.
bool covers(const std::string& resource, const std::string& url);
/// The resource of a server that says none: its URL without query and fragment, and without the slash of an empty path.
std::string canonical_resource(const std::string& server_url);

struct server_metadata {
    std::string issuer;
    std::string authorization_endpoint, token_endpoint, registration_endpoint;
    std::vector<std::string> scopes, auth_methods;  ///< scopes_supported, token_endpoint_auth_methods_supported
    bool s256 = false;
    bool iss_promised = false;      ///< authorization_response_iss_parameter_supported
    bool id_documents = false;      ///< client_id_metadata_document_supported
};
/// Where it may be, in the order of the MCP specification.
std::vector<std::string> server_metadata_urls(const std::string& issuer);
/// Throws sdk::plugin_error (HF_E_PROTOCOL). The issuer must be spelled exactly as it was asked for (RFC 8414, 3.3).
server_metadata read_server_metadata(std::string_view text, const std::string& issuer);

}  // namespace holdfast::oauth
