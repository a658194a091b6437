#include "oauth/token.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "net-client/http_text.hpp"
#include "oauth/challenge.hpp"
#include "oauth/metadata.hpp"

namespace holdfast::oauth {
namespace {
using json = nlohmann::json;

std::string text_of(const json& o, const char* key) {
    if (!o.is_object()) return {};
    const auto it = o.find(key);
    return it != o.end() && it->is_string() ? it->get<std::string>() : std::string();
}
// b64token of RFC 6750, 2.1, generously: visible ASCII, so that it is a header and nothing more.
bool sendable(const std::string& token) {
    return token.size() <= max_token_bytes && std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}
}  // namespace

std::string_view name_of(auth_method m) {
    switch (m) {
        case auth_method::none: return "none";
        case auth_method::basic: return "client_secret_basic";
        case auth_method::post: return "client_secret_post";
    }
    return "none";
}

std::optional<auth_method> method_of(std::string_view name) {
    for (const auto m : {auth_method::none, auth_method::basic, auth_method::post})
        if (name == name_of(m)) return m;
    return std::nullopt;
}

token_answer read_token_answer(int status, std::string_view body) {
    token_answer a;
    const bool good = status >= 200 && status < 300;
    const json o = body.size() <= max_document_bytes && net::json_depth_within(body, net::max_json_depth) ? json::parse(body, nullptr, false) : json();
    const std::string token = text_of(o, "access_token"), type = text_of(o, "token_type");
    if (!good || token.empty() || !sendable(token)) {
        // Only an OAuth error is a decision (RFC 6749, 5.2), and of those one alone is about the grant. A load balancer that
        // refuses and a page about maintenance are neither. Some endpoints say their errors with 200.
        const std::string name = error_name(text_of(o, "error"));
        const bool passing = status >= 500 || status == 408 || status == 429;
        a.definite = !name.empty() && !passing;
        a.ended = a.definite && name == "invalid_grant";
        a.error = !name.empty() ? name : good ? "an answer without a usable access token" : "HTTP " + std::to_string(status);
        return a;
    }
    if (!type.empty() && !net::same_name(type, "bearer")) {
        a.error = "a token that is not a bearer token";
        a.definite = true;
        return a;
    }
    a.access_token = token;
    a.refresh_token = text_of(o, "refresh_token");
    if (a.refresh_token.size() > max_token_bytes) a.refresh_token.clear();
    if (const auto it = o.find("expires_in"); it != o.end() && it->is_number()) {
        const double s = it->get<double>();
        const double most = static_cast<double>(std::chrono::seconds(longest_life).count());
        if (s >= 0) a.lives = std::chrono::seconds(static_cast<std::int64_t>(std::min(s, most)));
    }
    if (const auto it = o.find("scope"); it != o.end() && it->is_string()) {
        a.scopes = words(it->get_ref<const std::string&>());
        std::erase_if(*a.scopes, [](const std::string& s) { return !valid_scope(s); });
        if (a.scopes->size() > max_scopes) a.scopes->resize(max_scopes);
    }
    return a;
}

void accept(grant& g, const token_answer& a, wall_time now) {
    g.access_token = a.access_token;
    if (!a.refresh_token.empty()) g.refresh_token = a.refresh_token;
    g.expires_at = g.fresh_until = {};
    if (a.lives) {
        g.expires_at = now + *a.lives;
        g.fresh_until = g.expires_at - std::min<std::chrono::seconds>(longest_head_start, *a.lives / head_start_divisor);
    }
    if (a.scopes) unite(g.scopes, *a.scopes);
}

net::request token_request(const std::string& endpoint, const identity& client, fields body) {
    net::request r;
    r.method = "POST";
    r.url = endpoint;
    r.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}};
    if (client.method == auth_method::basic) {
        // RFC 6749, 2.3.1: both are form-encoded before they are joined.
        r.headers.push_back({"Authorization", "Basic " + net::base64(form_encode(client.client_id) + ":" + form_encode(client.client_secret))});
    } else {
        body.emplace_back("client_id", client.client_id);
        if (client.method == auth_method::post) body.emplace_back("client_secret", client.client_secret);
    }
    r.body = form_encode(body);
    return r;
}

net::request refresh_request(const grant& g) {
    return token_request(g.token_endpoint, g.client, {{"grant_type", "refresh_token"}, {"refresh_token", g.refresh_token}, {"resource", g.resource}});
}

}  // namespace holdfast::oauth
