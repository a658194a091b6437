#include "oauth/metadata.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "net-client/http_text.hpp"
#include "net-client/url.hpp"
#include "oauth/challenge.hpp"
#include "oauth/reach.hpp"

namespace holdfast::oauth {
namespace {
using json = nlohmann::json;

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_PROTOCOL, std::move(what)); }

json document(std::string_view text, const char* what) {
    json j = text.size() <= max_document_bytes && net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
    if (!j.is_object()) refuse(std::string(what) + " is not a JSON object");
    return j;
}

std::string text_of(const json& o, const char* key) {
    const auto it = o.find(key);
    if (it == o.end() || !it->is_string() || it->get_ref<const std::string&>().size() > max_url_bytes) return {};
    return it->get<std::string>();
}
bool flag_of(const json& o, const char* key) {
    const auto it = o.find(key);
    return it != o.end() && it->is_boolean() && it->get<bool>();
}
std::vector<std::string> texts_of(const json& o, const char* key, std::size_t limit) {
    std::vector<std::string> out;
    const auto it = o.find(key);
    if (it == o.end() || !it->is_array()) return out;
    for (const json& one : *it)
        if (one.is_string() && out.size() < limit && one.get_ref<const std::string&>().size() <= max_url_bytes) out.push_back(one.get<std::string>());
    return out;
}
std::vector<std::string> scopes_of(const json& o) {
    auto all = texts_of(o, "scopes_supported", max_scopes);
    std::erase_if(all, [](const std::string& s) { return !valid_scope(s); });
    return all;
}

std::string origin_of(const net::url_parts& u) { return u.origin; }
// The path without slashes at its end: "" for the root.
std::string path_of(const net::url_parts& u) {
    std::string p = u.path;
    while (!p.empty() && p.back() == '/') p.pop_back();
    return p;
}

}  // namespace

std::vector<std::string> resource_metadata_urls(const std::string& server_url, const std::string& named) {
    if (!named.empty()) return {named};
    const auto u = net::parse_url(server_url);
    if (!u) return {};
    const std::string root = origin_of(*u) + "/.well-known/oauth-protected-resource";
    const std::string path = path_of(*u);
    if (path.empty()) return {root};
    return {root + path, root};
}

bool covers(const std::string& resource, const std::string& url) {
    const auto r = net::parse_url(resource), u = net::parse_url(url);
    if (!r || !u || !same_origin(resource, url) || r->has_credentials || resource.find_first_of("?#") != std::string::npos) return false;
    const std::string above = path_of(*r), path = u->path;
    return path.starts_with(above) && (path.size() == above.size() || path[above.size()] == '/');
}

std::string canonical_resource(const std::string& server_url) {
    std::string out = server_url.substr(0, server_url.find_first_of("?#"));
    const auto u = net::parse_url(out);
    if (u && u->path == "/" && out.back() == '/') out.pop_back();
    return out;
}

resource_metadata read_resource_metadata(std::string_view text, const std::string& server_url) {
    const json o = document(text, "the resource metadata");
    resource_metadata m;
    m.resource = text_of(o, "resource");
    if (!covers(m.resource, server_url))
        refuse("the resource metadata is about another resource (" + net::excerpt(m.resource, 200) + "): a token for it is not for this server");
    m.authorization_servers = texts_of(o, "authorization_servers", max_authorization_servers);
    m.scopes = scopes_of(o);
    if (m.authorization_servers.empty()) refuse("the resource metadata names no authorization server");
    return m;
}

std::vector<std::string> server_metadata_urls(const std::string& issuer) {
    const auto u = net::parse_url(issuer);
    if (!u || issuer.find_first_of("?#") != std::string::npos) return {};
    const std::string origin = origin_of(*u), path = path_of(*u);
    if (path.empty()) return {origin + "/.well-known/oauth-authorization-server", origin + "/.well-known/openid-configuration"};
    return {origin + "/.well-known/oauth-authorization-server" + path, origin + "/.well-known/openid-configuration" + path,
            origin + path + "/.well-known/openid-configuration"};
}

server_metadata read_server_metadata(std::string_view text, const std::string& issuer) {
    const json o = document(text, "the authorization server's metadata");
    server_metadata m;
    m.issuer = text_of(o, "issuer");
    if (m.issuer != issuer)
        refuse("the authorization server's metadata is of another issuer (" + net::excerpt(m.issuer, 200) + " instead of " + net::excerpt(issuer, 200) + ")");
    m.authorization_endpoint = text_of(o, "authorization_endpoint");
    m.token_endpoint = text_of(o, "token_endpoint");
    m.registration_endpoint = text_of(o, "registration_endpoint");
    m.scopes = scopes_of(o);
    m.auth_methods = texts_of(o, "token_endpoint_auth_methods_supported", max_scopes);
    const auto methods = texts_of(o, "code_challenge_methods_supported", max_scopes);
    m.s256 = std::find(methods.begin(), methods.end(), "S256") != methods.end();
    m.iss_promised = flag_of(o, "authorization_response_iss_parameter_supported");
    m.id_documents = flag_of(o, "client_id_metadata_document_supported");
    if (m.token_endpoint.empty()) refuse("the authorization server's metadata names no token endpoint");
    return m;
}

}  // namespace holdfast::oauth
