#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

struct url_parts {
    std::string scheme;  ///< "http" or "https"
    std::string host;    ///< lower case, IPv6 without brackets
    int port = 0;
    bool has_credentials = false;  ///< user:password@
    std::string origin;            ///< scheme://host[:port], fit to be shown
    std::string path;              ///< as written, begins with '/'; without query and fragment
};
/// Empty for anything that is not an absolute http: or https: URL.
std::optional<url_parts> parse_url(std::string_view url);
/// Where `reference`, found at `base`, points (RFC 3986, 5). Empty when that is not an http: or https: URL.
std::optional<std::string> resolve_url(std::string_view base, std::string_view reference);
/// This machine itself: localhost, *.localhost, 127.0.0.0/8, ::1.
bool is_loopback(std::string_view host);

}  // namespace holdfast::net
