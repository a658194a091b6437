// ui-mcp-socket: the MCP endpoint over TCP and Unix sockets, one message to a line, as `holdfast mcp` over stdio. Who reaches a socket
// may use it: so a Unix socket is its owner's alone, and TCP is for this machine only.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "holdfast/ui.hpp"
#include "listen_address.hpp"
#include "net-stream/lines.hpp"
#include "net-stream/stream_client.hpp"
#include "ui-http/mcp_channel.hpp"

namespace holdfast::ui_mcp_socket {
namespace {

using namespace std::chrono_literals;
constexpr const char* worker_name = "sockets";
constexpr std::size_t max_queued_bytes = 8u << 20;  // of one client that does not read; then it is cut
constexpr auto stop_patience = 5s;

int port_of(int fd) {
    sockaddr_storage a{};
    socklen_t size = sizeof a;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size) != 0) return 0;
    return ntohs(a.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(a).sin6_port : reinterpret_cast<const sockaddr_in&>(a).sin_port);
}

/// One client. Owner: the driving thread, except write().
class client : public std::enable_shared_from_this<client> {
  public:
    client(net::stream_client& streams, std::shared_ptr<ui_http::api_port> api, ui_http::person who, std::size_t max_line)
        : streams_(streams), api_(std::move(api)), who_(std::move(who)), lines_(max_line) {}

    void begin(int fd, const std::string& shown, std::function<void()> ended) {
        channel_ = std::make_shared<ui_http::mcp_channel>(api_, who_, [weak = weak_from_this()](std::string_view text) {
            if (const auto self = weak.lock()) self->write(text);
        });
        ended_ = std::move(ended);
        const auto self = shared_from_this();
        id_ = streams_.adopt(fd, shown, {}, {nullptr, [self](std::string_view bytes) { self->on_bytes(bytes); }, [self] { self->queued_ = self->streams_.queued(self->id_); },
                                            [self](const net::result&) { self->on_done(); }});
        if (id_ == 0) on_done();
    }

  private:
    void on_bytes(std::string_view bytes) {
        lines_.feed(
            bytes,
            [this](std::string_view line) {
                // What begins with anything but a message is no MCP client: a web page, for one, that had a browser post here.
                if (!std::exchange(greeted_, true) && line.find_first_not_of(" \t") != line.find('{')) refused_ = true;
                if (!refused_) channel_->on_message(line);
            },
            [this](std::size_t n) {
                write(R"({"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"a message of )" + std::to_string(n) + R"( bytes is too long"}})");
            });
        if (refused_) streams_.drop(id_);
    }
    /// [any thread]
    void write(std::string_view text) {
        if (posted_.fetch_add(text.size()) + queued_.load() > max_queued_bytes) {
            streams_.post([self = shared_from_this()] { self->streams_.drop(self->id_); });
            return;
        }
        streams_.post([self = shared_from_this(), line = net::as_line(text), n = text.size()] {
            self->posted_.fetch_sub(n);
            self->streams_.write(self->id_, line);
            self->queued_ = self->streams_.queued(self->id_);
        });
    }
    void on_done() {
        if (std::exchange(over_, true)) return;
        channel_->on_gone();
        ended_();
    }

    net::stream_client& streams_;
    const std::shared_ptr<ui_http::api_port> api_;  // shared with completions
    const ui_http::person who_;
    net::line_splitter lines_;
    std::shared_ptr<ui_http::mcp_channel> channel_;  // shared with completions
    std::function<void()> ended_;
    std::uint64_t id_ = 0;
    bool greeted_ = false, refused_ = false, over_ = false;
    std::atomic<std::size_t> posted_{0}, queued_{0};
};

class ui_mcp_socket_plugin final : public sdk::ui {
  public:
    ui_mcp_socket_plugin(sdk::host& h, std::string_view text)
        : ui(h, text), settings_(read_settings(text)), api_(std::make_shared<ui_http::api_port>(h.api())), streams_({settings_.max_connections, 65'536}) {
        if (!settings_.listen.empty()) return;
        const auto own = net::parse_stream_address("unix:" + h.config().data_dir() + "/mcp.sock", false);
        if (!own) throw sdk::plugin_error(HF_E_INVALID, "the path of the plugin's directory is too long for a socket: set \"listen\"");
        settings_.listen.push_back(*own);
    }

    void start() override {
        for (auto& a : settings_.listen) {
            const int fd = a.unix_path.empty() ? host_.listeners().open(a.host, a.port) : listen_unix(a.unix_path);
            if (!a.unix_path.empty()) made_.push_back(a.unix_path);
            else a.origin = "tcp://" + (a.host.find(':') == std::string::npos ? a.host : "[" + a.host + "]") + ":" + std::to_string(port_of(fd));
            streams_.listen(fd, [this, shown = a.origin](int one) { accept(one, shown); });
        }
        // Transient: after interrupt() its return is final.
        host_.workers().start({.name = worker_name, .restart = "transient", .heartbeat = 10'000ms}, [this](sdk::worker_ctl& ctl) {
            streams_.run([&ctl] { return ctl.stop_requested(); }, [&ctl] { ctl.beat(); });
        });
        host_.log().info("MCP clients are served", {{"at", settings_.listen.front().origin}, {"role", settings_.role}});
    }
    void stop() override {
        api_->close();  // what is under way is answered now, as cancelled
        streams_.interrupt();
        const bool ended = host_.workers().stop_and_wait(worker_name, std::chrono::steady_clock::now() + stop_patience);
        if (ended) streams_.shutdown();
        for (const auto& path : made_) ::unlink(path.c_str());
        made_.clear();
        if (!api_->wait(2s)) host_.log().warn("calls of MCP clients did not end in time", {});
    }
    std::string describe() override { return sdk::json_object({{"url", settings_.listen.front().origin}, {"terminal", false}, {"clients", clients_.load()}}); }

  private:
    void accept(int fd, const std::string& shown) {
        ++clients_;
        std::make_shared<client>(streams_, api_, ui_http::person{"local", settings_.role}, settings_.max_message_bytes)->begin(fd, shown, [this] { --clients_; });
    }

    settings settings_;
    const std::shared_ptr<ui_http::api_port> api_;  // shared with completions
    net::stream_client streams_;
    std::vector<std::string> made_;  // sockets in the file system
    std::atomic<std::size_t> clients_{0};
};

}  // namespace
}  // namespace holdfast::ui_mcp_socket

HOLDFAST_PLUGIN(holdfast::ui_mcp_socket::ui_mcp_socket_plugin, R"json({
  "id": "ui-mcp-socket", "kind": "ui", "version": "0.1.0", "abi": [1, 1], "interfaces": ["hf.ui/1"],
  "needs":["hf.listen/1","hf.worker/1","hf.api/1"],
  "check":{"settings":{"listen":["tcp://127.0.0.1:0"]}},
  "description": "The MCP endpoint over TCP and Unix sockets: one message to a line",
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "listen": {"type": "array", "items": {"type": "string"}, "description": "unix:/path and tcp://127.0.0.1:PORT (0: any free one); mcp.sock in the plugin's own directory unless given"},
    "role": {"enum": ["viewer", "operator", "admin"], "default": "operator", "description": "what whoever connects may do"},
    "max_connections": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 64},
    "max_message_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 4194304}}}
})json")
