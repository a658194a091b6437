#pragma once
// All MCP servers: one supervised actor each, one catalogue, one way to call a tool. The composition root makes one of these,
// puts supervisor_spec() into the tree and calls apply() whenever the configuration changes.
//
//   auto servers = server_set::create(options);                       // nothing runs yet
//   children.push_back(servers->supervisor_spec());                   // into the root supervisor
//   servers->apply(config);                                           // {"mcpServers":{…},"breaker":{…},"health":{…}}
//
// Statuses belong to the servers' actors alone; everything read here is an immutable snapshot.
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/transport.h"
#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"
#include "kernel/plugins/ports.hpp"
#include "kernel/supervise/process.hpp"
#include "kernel/supervise/supervisor.hpp"
#include "servers/server_notices.hpp"
#include "servers/tool_port.hpp"

namespace holdfast::events {
class bus;
}
namespace holdfast::plugins {
class metrics_registry;
}

namespace holdfast::servers {

inline constexpr milliseconds default_stop_grace{5'000};       ///< graceful stop of one server
inline constexpr milliseconds default_connect_timeout{60'000}; ///< open + handshake + lists: one attempt may take this long
inline constexpr std::size_t stderr_ring_lines = 1'000;        ///< kept per server for server.log
inline constexpr std::size_t max_log_line_bytes = 8 * 1024;    ///< longer ones are cut
inline constexpr std::size_t max_servers = 10'000;

/// Resolves a policy or transport by the name the configuration gives it: "stdio", "http" or an explicit name for
/// transports, "breaker-consecutive" or whatever "use" says for policies. Asked anew for every use. [any thread]
template <class Table>
using named_resolver = std::function<result<plugins::bound<Table>>(const std::string& name)>;

enum class log_level { debug, info, warn, error };

struct server_set_options {
    supervise::runtime* runtime = nullptr;           ///< borrowed; outlives the set
    events::bus* bus = nullptr;                      ///< borrowed; outlives the set
    std::shared_ptr<plugins::call_port> store;       ///< hf.store/1; null: statuses do not survive a restart of the host
    named_resolver<hf_transport> transport;
    std::function<std::string(const std::string& name)> transport_instance;  ///< which plugin instance that is; may be empty [any thread]
    named_resolver<hf_breaker> breaker;
    named_resolver<hf_health> health;
    std::function<void(log_level, const std::string& server, const std::string& line)> log;  ///< may be empty [any thread]
    /// Whether an entry of mcpServers is as its schema wants it, for what comes in at runtime; may be empty.
    std::function<result<void>(const std::string& name, const json& entry)> check_entry;
    std::function<std::vector<supervise::process_usage>()> usage;  ///< of every child process; may be empty. Reads /proc
    json client_info = json{{"name", "holdfast"}, {"version", "0.1.0"}};
    json roots = json::array();                      ///< what roots/list answers when no call is there to be asked
    std::uint64_t random_seed = 0;                   ///< jitter; 0: from the kernel
};

using row_reply = unique_function<void(result<json>)>;

/// [any thread] unless said otherwise. Names are those of mcpServers.
class server_set final : public tool_port, public std::enable_shared_from_this<server_set> {
  public:
    static std::shared_ptr<server_set> create(server_set_options options);
    ~server_set() override;

    /// The supervisor "servers" (dynamic children, kind "server"); give it to the root supervisor. When it is restarted it
    /// starts every configured server again.
    supervise::child_spec supervisor_spec();

    /// Makes the set equal to the configuration: new servers start, missing ones stop and go, of the others only those whose
    /// own settings changed (policies included) are restarted. Returns the names that were added, changed or removed.
    /// Errors: config_invalid, naming the server and the key; then nothing was changed.
    result<std::vector<std::string>> apply(const json& config);
    /// One server at runtime. Errors: server_already_exists, config_invalid / server_not_found.
    result<void> add(const std::string& name, const json& server);
    result<void> update(const std::string& name, const json& server);
    result<void> remove(const std::string& name);
    /// What is wrong with one server's settings, or nothing.
    static result<void> check(const std::string& name, const json& server);
    /// What would keep it from starting here and now: no such program, no such directory (servers/preflight.hpp).
    static result<void> check_start(const std::string& name, const json& server);

    // Each replies with the server's row once done (start: once healthy or the attempt failed). Errors: server_not_found,
    // unavailable. stop: until start or the next start of the host; disable: until enable, across restarts of the host.
    void start(const std::string& name, row_reply done);
    void stop(const std::string& name, row_reply done);
    void restart(const std::string& name, row_reply done);
    void enable(const std::string& name, row_reply done);
    void disable(const std::string& name, row_reply done);

    /// start, stop, restart, enable or disable, on many servers at once; no names: all that the action can concern. Replies
    /// {"successful","failed","results":[{"name","ok","status"|"error"}]}, in the order given. Errors: invalid_argument.
    void bulk(const std::string& action, std::vector<std::string> names, row_reply done);

    // Changes that the configuration file knows nothing of (PLG-2): in force at once, kept in the store, put over the file, lost to
    // a later edit of the same key in the file. Each replies with the server's row once the store has it.
    /// Reads what the store has, and again every 30 s from then on. Before apply(), so that no server starts twice.
    void load_overrides(row_reply done);
    /// A merge patch of its entry of mcpServers. Errors: server_not_found, invalid_argument.
    void update_config(const std::string& name, json changes, const std::string& who, row_reply done);
    /// The same of many, in force together; no names: of all. Replies as bulk(): those it is not valid for are left as they are.
    void update_configs(std::vector<std::string> names, json changes, const std::string& who, row_reply done);
    void reset_config(const std::string& name, row_reply done);  ///< back to what the file says
    void add_server(const std::string& name, json entry, const std::string& who, row_reply done);  ///< Errors: server_already_exists, invalid_argument
    void remove_server(const std::string& name, row_reply done);  ///< of an added one. Errors: server_not_found, invalid_argument
    /// Adds the servers of another program's file (servers/import.hpp). Replies {"format","servers":[…],"problems":[…]}.
    void import_servers(const std::string& file, const std::string& text, bool dry_run, const std::string& who, row_reply done);

    // server_set_health.cpp. All from memory, but the last.
    result<json> health(const std::string& name) const;  ///< {"status","last_check","uptime","restart_count","resource_usage",…}
    json system_health() const;                          ///< over everything
    json metrics() const;                                ///< {"started","stopped","restarted","failed","health_checks",…,"servers":{…}}
    void export_metrics(plugins::metrics_registry& to) const;  ///< as holdfast_server_…
    /// The newest rows of the health log, or those before `before`: {"events":[{"seq","at","event",…}]}, oldest first.
    void health_log(const std::string& name, std::size_t limit, std::uint64_t before, row_reply done) const;
    void watch_resources();  ///< begins looking at the process trees, every 10 s

    json rows() const;                                          ///< server.list: {"servers":[…]}, by name
    result<json> row(const std::string& name) const;            ///< server.get
    result<json> log(const std::string& name, std::size_t limit = 200) const;  ///< server.log: {"lines":[…]}, oldest first
    json tool_rows(const std::string& server = {}) const;       ///< tool.list: {"version","tools":[…]}
    json counts() const;                                        ///< {"healthy","disconnected","circuit_open","disabled"}
    std::vector<std::string> names() const;

    // tool_port
    std::shared_ptr<const catalogue> tools() const override;
    std::uint64_t call(tool_call request, tool_call_events events) override;
    void answer_input(std::uint64_t call, const std::string& key, json response) override;
    void cancel(std::uint64_t call) override;
    std::vector<std::string> first_attempts(const std::vector<std::string>& only, milliseconds patience) const override;
    /// Any other request of the protocol ("prompts/get", "resources/read", "completion/complete"), same rules as call().
    std::uint64_t request(const std::string& server, const std::string& method, json params, milliseconds timeout,
                          tool_call_events events);
    std::uint64_t request(server_request request, tool_call_events events);

    /// What it takes to open a connection to a server beside those of its actor. Errors: server_not_found, those of the resolver.
    struct way {
        plugins::bound<hf_transport> transport;
        json config;  ///< for open(); holds secrets
    };
    result<way> errand(const std::string& name) const;

    /// The transport of that name (as servers give it, or the plugin instance behind it) has a new generation, which
    /// options.transport resolves to from now on, while the one before still carries what is connected. Every healthy server
    /// on it opens a second connection and goes over when that is ready; calls in flight end where they were sent. A stdio
    /// server is started anew for it, beside the first: the process belongs to the connection. Statuses do not change.
    void transport_replaced(const std::string& transport_id);

    /// What servers say of their own accord: notifications/{tools,prompts,resources}/list_changed,
    /// notifications/resources/updated, notifications/elicitation/complete, and a notifications/message that belongs to no
    /// call. Replaces the one before. Called in the server's turn: keep it short.
    void on_server_notice(server_notices::listener f);
    /// The resources whose updates are wanted from now on, all of them; kept over reconnections. notifications/resources/updated
    /// follows, also for those that may have changed while the server was away. Errors: server_not_found.
    result<void> watch_resources(const std::string& server, std::set<std::string> uris);
    /// What legacy servers are asked to log from now on (logging/setLevel); empty: as they like. Modern ones are asked call by call.
    void want_log_level(const std::string& level);

    /// Told after every swap of the catalogue (for list_changed towards clients). Replaces the one before. Keep it short.
    void on_catalogue_changed(std::function<void()> f);

    struct impl;

  private:
    explicit server_set(server_set_options options);
    std::shared_ptr<impl> impl_;  // second owners: callbacks of the supervisor
};

}  // namespace holdfast::servers
