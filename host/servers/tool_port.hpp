#pragma once
// What sessions and the API see of the servers: a catalogue that is read without waiting, and calls.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::servers {

struct tool_info {
    std::string server;       ///< name in mcpServers
    std::string name;         ///< as the server calls it
    std::string title;
    std::string description;
    json input_schema;
    json annotations;         ///< hints only, never trusted for permissions
    std::string hash;         ///< SHA-256 of the canonical definition
    std::shared_ptr<const json> definition;  ///< as the server gave it; shared by the catalogues that show it
};

/// Immutable; replaced as a whole when a server comes, goes or changes its list.
struct catalogue {
    std::uint64_t version = 0;
    std::vector<tool_info> tools;  ///< of healthy servers only, sorted by server, name
    json prompts = json::array();    ///< [{"server", …definition}]
    json resources = json::array();
    json resource_templates = json::array();
};

struct tool_call {
    std::string server;
    std::string tool;
    json arguments = json::object();
    std::string session;               ///< for logs; may be empty
    milliseconds timeout{60'000};      ///< maximum, whatever progress says
};

/// A server asks for input while a call runs (elicitation form or url, sampling, roots), translated from either era. Roots are
/// asked only of callers with capabilities of their own: for all others the server's configured ones are the answer.
struct input_request {
    std::string key;      ///< unique within the call
    std::string method;   ///< "elicitation/create" | "sampling/createMessage" | "roots/list"
    json params;
    bool more = false;    ///< another one of the same round follows at once
};

/// Any request of the protocol, on behalf of a client that has capabilities of its own (the gateway's callers).
struct server_request {
    std::string server;
    std::string method;                ///< "tools/call", "prompts/get", "resources/read", "completion/complete"
    json params;
    std::string session;               ///< whose questions are whose; may be empty
    milliseconds timeout{60'000};
    json capabilities;                 ///< ClientCapabilities; null: the host's own
    std::string log_level;             ///< empty: no messages
    milliseconds input_wait{600'000};  ///< for the answer to what the server asks; `timeout` stands still meanwhile
};

struct tool_call_events {
    std::function<void(json progress)> progress;  ///< {"progress":x,"total"?:y,"message"?:"…"}
    /// Answer with answer_input(); without this callback the host declines on behalf of the caller.
    std::function<void(input_request)> input;
    std::function<void(std::string key)> withdrawn;  ///< the server no longer waits for that answer, or the call has ended
    /// A log message of the server that belongs to this call: {"level","logger"?,"data"}. Those of a legacy server may belong
    /// to nobody in particular; they come as notices (server_set::on_server_notice).
    std::function<void(json message)> log;
    /// The server itself answered with an error: its code, message and data as they came. Just before `done`.
    std::function<void(int code, const std::string& message, const json& data)> refused;
    /// Once, last. The CallToolResult ({"content":[…],"isError"?:bool,"structuredContent"?:…}).
    /// Errors: server_not_found, not_found (tool), unavailable (not healthy / breaker open; retry_after), timeout, transport_lost (may have been
    /// executed), server_error, protocol_error, cancelled. `sent` tells whether any byte may have left.
    unique_function<void(result<json>, bool sent)> done;
};

/// [any thread]
class tool_port {
  public:
    virtual ~tool_port() = default;
    virtual std::shared_ptr<const catalogue> tools() const = 0;
    virtual std::uint64_t call(tool_call request, tool_call_events events) = 0;
    virtual void answer_input(std::uint64_t call, const std::string& key, json response) = 0;
    virtual void cancel(std::uint64_t call) = 0;
    /// Servers whose tools may still come: configured less than `patience` ago, wanted, and neither healthy nor failed yet. Of
    /// those in `only`, unless that is empty. {"*"}: it is not known yet which servers there are.
    virtual std::vector<std::string> first_attempts(const std::vector<std::string>& only, milliseconds patience) const {
        (void)only, (void)patience;
        return {};
    }
};

}  // namespace holdfast::servers
