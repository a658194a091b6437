// transport-socket: MCP servers behind a TCP or Unix socket, one JSON-RPC message to a line, as with stdio.
#include "holdfast/json.hpp"
#include "net-stream/lines.hpp"
#include "net-stream/stream_transport.hpp"

namespace holdfast::transport_socket {
namespace {

constexpr std::size_t least_line_bytes = 1024, most_line_bytes = 256u << 20;

class line_framing final : public net::framing {
  public:
    explicit line_framing(std::size_t limit, std::string origin) : limit_(limit), origin_(std::move(origin)), lines_(limit) {}

    void connected(net::framing_port& port, time_point) override { port.ready(); }
    void received(net::framing_port& port, std::string_view bytes, time_point) override {
        lines_.feed(
            bytes, [&port](std::string_view line) { port.message(line); },
            [&](std::size_t n) {
                port.dropped("a line of " + std::to_string(n) + " bytes was dropped: longer than max_line_bytes (" + std::to_string(limit_) + ")");
            });
    }
    std::string encode(std::string_view message) override { return net::as_line(message); }
    void goodbye(net::framing_port& port) override { port.finish(); }
    sdk::status ended() const override {
        return {HF_E_TRANSPORT, origin_ + (lines_.held() ? " closed the connection in the middle of a message." : " closed the connection."), true};
    }

  private:
    const std::size_t limit_;
    const std::string origin_;
    net::line_splitter lines_;
};

class socket_transport final : public net::stream_transport {
  public:
    using stream_transport::stream_transport;

  protected:
    net::stream_plan plan(std::string_view config) const override {
        net::stream_plan p;
        p.options = settings_.stream;
        net::read_stream_options(config, p.options);
        const auto to = net::parse_stream_address(sdk::json_text(config, "url"), false);
        if (!to) throw sdk::plugin_error(HF_E_INVALID, "\"url\" has to be tcp://host:port, tls://host:port or unix:/path of a server that speaks one message to a line");
        p.to = *to;
        const auto limit = sdk::json_number<std::size_t>(config, "max_line_bytes", settings_.max_message_bytes);
        if (limit < least_line_bytes || limit > most_line_bytes) throw sdk::plugin_error(HF_E_INVALID, "\"max_line_bytes\" has to be a whole number from 1024 to 268435456");
        p.framing = std::make_unique<line_framing>(limit, p.to.origin);
        return p;
    }
};

}  // namespace
}  // namespace holdfast::transport_socket

HOLDFAST_PLUGIN(holdfast::transport_socket::socket_transport, R"({
  "id": "transport-socket", "kind": "transport", "version": "0.1.0", "abi": [1, 1],
  "description": "MCP servers behind a TCP or Unix socket: one JSON-RPC message to a line",
  "interfaces": ["hf.transport/1"],"needs":["hf.worker/1"],
"check":{"config":{"url":"${ECHO_TCP}"},"unreachable":{"url":"tcp://127.0.0.1:9"}},
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "max_message_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 4194304,
                          "description": "A longer line of a server is dropped whole and reported."},
    "max_queued_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 16777216,
                         "description": "Bytes that may wait for one server to take them; one message always fits."},
    "keep_alive_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30,
                     "description": "Silence after which TCP asks whether the server is still there; 0: never."},
    "stuck_s": {"type": "number", "minimum": 0.01, "maximum": 86400, "default": 20,
                "description": "A server that takes nothing of what waits for it for so long is lost."}}}
})")
