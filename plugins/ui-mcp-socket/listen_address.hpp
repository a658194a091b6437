#pragma once
// Settings of the plugin, checked.
#include <string>
#include <string_view>
#include <vector>

#include "net-stream/address.hpp"

namespace holdfast::ui_mcp_socket {

struct settings {
    std::vector<net::stream_address> listen;  ///< empty: mcp.sock in the plugin's directory
    std::string role = "operator";
    std::size_t max_connections = 64;
    std::size_t max_message_bytes = 4u << 20;
};
/// Throws sdk::plugin_error (HF_E_INVALID).
settings read_settings(std::string_view json);

/// A Unix socket that listens, for this user alone. A file that an ended host has left behind is replaced; one that somebody answers
/// at is not. Throws sdk::plugin_error.
int listen_unix(const std::string& path);

}  // namespace holdfast::ui_mcp_socket
