#include "oauth/reach.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

#include "net-client/url.hpp"

namespace holdfast::oauth {
namespace {

reach of_v4(std::uint32_t a) {
    const auto in = [a](std::uint32_t net, int bits) { return (a >> (32 - bits)) == (net >> (32 - bits)); };
    if (in(0x7F000000, 8)) return reach::machine;
    if (in(0x0A000000, 8) || in(0xAC100000, 12) || in(0xC0A80000, 16) || in(0x64400000, 10)) return reach::site;
    if (in(0xA9FE0000, 16)) return reach::link;
    if (in(0x00000000, 8) || in(0xE0000000, 3) || in(0xC0000000, 24) || in(0xC6120000, 15)) return reach::nowhere;
    return reach::everywhere;
}

std::optional<reach> numeric(const std::string& text) {
    in_addr v4{};
    if (::inet_pton(AF_INET, text.c_str(), &v4) == 1) return of_v4(ntohl(v4.s_addr));
    in6_addr v6{};
    const std::string plain = text.substr(0, text.find('%'));  // a zone says nothing about the kind
    if (::inet_pton(AF_INET6, plain.c_str(), &v6) != 1) return std::nullopt;
    std::array<std::uint8_t, 16> b{};
    std::memcpy(b.data(), &v6, b.size());
    const auto zeros = [&](std::size_t n) {
        for (std::size_t i = 0; i < n; ++i)
            if (b[i]) return false;
        return true;
    };
    const auto v4_at = [&](std::size_t i) {
        return of_v4(std::uint32_t{b[i]} << 24 | std::uint32_t{b[i + 1]} << 16 | std::uint32_t{b[i + 2]} << 8 | std::uint32_t{b[i + 3]});
    };
    if (zeros(15) && b[15] == 1) return reach::machine;
    if (zeros(10) && b[10] == 0xFF && b[11] == 0xFF) return v4_at(12);
    if (zeros(12)) return reach::nowhere;
    if (b[0] == 0x00 && b[1] == 0x64 && b[2] == 0xFF && b[3] == 0x9B) return v4_at(12);
    if (b[0] == 0x20 && b[1] == 0x02) return v4_at(2);
    if ((b[0] & 0xFE) == 0xFC) return reach::site;
    if (b[0] == 0xFE && (b[1] & 0xC0) == 0x80) return reach::link;
    if (b[0] == 0xFE && (b[1] & 0xC0) == 0xC0) return reach::site;
    if (b[0] == 0xFF) return reach::nowhere;
    return reach::everywhere;
}

}  // namespace

reach reach_of(std::string_view address) { return numeric(std::string(address)).value_or(reach::nowhere); }

bool may_reach(reach server, reach target) { return target == reach::everywhere || (target == server && target != reach::nowhere); }

bool same_origin(std::string_view a, std::string_view b) {
    const auto x = net::parse_url(a), y = net::parse_url(b);
    return x && y && x->scheme == y->scheme && x->host == y->host && x->port == y->port;
}

std::string refusal(std::string_view url, std::string_view server_url, reach server) {
    const auto u = net::parse_url(url);
    if (!u) return "it is not an http: or https: URL";
    // Parsers forgive different things: what one of them might read another way is nobody's address.
    const bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '\\'; });
    if (!plain || url.substr(u->scheme.size(), 3) != "://" || url.substr(u->scheme.size() + 3, 1) == "/") return "it is not written as a URL is";
    if (u->has_credentials) return "it holds a user name or password";
    if (same_origin(url, server_url)) return {};
    const bool here = net::is_loopback(u->host);
    if (u->scheme != "https" && !here) return "it is not https";
    const auto at = here ? std::optional(reach::machine) : numeric(u->host);
    if (at && !may_reach(server, *at)) return "it is an address inside of this network, and the server is not";
    return {};
}

}  // namespace holdfast::oauth
