#pragma once
// The opening handshake (RFC 6455, section 4). Pure.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "net-client/http_client.hpp"

namespace holdfast::transport_websocket {

inline constexpr std::size_t max_answer_bytes = 16 * 1024;
inline constexpr const char* subprotocol = "mcp";

struct upgrade {
    std::string host;  ///< with the port where it is not the scheme's
    std::string path;
    net::headers headers;
    std::string key;   ///< 16 random bytes, base64
};
std::string upgrade_request(const upgrade& u);
/// What a server answers to `key`.
std::string accept_value(std::string_view key);

struct upgrade_verdict {
    bool accepted = false;
    int status = 0;   ///< 0: no HTTP
    std::string why;  ///< when not accepted
    std::size_t size = 0;  ///< of the header; frames follow
};
/// Empty: more bytes are needed. `bytes`: all that has come.
std::optional<upgrade_verdict> read_upgrade_answer(std::string_view bytes, std::string_view key);

}  // namespace holdfast::transport_websocket
