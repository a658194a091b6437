// A transport: an MCP server as a child process, one JSON-RPC message to a line of its stdin and stdout. The process belongs to
// the host, which names it, limits it and ends it. Replace what open(), send() and close() do by your own way to reach a server.
#include <map>
#include <memory>
#include <mutex>

#include "holdfast/transport.hpp"

using namespace holdfast::sdk;

class my_transport final : public transport {
  public:
    using transport::transport;

    void open(std::uint64_t conn, std::string_view config, transport_sink sink) override {
        if (json_text(config, "command").empty()) throw plugin_error(HF_E_INVALID, "the connection needs \"command\": the program to start");
        const std::string_view args = json_member(config, "args"), env = json_member(config, "env");
        const std::string spec = json_object({{"name", "server"}, {"command", json_text(config, "command")}, {"lines", true},
                                              field::raw("args", args.empty() ? "[]" : std::string(args)),
                                              field::raw("env", env.empty() ? "{}" : std::string(env))});
        auto l = std::make_shared<link>();
        std::lock_guard turn(l->turn);  // until opened() has been said, nothing else is
        l->child = host_.processes().spawn(spec, {
            .on_stdout = [l, sink](std::string_view line) { std::lock_guard t(l->turn); sink.message(line); },
            .on_stderr = [l, sink](std::string_view line) { std::lock_guard t(l->turn); sink.log(line); },
            .on_overflow = [l, sink](std::uint64_t) { std::lock_guard t(l->turn); sink.log("a line was too long and was dropped"); },
            .on_exit = [this, conn, l, sink](std::string_view) {
                { std::lock_guard t(l->turn); }
                const auto gone = take(conn);
                sink.closed(l->closing ? status{} : status{HF_E_TRANSPORT, "the server ended by itself"});
            }});
        {
            std::lock_guard lock(mutex_);
            links_[conn] = l;
        }
        sink.opened(json_object({{"pid", l->child.pid()}}));
        l->sink = sink;
    }
    void send(std::uint64_t conn, std::string_view message) override {
        std::string line(message);
        for (char& c : line)
            if (c == '\n' || c == '\r') c = ' ';  // between tokens only: inside JSON strings they are escaped
        std::lock_guard lock(mutex_);
        const auto at = links_.find(conn);
        if (at == links_.end()) throw plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        if (auto s = at->second->child.write(line + "\n"); !s.ok()) throw plugin_error(s);
    }
    void close(std::uint64_t conn, time_point) override {
        std::lock_guard lock(mutex_);
        const auto at = links_.find(conn);
        if (at == links_.end()) return;
        at->second->closing = true;
        at->second->child.stop(std::chrono::milliseconds(500));  // on_exit follows
    }
    void stop() override {
        std::map<std::uint64_t, std::shared_ptr<link>> rest;
        {
            std::lock_guard lock(mutex_);
            rest.swap(links_);
        }
        for (auto& [conn, l] : rest) {
            l->child = {};  // ends it; afterwards no handler runs
            l->sink.closed({HF_E_TRANSPORT, "the transport was stopped"});
        }
    }

  private:
    struct link {
        std::mutex turn;
        process child;
        transport_sink sink;
        std::atomic<bool> closing{false};
    };
    std::shared_ptr<link> take(std::uint64_t conn) {
        std::lock_guard lock(mutex_);
        const auto at = links_.find(conn);
        if (at == links_.end()) return nullptr;
        auto l = std::move(at->second);
        links_.erase(at);
        return l;
    }
    std::mutex mutex_;  // guards links_
    std::map<std::uint64_t, std::shared_ptr<link>> links_;
};

HOLDFAST_PLUGIN(my_transport, R"({"id":"my-plugin","kind":"transport","version":"0.1.0","abi":[1,1],"interfaces":["hf.transport/1"],
    "needs":["hf.process/1"],"description":"Servers as child processes","settings":{"type":"object","properties":{},"additionalProperties":false},
    "check":{"config":{"command":"cat"},"unreachable":{"command":"/nonexistent/command"}}})")
