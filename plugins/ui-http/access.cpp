#include "ui-http/access.hpp"

#include <algorithm>

namespace holdfast::ui_http {
namespace {
std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return out;
}
bool listed(const std::vector<std::string>& list, const std::string& item) { return std::find(list.begin(), list.end(), item) != list.end(); }

std::string default_port(std::string_view scheme) { return scheme == "https" ? "443" : "80"; }

/// Origin and Host name the same host and port. The scheme is the proxy's business: TLS ends there.
bool same_origin(std::string_view origin, std::string_view host) {
    const auto mark = origin.find("://");
    if (mark == origin.npos) return false;
    const auto scheme = origin.substr(0, mark);
    if (scheme != "http" && scheme != "https") return false;
    const auto a = web::parse_authority(origin.substr(mark + 3));
    const auto b = web::parse_authority(host);
    if (!a || !b || a->host != b->host) return false;
    const auto port = [&](const std::string& p) { return p.empty() ? default_port(scheme) : p; };
    return port(a->port) == port(b->port);
}
}  // namespace

std::optional<refusal> check_host(const web::http_request& request, const settings& s) {
    const std::string text = lower(request.header("host"));
    const auto a = request.count("host") == 1 ? web::parse_authority(text) : std::nullopt;
    if (a) {
        if (listed(s.allowed_hosts, a->host) || listed(s.allowed_hosts, text)) return std::nullopt;
        if (web::is_loopback_host(a->host)) return std::nullopt;
        if (!s.loopback() && web::is_ip_literal(a->host)) return std::nullopt;
    }
    return refusal{403, "forbidden", "this host name is not one of this server's; add it to \"allowed_hosts\" of the web UI if it is meant to be"};
}

std::optional<refusal> check_origin(const web::http_request& request, const settings& s) {
    const std::size_t n = request.count("origin");
    if (n == 0) return std::nullopt;
    const std::string origin = lower(request.header("origin"));
    if (n == 1 && (same_origin(origin, request.header("host")) || listed(s.allowed_origins, origin))) return std::nullopt;
    return refusal{403, "forbidden", "requests from this origin are refused; add it to \"allowed_origins\" of the web UI if it is trusted"};
}

bool is_foreign_allowed_origin(const web::http_request& request, const settings& s) {
    const std::string origin = lower(request.header("origin"));
    return !origin.empty() && listed(s.allowed_origins, origin) && !same_origin(origin, request.header("host"));
}

std::optional<refusal> check_forgery(const web::http_request& request, proof how, bool websocket) {
    const bool reading = !websocket && (request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS");
    if (how != proof::token) {
        const std::string site = lower(request.header("sec-fetch-site"));
        const bool has_origin = request.count("origin") > 0;  // check_origin has passed: it is ours or trusted
        if (!site.empty() && site != "same-origin" && !(site == "none" && reading) && !has_origin)
            return refusal{403, "forbidden", "cross-site requests are refused"};
        if (how == proof::cookie && !reading && site != "same-origin" && !has_origin)
            return refusal{403, "forbidden", "a request made with the login cookie must say where it comes from: send an Origin header, or use a bearer token"};
    }
    // A form of another site can send a POST, and nothing else that changes something.
    if (!reading && !websocket && (!request.body.empty() || (how != proof::token && request.method == "POST")) && !web::is_json_type(request.header("content-type")))
        return refusal{415, "invalid_argument", "send the body as application/json"};
    return std::nullopt;
}

}  // namespace holdfast::ui_http
