// A transport of a page: every message is one run of a program, which reads it from stdin and prints its answers, one to a line.
// An MCP server can then be a script that keeps nothing in mind: {"transport": "example-run-transport", "command": "./server.sh"}.
#include <map>
#include <memory>
#include <mutex>

#include "holdfast/transport.hpp"

using namespace holdfast::sdk;
using std::chrono::milliseconds;

constexpr milliseconds longest_run{30'000};  // then SIGTERM, and SIGKILL after as long again
constexpr std::size_t most_runs = 64;        // at a time, of one connection

class run_transport final : public transport {
  public:
    using transport::transport;

    // [any & active] There is nothing to connect to: the connection is open at once.
    void open(std::uint64_t conn, std::string_view config, transport_sink sink) override {
        auto l = std::make_shared<link>();
        const std::string_view args = json_member(config, "args");
        l->spec = json_object({{"name", "run"}, {"command", json_text(config, "command")}, field::raw("args", args.empty() ? "[]" : std::string(args)), {"lines", true}});
        if (json_text(config, "command").empty()) throw plugin_error(HF_E_INVALID, "\"command\" has to name the program to run");
        l->sink = sink;
        std::lock_guard turn(l->turn);
        {
            std::lock_guard lock(mutex_);
            links_[conn] = l;
        }
        sink.opened("{}");
    }
    // [any & active] Reports of one connection come one at a time: whoever makes one has the turn.
    void send(std::uint64_t conn, std::string_view message) override {
        const auto l = find(conn);
        std::lock_guard turn(l->turn);
        if (l->closed) throw plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        if (l->runs.size() >= most_runs) throw plugin_error(HF_E_OVERLOADED, "too many programs are running");
        const std::string id(json_member(message, "method").empty() ? "" : json_member(message, "id"));  // only a request is owed an answer
        const auto run = std::make_shared<process>();
        try {
            *run = host_.processes().spawn(l->spec, handlers(l, id, run.get()));
        } catch (const plugin_error& e) {
            if (id.empty()) throw;
            return l->sink.request_failed(id, e.status());  // this request fails, others may not
        }
        l->runs[run.get()] = run;
        std::string line(message);
        for (char& c : line)
            if (c == '\n' || c == '\r') c = ' ';  // between tokens only: inside JSON strings they are escaped
        if (auto s = run->write(line + "\n"); !s.ok()) throw plugin_error(s);
        run->stop(longest_run);  // closes its stdin once everything is written; on_exit follows
    }
    // [any & active|quiescing]
    void close(std::uint64_t conn, time_point) override {
        std::shared_ptr<link> l;
        {
            std::lock_guard lock(mutex_);
            if (auto node = links_.extract(conn)) l = std::move(node.mapped());
        }
        if (l) l->end({});
    }
    // [control]
    void stop() override {
        std::map<std::uint64_t, std::shared_ptr<link>> rest;
        {
            std::lock_guard lock(mutex_);
            rest.swap(links_);
        }
        for (auto& [conn, l] : rest) l->end({HF_E_TRANSPORT, "the transport was stopped"});
    }

  private:
    struct link {
        std::mutex turn;  // guards what follows, and is held while the sink is told something
        std::string spec;
        transport_sink sink;
        std::map<process*, std::shared_ptr<process>> runs;
        bool closed = false;

        void end(const status& why) {
            std::map<process*, std::shared_ptr<process>> ended;  // destroyed without the turn: their handlers may be waiting for it
            std::lock_guard t(turn);
            ended.swap(runs);
            if (!std::exchange(closed, true)) sink.closed(why);
        }
    };
    static process_handlers handlers(const std::shared_ptr<link>& l, const std::string& id, process* key) {
        const auto answered = std::make_shared<bool>(id.empty());  // owners: two of the handlers
        return {.on_stdout = [l, id, answered](std::string_view line) {
                    std::lock_guard t(l->turn);
                    *answered |= json_member(line, "id") == id;
                    l->sink.message(line);
                },
                .on_stderr = [l](std::string_view line) { std::lock_guard t(l->turn); l->sink.log(line); },
                .on_exit = [l, id, answered, key](std::string_view how) {
                    std::shared_ptr<process> gone;  // destroyed last, without the turn
                    std::lock_guard t(l->turn);
                    if (auto node = l->runs.extract(key)) gone = std::move(node.mapped());
                    if (!*answered) l->sink.request_failed(id, {HF_E_TRANSPORT, "the program ended without an answer: " + std::string(how)});
                }};
    }
    std::shared_ptr<link> find(std::uint64_t conn) {
        std::lock_guard lock(mutex_);
        const auto at = links_.find(conn);
        if (at == links_.end()) throw plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        return at->second;
    }
    std::mutex mutex_;  // guards links_
    std::map<std::uint64_t, std::shared_ptr<link>> links_;
};

HOLDFAST_PLUGIN(run_transport, R"({"id":"example-run-transport","kind":"transport","version":"0.1.0","abi":[1,1],"interfaces":["hf.transport/1"],
    "needs":["hf.process/1"],"description":"Servers that are run once for every message","settings":{"type":"object","properties":{},"additionalProperties":false},
    "check":{"config":{"command":"cat"},"unreachable":{"command":"/nonexistent/command"}}})")
