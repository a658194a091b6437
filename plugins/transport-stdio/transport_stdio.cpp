// transport-stdio: an MCP server as a child process; one JSON-RPC message to a line of its stdin and stdout.
// The process is the host's: a reload of this plugin ends the connection in an orderly way and orphans nothing.
#include <map>
#include <memory>
#include <mutex>

#include "holdfast/transport.hpp"
#include "stdio_config.hpp"

namespace holdfast::transport_stdio {
namespace {

class stdio_transport final : public sdk::transport {
  public:
    stdio_transport(sdk::host& h, std::string_view settings) : transport(h, settings), defaults_(read_settings(settings)) {}

    void open(std::uint64_t conn, std::string_view config, sdk::transport_sink sink) override {
        const process_plan plan = plan_process(config, defaults_);
        auto l = std::make_shared<link>();
        l->sink = std::move(sink);
        sdk::process_handlers on;
        // Each handler waits for open() to finish below, so that opened() is heard first; the exec takes about a millisecond.
        on.on_stdout = [l](std::string_view line) {
            std::lock_guard turn(l->turn);
            if (!line.empty()) l->sink.message(line);  // an empty line is no message and no harm
        };
        on.on_stderr = [l](std::string_view line) {
            std::lock_guard turn(l->turn);
            l->sink.log(line);
        };
        on.on_overflow = [l, limit = plan.max_line_bytes](std::uint64_t bytes) {
            std::lock_guard turn(l->turn);
            const std::string what = "a line of " + std::to_string(bytes) + " bytes was dropped: longer than max_line_bytes (" +
                                     std::to_string(limit) + ")";
            l->sink.log(what);
            l->sink.request_failed("null", {HF_E_PROTOCOL, what});  // nobody can tell whose answer it was
        };
        on.on_exit = [this, l, conn](std::string_view status) {
            std::lock_guard turn(l->turn);
            const bool asked = l->closing;
            forget(conn);
            const sdk::process ended = l->take();  // its handlers own the link, and it owns them
            l->sink.closed(asked ? sdk::status{} : sdk::status{ended_in_order(status) ? HF_E_PEER : HF_E_TRANSPORT, exit_sentence(status)});
        };
        std::int64_t pid = 0;
        std::lock_guard turn(l->turn);
        {
            auto process = host_.processes().spawn(plan.spec, std::move(on));
            pid = process.pid();
            std::lock_guard lock(mutex_);
            l->process = std::move(process);  // nobody else has seen the link yet
            links_.emplace(conn, l);
        }
        l->sink.opened(sdk::json_object({{"pid", pid}}));
    }

    void send(std::uint64_t conn, std::string_view message) override {
        const auto l = find(conn);
        if (!l) throw sdk::plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        std::string line(message);
        for (char& c : line)
            if (c == '\n' || c == '\r') c = ' ';  // between tokens only: inside JSON strings they are escaped
        line += '\n';
        std::lock_guard out(l->process_mutex);
        if (!l->process) throw sdk::plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        if (auto s = l->process.write(line); !s.ok()) throw sdk::plugin_error(std::move(s));
    }

    void close(std::uint64_t conn, sdk::time_point deadline) override {
        const auto l = find(conn);
        if (!l) return;  // it ended by itself; closed() has been said
        l->closing = true;
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        std::lock_guard out(l->process_mutex);
        l->process.stop(std::max(left / 2, std::chrono::milliseconds(0)));  // half for each step of the ladder
    }

    /// The children of what is left get the ladder; their connections are told at once.
    void stop() override {
        std::map<std::uint64_t, std::shared_ptr<link>> rest;
        {
            std::lock_guard lock(mutex_);
            rest.swap(links_);
        }
        for (auto& [conn, l] : rest) const sdk::process ended = l->take();  // no handler runs once it is destroyed
        for (auto& [conn, l] : rest) l->sink.closed({HF_E_TRANSPORT, "the transport plugin was stopped"});
    }

  private:
    struct link {
        std::mutex turn;  // one report at a time; held while open() starts the process
        sdk::transport_sink sink;
        std::mutex process_mutex;  // leaf: process
        sdk::process process;
        std::atomic<bool> closing{false};

        sdk::process take() {
            std::lock_guard lock(process_mutex);
            return std::move(process);
        }
    };

    std::shared_ptr<link> find(std::uint64_t conn) {
        std::lock_guard lock(mutex_);
        auto it = links_.find(conn);
        return it == links_.end() ? nullptr : it->second;
    }
    void forget(std::uint64_t conn) {
        std::shared_ptr<link> last;  // released outside the lock
        std::lock_guard lock(mutex_);
        auto it = links_.find(conn);
        if (it == links_.end()) return;
        last = std::move(it->second);
        links_.erase(it);
    }

    const settings defaults_;
    std::mutex mutex_;  // leaf: links_
    std::map<std::uint64_t, std::shared_ptr<link>> links_;  // second owners: the process's handlers
};

}  // namespace
}  // namespace holdfast::transport_stdio

HOLDFAST_PLUGIN(holdfast::transport_stdio::stdio_transport, R"({
  "id": "transport-stdio", "kind": "transport", "version": "0.1.0", "abi": [1, 1],
  "description": "MCP servers as child processes: one JSON-RPC message to a line",
  "interfaces": ["hf.transport/1"],"needs":["hf.process/1"],
"check":{"config":{"command":"cat"},"unreachable":{"command":"/nonexistent/command"}},
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "max_line_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 4194304,
                       "description": "A longer line of a server is dropped whole and reported."},
    "memory_mb": {"type": "integer", "minimum": 0, "default": 500, "description": "Memory limit of a server; 0 = none."}}}
})")
