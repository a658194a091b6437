#pragma once
// Settings of the plugin and configuration of one server. Pure.
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "net-client/http_client.hpp"
#include "oauth/settings.hpp"

namespace holdfast::transport_http {

inline constexpr std::size_t default_max_message_bytes = 4u << 20;

struct settings {
    std::size_t max_message_bytes = default_max_message_bytes;  ///< of one message of a server
};
/// Throws sdk::plugin_error (HF_E_INVALID).
settings read_settings(std::string_view json);

struct server_config {
    std::string name;      ///< in the configuration; its credentials are kept under it
    std::string url;
    std::string origin;    ///< scheme://host[:port], fit to be shown
    net::headers headers;  ///< may hold secrets: never shown
    std::chrono::milliseconds connect_timeout{10'000};
    std::optional<oauth::server_auth> auth;
    bool sse = false;      ///< HTTP with SSE (2024-11-05), and nothing else is tried
};
/// Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong.
server_config read_server(std::string_view json);

}  // namespace holdfast::transport_http
