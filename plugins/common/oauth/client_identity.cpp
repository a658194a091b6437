#include "oauth/client_identity.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"
#include "oauth/challenge.hpp"

namespace holdfast::oauth {
namespace {
using json = nlohmann::json;
constexpr std::size_t max_client_id_bytes = 2048;

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_AUTH, std::move(what)); }
std::string text_of(const json& o, const char* key) {
    const auto it = o.find(key);
    return it != o.end() && it->is_string() ? it->get<std::string>() : std::string();
}
}  // namespace

auth_method choose_method(const std::vector<std::string>& supported, bool has_secret) {
    const auto offers = [&](auth_method m) { return std::find(supported.begin(), supported.end(), name_of(m)) != supported.end(); };
    if (!has_secret) return auth_method::none;
    if (offers(auth_method::basic)) return auth_method::basic;
    if (offers(auth_method::post)) return auth_method::post;
    if (offers(auth_method::none)) return auth_method::none;
    return auth_method::basic;  // what silence means (RFC 8414, 2)
}

identity_choice choose_identity(const settings& s, const server_metadata& m, const registrations& made, const std::string& redirect_uri, wall_time now) {
    if (!s.client_id.empty()) return {identity{s.client_id, s.client_secret, choose_method(m.auth_methods, !s.client_secret.empty())}};
    if (!s.client_metadata_url.empty() && m.id_documents) return {identity{s.client_metadata_url, {}, auth_method::none}};
    if (const auto it = made.find(m.issuer); it != made.end()) {
        const registration& r = it->second;
        const bool alive = r.secret_expires_at == wall_time{} || now < r.secret_expires_at;
        if (alive && r.redirect_uri == redirect_uri) return {r.client};
    }
    if (m.registration_endpoint.empty())
        refuse(net::excerpt(m.issuer, 200) + " registers no clients by itself: register one there and set \"client_id\" (and \"client_secret\") in this server's \"auth\"" +
               (m.id_documents ? ", or \"client_metadata_url\"." : "."));
    return {};
}

net::request registration_request(const server_metadata& m, const std::string& redirect_uri, const std::vector<std::string>& scopes) {
    // A public client unless the server only knows others: a secret on an operator's disk protects nothing.
    const bool public_client = m.auth_methods.empty() || std::find(m.auth_methods.begin(), m.auth_methods.end(), "none") != m.auth_methods.end();
    json o = {{"client_name", "Holdfast"},
              {"redirect_uris", {redirect_uri}},
              {"grant_types", {"authorization_code", "refresh_token"}},
              {"response_types", {"code"}},
              {"application_type", "native"},
              {"token_endpoint_auth_method", public_client ? name_of(auth_method::none) : name_of(choose_method(m.auth_methods, true))}};
    if (!scopes.empty()) o["scope"] = joined(scopes);
    net::request r;
    r.method = "POST";
    r.url = m.registration_endpoint;
    r.headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}};
    r.body = o.dump(-1, ' ', false, json::error_handler_t::replace);
    return r;
}

registration read_registration(int status, std::string_view body, const server_metadata& m, const std::string& redirect_uri) {
    const json o = body.size() <= max_document_bytes && net::json_depth_within(body, net::max_json_depth) ? json::parse(body, nullptr, false) : json();
    if (status < 200 || status >= 300) {
        const std::string name = o.is_object() ? error_name(text_of(o, "error")) : std::string();
        const std::string hint = name == "invalid_redirect_uri" ? "; if it wants a fixed address, set \"redirect_port\"" : "";
        refuse(net::excerpt(m.issuer, 200) + " refused to register a client (" + (name.empty() ? "HTTP " + std::to_string(status) : name) + ")" + hint +
               ": register one there and set \"client_id\" in this server's \"auth\".");
    }
    registration r;
    if (o.is_object()) r.client = {text_of(o, "client_id"), text_of(o, "client_secret"), auth_method::none};
    if (r.client.client_id.empty() || r.client.client_id.size() > max_client_id_bytes || r.client.client_secret.size() > max_token_bytes)
        refuse(net::excerpt(m.issuer, 200) + " registered a client without a usable client_id.");
    const auto said = method_of(text_of(o, "token_endpoint_auth_method"));
    r.client.method = said ? *said : choose_method(m.auth_methods, !r.client.client_secret.empty());
    if (r.client.client_secret.empty()) r.client.method = auth_method::none;
    if (const auto it = o.find("client_secret_expires_at"); it != o.end() && it->is_number_integer() && *it > 0) {
        const auto at = std::min<std::int64_t>(it->get<std::int64_t>(), std::int64_t{1} << 33);  // the year 2242
        r.secret_expires_at = wall_time(std::chrono::seconds(at));
    }
    r.redirect_uri = redirect_uri;
    return r;
}

}  // namespace holdfast::oauth
