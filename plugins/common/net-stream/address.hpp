#pragma once
// Where a stream leads. Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

struct stream_address {
    std::string host;         ///< IPv6 without brackets; empty for a Unix socket
    std::uint16_t port = 0;
    std::string unix_path;    ///< not empty: a Unix socket
    bool secure = false;      ///< TLS
    std::string origin;       ///< fit to be shown
    std::string path = "/";   ///< what follows the authority, query included: may hold secrets
};

/// tcp://host:port, tls://host:port, unix:/path or unix:///path, ws://host[:port]/path and wss://… (`web`: those two only, else
/// the first three only). Empty for anything else, with credentials, or with a Unix path longer than the system takes.
std::optional<stream_address> parse_stream_address(std::string_view url, bool web);

}  // namespace holdfast::net
