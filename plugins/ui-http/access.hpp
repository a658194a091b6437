#pragma once
// Who may ask: pure decisions over a request's Host, Origin and fetch headers. Tokens and logins are checked elsewhere.
#include <optional>
#include <string>

#include "net-server/http_types.hpp"
#include "ui-http/settings.hpp"

namespace holdfast::ui_http {

struct refusal {
    int status;
    const char* code;
    std::string message;
};

/// How a request proved who it is. A browser attaches a cookie by itself; a token in a header was put there by the program.
enum class proof { token, cookie, none_needed };

/// DNS rebinding: the name the browser believes it talks to must be ours. 403.
/// Loopback listeners: 127.0.0.0/8, ::1, localhost. Others: any IP literal, localhost. Always: allowed_hosts.
std::optional<refusal> check_host(const web::http_request& request, const settings& s);

/// An Origin header, when there is one, names this server itself or one of allowed_origins. 403.
std::optional<refusal> check_origin(const web::http_request& request, const settings& s);

/// True for an Origin that is allowed but not this server: it needs CORS headers.
bool is_foreign_allowed_origin(const web::http_request& request, const settings& s);

/// Cross-site request forgery, for requests that change something and for WebSocket handshakes. 403, or 415 for another
/// content type than JSON.
std::optional<refusal> check_forgery(const web::http_request& request, proof how, bool websocket);

}  // namespace holdfast::ui_http
