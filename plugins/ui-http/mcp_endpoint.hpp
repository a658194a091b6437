#pragma once
// The MCP endpoint: Streamable HTTP of both eras on one side, the gateway's methods (mcp.post, mcp.listen, mcp.close) on the other.
// What a message means is the gateway's business; here are HTTP's rules, and the limits.
#include <memory>
#include <mutex>

#include "net-server/http_server.hpp"
#include "net-server/token_bucket.hpp"
#include "ui-http/api_port.hpp"
#include "ui-http/settings.hpp"

namespace holdfast::ui_http {

inline constexpr std::size_t mcp_max_depth = 60;           ///< of a message: the host reads it inside of two more objects, up to 64
inline constexpr std::size_t mcp_max_header_value = 8192;  ///< bytes of one header that is handed on

class mcp_endpoint {
  public:
    mcp_endpoint(std::shared_ptr<api_port> api, const mcp_settings& s);

    bool serves(std::string_view path) const { return settings_.enabled && path == settings_.path; }
    /// A request whose sender may use this server. `cors_origin`: another origin that may read the answer, or empty. [server thread]
    void on_request(web::http_request request, web::responder respond, const person& who, const std::string& cors_origin);
    /// The answer to a request that is refused before it is looked at.
    static web::http_response refusal(int status, std::string_view message, const std::string& cors_origin);
    static web::http_response preflight();

  private:
    void post(web::http_request& request, web::responder respond, const person& who, std::string cors_origin);
    void listen(const web::http_request& request, web::responder respond, const person& who, std::string cors_origin);
    void close(const web::http_request& request, web::responder respond, const person& who, std::string cors_origin);

    const std::shared_ptr<api_port> api_;  // shared with the gateway and with completions
    const mcp_settings settings_;
    std::mutex mutex_;  // guards rate_; leaf
    web::token_bucket rate_;
};

}  // namespace holdfast::ui_http
