#include "transport-websocket/ws_handshake.hpp"

#include <openssl/evp.h>

#include <charconv>

#include "net-client/http_text.hpp"

namespace holdfast::transport_websocket {
namespace {
constexpr const char* guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

std::string_view trimmed(std::string_view v) {
    while (!v.empty() && (v.front() == ' ' || v.front() == '\t')) v.remove_prefix(1);
    while (!v.empty() && (v.back() == ' ' || v.back() == '\t' || v.back() == '\r')) v.remove_suffix(1);
    return v;
}
bool lists(std::string_view value, std::string_view token) {
    while (!value.empty()) {
        const auto comma = value.find(',');
        if (net::same_name(trimmed(value.substr(0, comma)), token)) return true;
        if (comma == std::string_view::npos) return false;
        value.remove_prefix(comma + 1);
    }
    return false;
}
}  // namespace

std::string upgrade_request(const upgrade& u) {
    std::string out = "GET " + u.path + " HTTP/1.1\r\nHost: " + u.host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + u.key +
                      "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n";
    bool agent = false;
    for (const net::header& h : u.headers) {
        out += h.name + ": " + h.value + "\r\n";
        agent |= net::same_name(h.name, "user-agent");
    }
    if (!agent) out += "User-Agent: holdfast\r\n";
    return out + "\r\n";
}

std::string accept_value(std::string_view key) {
    const std::string text = std::string(key) + guid;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha1(), nullptr);
    return net::base64({reinterpret_cast<const char*>(digest), size});
}

std::optional<upgrade_verdict> read_upgrade_answer(std::string_view bytes, std::string_view key) {
    upgrade_verdict v;
    const auto refuse = [&v](std::string why) {
        v.why = std::move(why);
        return v;
    };
    constexpr std::string_view begin = "HTTP/1.1 ";
    if (bytes.substr(0, begin.size()) != begin.substr(0, bytes.size())) return refuse("does not speak HTTP");
    const auto end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) return bytes.size() >= max_answer_bytes ? std::optional(refuse("answered the handshake with a header that is too long")) : std::nullopt;
    v.size = end + 4;
    std::string_view head = bytes.substr(0, end + 2);
    const auto number = head.substr(begin.size(), 3);
    if (std::from_chars(number.data(), number.data() + number.size(), v.status).ptr != number.data() + 3 || v.status < 100) {
        v.status = 0;
        return refuse("does not speak HTTP");
    }
    net::headers all;
    for (auto at = head.find("\r\n") + 2; at < head.size();) {
        const auto stop = head.find("\r\n", at);
        const std::string_view line = head.substr(at, stop - at);
        const auto colon = line.find(':');
        if (colon != std::string_view::npos) all.push_back({std::string(line.substr(0, colon)), std::string(trimmed(line.substr(colon + 1)))});
        at = stop + 2;
    }
    if (v.status != 101) return refuse("refused the handshake (HTTP " + std::to_string(v.status) + ")");
    if (!lists(net::find_header(all, "upgrade"), "websocket") || !lists(net::find_header(all, "connection"), "upgrade"))
        return refuse("did not agree to the upgrade");
    if (net::find_header(all, "sec-websocket-accept") != accept_value(key)) return refuse("answered another handshake");
    if (!net::find_header(all, "sec-websocket-extensions").empty()) return refuse("uses extensions that were not offered");
    // A server that knows no subprotocols says nothing; one that chose another speaks something else.
    const auto chosen = net::find_header(all, "sec-websocket-protocol");
    if (!chosen.empty() && chosen != subprotocol) return refuse("chose a subprotocol that was not offered");
    v.accepted = true;
    return v;
}

}  // namespace holdfast::transport_websocket
