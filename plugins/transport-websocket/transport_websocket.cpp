// transport-websocket: MCP servers behind WebSocket, one JSON-RPC message to a text message, subprotocol "mcp".
#include <openssl/rand.h>

#include "net-stream/stream_transport.hpp"
#include "transport-websocket/ws_framing.hpp"

namespace holdfast::transport_websocket {
namespace {

std::string random_bytes(std::size_t n) {
    std::string out(n, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(n)) != 1) throw std::runtime_error("the system gives no random numbers");
    return out;
}

class websocket_transport final : public net::stream_transport {
  public:
    websocket_transport(sdk::host& h, std::string_view text) : stream_transport(h, text), ping_(read_ping(text)) {}

  protected:
    net::stream_plan plan(std::string_view config) const override {
        net::stream_plan p;
        p.options = settings_.stream;
        net::read_stream_options(config, p.options);
        ws_options o{read_server(config), settings_.max_message_bytes, ping_, p.options.connect, &random_bytes};
        p.to = o.server.to;
        p.framing = std::make_unique<ws_framing>(std::move(o));
        return p;
    }
    void check_message(std::string_view message) const override {
        if (!valid_utf8(message)) throw sdk::plugin_error(HF_E_INVALID, "a message has to be UTF-8");
    }

  private:
    const std::chrono::milliseconds ping_;
};

}  // namespace
}  // namespace holdfast::transport_websocket

HOLDFAST_PLUGIN(holdfast::transport_websocket::websocket_transport, R"({
  "id": "transport-websocket", "kind": "transport", "version": "0.1.0", "abi": [1, 1],
  "description": "MCP servers behind WebSocket: one JSON-RPC message to a text message",
  "interfaces": ["hf.transport/1"],"needs":["hf.worker/1"],
"check":{"config":{"url":"${ECHO_WS}"},"unreachable":{"url":"ws://127.0.0.1:9/"}},
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "max_message_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 4194304,
                          "description": "A longer message of a server ends its connection with code 1009."},
    "max_queued_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 16777216,
                         "description": "Bytes that may wait for one server to take them; one message always fits."},
    "ping_s": {"type": "number", "minimum": 0, "maximum": 3600, "default": 30,
               "description": "Silence after which a server is pinged; it is lost after as long again. 0: never."},
    "keep_alive_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30,
                     "description": "Silence after which TCP asks whether the server is still there; 0: never."},
    "stuck_s": {"type": "number", "minimum": 0.01, "maximum": 86400, "default": 20,
                "description": "A server that takes nothing of what waits for it for so long is lost."}}}
})")
