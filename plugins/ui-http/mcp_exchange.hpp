#pragma once
// One answer of the gateway on its way to an HTTP client: the first piece decides between one JSON body and an event stream.
#include <memory>
#include <string>

#include "net-server/http_server.hpp"
#include "ui-http/api_port.hpp"

namespace holdfast::ui_http {

/// Pieces come one at a time, then the end. Shared by the call's callbacks and the connection's.
class mcp_exchange {
  public:
    /// endless: the client listens until somebody leaves.
    mcp_exchange(web::responder respond, std::string cors_origin, bool endless) : respond_(std::move(respond)), cors_origin_(std::move(cors_origin)), endless_(endless) {}

    web::responder& client() { return respond_; }
    void on_piece(std::string_view piece);
    void on_done(const api_result& r);

  private:
    void on_head(std::string_view text);
    void on_event(std::string_view piece);
    web::http_response head(const char* content_type) const;

    web::responder respond_;
    const std::string cors_origin_;
    const bool endless_;
    bool begun_ = false, streams_ = false, answered_ = false;
    int status_ = 200;
    std::string session_;  // to tell the client
    std::shared_ptr<web::response_stream> stream_;
};

/// What a browser's page of another origin needs to read an answer.
void allow_origin(web::http_response& r, const std::string& cors_origin);
/// One piece "<id>[ <retry>]\n<message>" as a server-sent event.
std::string event_text(std::string_view piece);

}  // namespace holdfast::ui_http
