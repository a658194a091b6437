#pragma once
// Which addresses the metadata of a server may lead to. Documents from strangers name URLs that are then fetched from inside
// of the network this host stands in; so what is not public is refused, unless the server itself is at a place of that kind. Pure.
#include <string>
#include <string_view>

namespace holdfast::oauth {

enum class reach {
    everywhere,  ///< a public address
    site,        ///< private networks: 10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7
    machine,     ///< loopback
    link,        ///< link-local, where clouds keep their metadata services
    nowhere      ///< unspecified, multicast, reserved, or not an address
};
/// Of a numeric address. IPv4 inside of IPv6 (mapped, NAT64, 6to4) counts as what it holds.
reach reach_of(std::string_view address);
bool may_reach(reach server, reach target);

/// Why `url` must not be asked on behalf of a server at `server_url`; empty when it may. Only https, but for this machine, and for
/// the server's own origin. Names are looked up later: see net::request::may_connect.
std::string refusal(std::string_view url, std::string_view server_url, reach server);
/// Scheme, host and port are the same.
bool same_origin(std::string_view a, std::string_view b);

}  // namespace holdfast::oauth
