#pragma once
// The MCP endpoint over WebSocket: one JSON-RPC message to a text message, subprotocol "mcp".
#include "net-server/http_server.hpp"
#include "ui-http/mcp_channel.hpp"

namespace holdfast::ui_http {

class mcp_websocket final : public web::websocket_handler, public std::enable_shared_from_this<mcp_websocket> {
  public:
    static constexpr const char* protocol = "mcp";

    /// `still_allowed`: asked at each message; false ends the connection with 4401.
    mcp_websocket(std::shared_ptr<api_port> api, person who, std::function<bool()> still_allowed)
        : api_(std::move(api)), who_(std::move(who)), still_allowed_(std::move(still_allowed)) {}

    void on_open(std::shared_ptr<web::websocket> socket) override {
        socket_ = socket;
        // Answers may wait beyond the queue of a slow client for a while; who takes nothing is cut.
        channel_ = std::make_shared<mcp_channel>(api_, who_, [weak = std::weak_ptr(socket)](std::string_view text) {
            if (const auto s = weak.lock()) s->reply(std::make_shared<const std::string>(text));
        });
    }
    void on_message(std::string_view text) override {
        if (!still_allowed_()) return socket_->close(4401, "sign in again");
        channel_->on_message(text);
    }
    bool busy() const override { return channel_ && channel_->busy(); }
    void on_close() override {
        if (channel_) channel_->on_gone();
        socket_.reset();
    }

  private:
    const std::shared_ptr<api_port> api_;  // shared with the gateway and with completions
    const person who_;
    const std::function<bool()> still_allowed_;
    std::shared_ptr<web::websocket> socket_;   // shared with the server
    std::shared_ptr<mcp_channel> channel_;     // shared with completions
};

}  // namespace holdfast::ui_http
