#pragma once
// Configuration of one server. Pure.
#include <chrono>
#include <string_view>

#include "net-client/http_client.hpp"
#include "net-stream/address.hpp"

namespace holdfast::transport_websocket {

struct server_config {
    net::stream_address to;
    net::headers headers;  ///< may hold secrets: never shown
};
/// "url" and "headers". Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong.
server_config read_server(std::string_view json);

/// Silence after which the server is pinged; it is lost after as long again. 0: never.
std::chrono::milliseconds read_ping(std::string_view settings_json);

}  // namespace holdfast::transport_websocket
