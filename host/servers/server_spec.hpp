#pragma once
// One entry of mcpServers, checked and completed with the global "breaker" and "health" objects.
#include <optional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/supervise/pool_machine.hpp"
#include "servers/health_request.hpp"
#include "servers/status.hpp"

namespace holdfast::servers {

struct server_spec {
    std::string name;
    std::string transport;        ///< what the transport resolver is asked for: "stdio", "http", "websocket", "socket" or an explicit name
    bool http = false;            ///< request/response binding: cancel by abandoning
    json connection;              ///< handed to the transport's open()
    json breaker;                 ///< merged; "use" taken out
    std::string breaker_use;
    json health;                  ///< merged; "use", "probe" and "init_message" taken out
    std::string health_use;
    health_request probe;         ///< instead of the protocol's own
    health_request init;          ///< asked on every new connection; before its answer the connection is not ready
    bool enabled = true;          ///< "disabled": true starts it disabled
    bool restarts_to_move = false;///< "move": "restart": it cannot run twice; "overlap" (default): beside itself for a moment
    bool permanent = false;       ///< "internal": true: its actor is restarted whatever happens
    milliseconds stop_grace{5'000};
    milliseconds connect_timeout{60'000};
    std::optional<milliseconds> call_timeout;  ///< no call may take longer, whatever its caller allows
    milliseconds probe_timeout{5'000};
    milliseconds idle_timeout{0};
    std::optional<supervise::pool_rules> pool;  ///< of a network server: its calls share these connections
    json roots;                   ///< null: the host's
    status_rules rules;
    std::vector<std::string> overridden;  ///< keys set at runtime, "health.interval_s": for people, not part of the fingerprint
    bool added = false;           ///< exists by what was set at runtime alone
    std::string fingerprint;      ///< equal fingerprints: nothing to do
    std::string connection_print; ///< equal ones: a connection made for the one serves the other as well

    friend bool operator==(const server_spec& a, const server_spec& b) { return a.fingerprint == b.fingerprint; }
};

/// Which transport an entry of mcpServers asks for: "transport", else "type" in the words of other clients, else by "command" or the
/// scheme of "url". Empty when it says nothing of the kind.
std::string transport_of(const json& server);

/// `server`: the entry; `breaker`, `health`: the global objects (may be null).
/// Errors: config_invalid, naming the key and what it should be.
result<std::shared_ptr<const server_spec>> make_spec(const std::string& name, const json& server, const json& breaker, const json& health);

}  // namespace holdfast::servers
