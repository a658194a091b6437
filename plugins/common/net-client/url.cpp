#include "net-client/url.hpp"

#include <curl/curl.h>

#include <memory>

namespace holdfast::net {

std::optional<url_parts> parse_url(std::string_view text) {
    for (const char c : text)
        if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F) return std::nullopt;
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> u(curl_url(), &curl_url_cleanup);
    if (!u || curl_url_set(u.get(), CURLUPART_URL, std::string(text).c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) return std::nullopt;
    const auto part = [&u](CURLUPart what, unsigned flags = 0) {
        char* value = nullptr;
        if (curl_url_get(u.get(), what, &value, flags) != CURLUE_OK || !value) return std::string();
        std::string out(value);
        curl_free(value);
        return out;
    };
    url_parts p;
    p.scheme = part(CURLUPART_SCHEME);
    p.host = part(CURLUPART_HOST);
    if ((p.scheme != "http" && p.scheme != "https") || p.host.empty()) return std::nullopt;
    for (char& c : p.host)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const std::string port = part(CURLUPART_PORT);
    p.origin = p.scheme + "://" + p.host + (port.empty() ? "" : ":" + port);
    p.port = std::stoi(part(CURLUPART_PORT, CURLU_DEFAULT_PORT));
    p.path = part(CURLUPART_PATH);
    p.has_credentials = !part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty();
    if (p.host.size() > 2 && p.host.front() == '[') p.host = p.host.substr(1, p.host.size() - 2);
    return p;
}

std::optional<std::string> resolve_url(std::string_view base, std::string_view reference) {
    const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> u(curl_url(), &curl_url_cleanup);
    char* value = nullptr;
    if (!u || !parse_url(base) || curl_url_set(u.get(), CURLUPART_URL, std::string(base).c_str(), 0) != CURLUE_OK ||
        curl_url_set(u.get(), CURLUPART_URL, std::string(reference).c_str(), 0) != CURLUE_OK ||
        curl_url_get(u.get(), CURLUPART_URL, &value, 0) != CURLUE_OK || !value)
        return std::nullopt;
    std::string out(value);
    curl_free(value);
    return parse_url(out) ? std::optional(std::move(out)) : std::nullopt;
}

bool is_loopback(std::string_view host) {
    if (host == "localhost" || host.ends_with(".localhost") || host == "::1") return true;
    // Only a whole dotted address counts: 127.0.0.1.example.com is somebody else.
    if (!host.starts_with("127.")) return false;
    int dots = 0;
    for (const char c : host) {
        if (c == '.') ++dots;
        else if (c < '0' || c > '9') return false;
    }
    return dots == 3;
}

}  // namespace holdfast::net
