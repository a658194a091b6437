#include "net-stream/address.hpp"

#include <sys/un.h>

#include <charconv>

namespace holdfast::net {
namespace {
constexpr std::uint16_t http_port = 80, https_port = 443;

bool plain(std::string_view text) {
    for (const char c : text)
        if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7F) return false;
    return !text.empty();
}
}  // namespace

std::optional<stream_address> parse_stream_address(std::string_view url, bool web) {
    stream_address a;
    if (!web && url.starts_with("unix:")) {
        url.remove_prefix(5);
        if (url.starts_with("//")) url.remove_prefix(2);  // unix:///path: the authority is empty
        if (!url.starts_with('/') || url.find('\0') != std::string_view::npos || url.size() >= sizeof(sockaddr_un::sun_path)) return std::nullopt;
        a.unix_path = url;
        a.origin = "unix:" + a.unix_path;
        return a;
    }
    const auto colon = url.find("://");
    if (colon == std::string_view::npos || !plain(url)) return std::nullopt;
    const std::string scheme(url.substr(0, colon));
    if (web ? scheme != "ws" && scheme != "wss" : scheme != "tcp" && scheme != "tls") return std::nullopt;
    a.secure = scheme == "wss" || scheme == "tls";
    std::string_view rest = url.substr(colon + 3);
    const auto end = rest.find_first_of("/?#");
    std::string_view authority = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    rest = rest.substr(0, rest.find('#'));
    if (web && !rest.empty()) a.path = rest.front() == '/' ? std::string(rest) : "/" + std::string(rest);
    if (!web && !rest.empty() && rest != "/") return std::nullopt;
    if (authority.find('@') != std::string_view::npos) return std::nullopt;
    std::string_view port;
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) return std::nullopt;
        a.host = authority.substr(1, close - 1);
        authority.remove_prefix(close + 1);
        if (!authority.empty() && authority.front() != ':') return std::nullopt;
        if (!authority.empty()) port = authority.substr(1);
        if (!authority.empty() && port.empty()) return std::nullopt;
    } else {
        const auto at = authority.rfind(':');
        if (at != std::string_view::npos) {
            port = authority.substr(at + 1);
            if (port.empty()) return std::nullopt;
        }
        a.host = authority.substr(0, at);
        if (a.host.find(':') != std::string::npos) return std::nullopt;
    }
    if (a.host.empty()) return std::nullopt;
    if (port.empty()) {
        if (!web) return std::nullopt;  // a bare socket has no port of its own
        a.port = a.secure ? https_port : http_port;
    } else {
        const auto r = std::from_chars(port.data(), port.data() + port.size(), a.port);
        if (r.ec != std::errc() || r.ptr != port.data() + port.size() || a.port == 0) return std::nullopt;
    }
    for (char& c : a.host)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool v6 = a.host.find(':') != std::string::npos;
    a.origin = scheme + "://" + (v6 ? "[" + a.host + "]" : a.host) + (port.empty() ? "" : ":" + std::to_string(a.port));
    return a;
}

}  // namespace holdfast::net
