#pragma once
// What the configuration says about this instance, checked.
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "net-server/http_server.hpp"
#include "net-server/http_text.hpp"

namespace holdfast::ui_http {

struct mcp_settings {
    bool enabled = true;
    std::string path = "/mcp";
    bool websocket = false;  ///< <path>/ws too
    bool sse = false;        ///< <path>/sse and <path>/messages too: HTTP with SSE of 2024-11-05
    int rate = 0;  ///< requests a second of one user, four times that at once; 0: no limit but those on connections and calls
};

struct settings {
    web::listen_address listen{"127.0.0.1", 7777};
    bool token_auth = true;                    ///< false: "none", loopback only
    std::vector<std::string> allowed_origins;  ///< "https://chat.example", exact, lower case
    std::vector<std::string> allowed_hosts;    ///< "chat.example" or "chat.example:8443", lower case
    web::server_limits limits;                 ///< those that are no setting stay as they are
    int threads = 2;
    int message_rate = 10;                     ///< WebSocket messages a second of one user, all tabs together; four times that at once

    mcp_settings mcp;

    bool loopback() const { return web::is_loopback_host(listen.host); }
};

/// Throws sdk::plugin_error (HF_E_INVALID) naming the setting and what is allowed.
settings read_settings(std::string_view json_text);

}  // namespace holdfast::ui_http
