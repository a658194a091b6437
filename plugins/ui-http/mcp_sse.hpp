#pragma once
// The MCP endpoint as HTTP with SSE (2024-11-05), for clients that know nothing newer: a stream at <path>/sse, whose first event names
// where its client posts its messages.
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "net-server/http_server.hpp"
#include "ui-http/mcp_channel.hpp"

namespace holdfast::ui_http {

inline constexpr std::size_t max_sse_streams = 500;

class mcp_sse : public std::enable_shared_from_this<mcp_sse> {
  public:
    mcp_sse(std::shared_ptr<api_port> api, std::string path) : api_(std::move(api)), stream_path_(path + "/sse"), post_path_(path + "/messages") {}

    bool serves(std::string_view path) const { return path == stream_path_ || path == post_path_; }
    /// A request whose sender may use this server. [server thread]
    void on_request(web::http_request request, web::responder respond, const person& who, const std::string& cors_origin);

  private:
    void open(web::responder respond, const person& who, const std::string& cors_origin);
    void post(const web::http_request& request, web::responder respond, const person& who, const std::string& cors_origin);

    const std::shared_ptr<api_port> api_;  // shared with the gateway and with completions
    const std::string stream_path_, post_path_;
    std::mutex mutex_;  // guards streams_; leaf
    std::map<std::string, std::shared_ptr<mcp_channel>, std::less<>> streams_;  // by a name nobody can guess
};

}  // namespace holdfast::ui_http
