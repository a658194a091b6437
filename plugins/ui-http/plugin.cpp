#include "holdfast/ui.hpp"
#include "ui-http/gateway.hpp"

namespace holdfast::ui_http {
namespace {

class ui_http_plugin final : public sdk::ui {
  public:
    ui_http_plugin(sdk::host& host, std::string_view settings_json)
        : ui(host, settings_json), configured_(read_settings(settings_json)), gateway_(host, configured_) {}

    void start() override {
        gateway_.listen();
        for (int i = 0; i < configured_.threads; ++i) {
            sdk::worker_options options;
            options.name = "http-" + std::to_string(i);
            options.heartbeat = std::chrono::seconds(5);
            host_.workers().start(std::move(options), [this](sdk::worker_ctl& ctl) { gateway_.run(ctl); });
        }
        host_.log().info("web UI is listening", {{"url", gateway_.url()}, {"auth", configured_.token_auth ? "token" : "none"}});
    }
    void quiesce(sdk::time_point deadline) override { gateway_.quiesce(deadline); }
    void stop() override { gateway_.stop(); }

    std::string describe() override {
        return sdk::json_object({{"url", gateway_.url()}, {"terminal", false}, {"clients", gateway_.clients()}});
    }
    std::string export_state() override { return dump({{"logins", gateway_.logins().export_state(std::chrono::steady_clock::now())}}); }
    void import_state(std::string_view state_json) override {
        if (const auto state = parse_json(state_json)) gateway_.logins().import_state(member(*state, "logins"), std::chrono::steady_clock::now());
    }

  private:
    const settings configured_;
    gateway gateway_;
};

}  // namespace
}  // namespace holdfast::ui_http

HOLDFAST_PLUGIN(holdfast::ui_http::ui_http_plugin, R"json({
  "id": "ui-http", "kind": "ui", "version": "0.1.0", "abi": [1, 1], "interfaces": ["hf.ui/1"], "reload": "overlap",
  "needs":["hf.listen/1","hf.worker/1","hf.api/1","hf.events/1"],
  "check":{"settings":{"listen":"127.0.0.1:0"}},
  "description": "Web chat and status pages, HTTP API and WebSocket",
  "settings": {
    "type": "object", "additionalProperties": false,
    "properties": {
      "listen": {"type": "string", "default": "127.0.0.1:7777", "description": "ADDRESS:PORT; port 0 takes any free one"},
      "auth": {"type": "object", "additionalProperties": false, "properties": {
        "mode": {"enum": ["token", "none"], "default": "token", "description": "\"none\" is allowed on a loopback address only"}}},
      "allowed_origins": {"type": "array", "items": {"type": "string"}, "description": "other origins whose pages may use the API"},
      "allowed_hosts": {"type": "array", "items": {"type": "string"}, "description": "host names this server is reached by, e.g. through a proxy"},
      "max_connections": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000},
      "message_rate": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 10, "description": "WebSocket messages a second of one user, all tabs together; four times as many at once"},
      "ping_s": {"type": "integer", "minimum": 2, "maximum": 3600, "default": 60, "description": "WebSocket clients that are silent for half of it are pinged, and cut off when they are silent for all of it or read nothing"},
      "mcp": {"type": "object", "additionalProperties": false, "description": "the MCP endpoint (Streamable HTTP, every protocol version)", "properties": {
        "enabled": {"type": "boolean", "default": true},
        "path": {"type": "string", "default": "/mcp"},
        "websocket": {"type": "boolean", "default": false, "description": "<path>/ws too: one message to a text message, subprotocol mcp"},
        "sse": {"type": "boolean", "default": false, "description": "<path>/sse and <path>/messages too: HTTP with SSE of 2024-11-05, for old clients"},
        "rate": {"type": "integer", "minimum": 0, "maximum": 1000000, "default": 0, "description": "requests a second of one user, four times as many at once; 0: no limit"}}},
      "limits": {"type": "object", "additionalProperties": false, "description": "of what comes in, and of clients that do not read", "properties": {
        "body_bytes": {"type": "integer", "minimum": 1024, "maximum": 16777216, "default": 4194304, "description": "of a request; more: 413"},
        "websocket_message_bytes": {"type": "integer", "minimum": 1024, "maximum": 16777216, "default": 1048576, "description": "more: closed with 1009"},
        "header_bytes": {"type": "integer", "minimum": 1024, "maximum": 32768, "default": 16384, "description": "all headers of a request; more: 431"},
        "header_ms": {"type": "integer", "minimum": 100, "maximum": 600000, "default": 5000, "description": "for the headers to arrive, trickled or not; then the client is cut"},
        "queue_bytes": {"type": "integer", "minimum": 16384, "maximum": 4194304, "default": 262144, "description": "of events waiting for one WebSocket client; more: it has to subscribe again"},
        "stuck_ms": {"type": "integer", "minimum": 100, "maximum": 600000, "default": 10000, "description": "a client that takes nothing for so long is cut"}}},
      "threads": {"type": "integer", "minimum": 1, "maximum": 16, "default": 2}
    }
  }
})json")
