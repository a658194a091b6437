#include "oauth/settings.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"
#include "net-client/url.hpp"
#include "oauth/challenge.hpp"

namespace holdfast::oauth {
namespace {
using json = nlohmann::json;

[[noreturn]] void refuse(const std::string& what) { throw sdk::plugin_error(HF_E_INVALID, "\"auth\"" + what); }

std::string take(json& o, const char* key) {
    const auto it = o.find(key);
    if (it == o.end()) return {};
    if (!it->is_string()) refuse(std::string(": \"") + key + "\" has to be a text");
    std::string out = it->get<std::string>();
    for (const char c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) refuse(std::string(": \"") + key + "\" holds a control character");
    o.erase(it);
    return out;
}
}  // namespace

server_auth read_auth(std::string_view text) {
    json o = json::parse(text, nullptr, false);
    if (!o.is_object()) refuse(" has to be an object, for example {\"type\":\"oauth\"}");
    server_auth a;
    if (take(o, "type") != "oauth") refuse(": \"type\" has to be \"oauth\"; fixed credentials belong into \"headers\"");
    settings& s = a.own;
    const std::string grant = take(o, "grant");
    if (grant == "client_credentials") s.kind = settings::grant::client_credentials;
    else if (!grant.empty() && grant != "authorization_code") refuse(": \"grant\" has to be \"authorization_code\" or \"client_credentials\"");
    s.client_id = take(o, "client_id");
    s.client_secret = take(o, "client_secret");
    s.client_metadata_url = take(o, "client_metadata_url");
    s.issuer = take(o, "issuer");
    if (const auto it = o.find("scopes"); it != o.end()) {
        if (!it->is_array() || it->size() > max_scopes) refuse(": \"scopes\" has to be a list of texts");
        for (const json& one : *it) {
            if (!one.is_string() || !valid_scope(one.get_ref<const std::string&>())) refuse(": \"scopes\" holds something that is not a scope");
            s.scopes.push_back(one.get<std::string>());
        }
        o.erase(it);
    }
    if (const auto it = o.find("redirect_port"); it != o.end()) {
        if (!it->is_number_integer() || *it < 0 || *it > 65535) refuse(": \"redirect_port\" has to be a port");
        s.redirect_port = it->get<std::uint16_t>();
        o.erase(it);
    }
    const std::string action = take(o, "action");
    if (action == "login") a.what = purpose::login;
    else if (action == "logout") a.what = purpose::logout;
    else if (!action.empty()) refuse(": \"action\" is for the host to set");
    if (!o.empty()) refuse(": \"" + o.begin().key() + "\" is not known");
    if (s.client_id.empty() && !s.client_secret.empty()) refuse(": \"client_secret\" needs a \"client_id\"");
    if (s.kind == settings::grant::client_credentials && s.client_secret.empty()) refuse(": \"client_credentials\" needs \"client_id\" and \"client_secret\"");
    if (!s.client_metadata_url.empty()) {
        const auto u = net::parse_url(s.client_metadata_url);
        if (!u || u->scheme != "https" || u->path.size() < 2) refuse(": \"client_metadata_url\" has to be an https: URL with a path");
    }
    if (!s.issuer.empty() && !net::parse_url(s.issuer)) refuse(": \"issuer\" has to be a URL");
    return a;
}

}  // namespace holdfast::oauth
