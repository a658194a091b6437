#include "app/config_schema.hpp"

#include <filesystem>

#include "app/paths.hpp"
#include "kernel/core/nearest.hpp"
#include "kernel/plugins/plugin_set.hpp"
#include "kernel/plugins/verify.hpp"
#include "servers/server_set.hpp"
#include "sessions/session_options.hpp"

namespace holdfast::app {
namespace {

// Descriptions are what an editor shows; x-hint is what an error message adds.
constexpr const char* schema_text = R"json({
"$schema": "https://json-schema.org/draft/2020-12/schema",
"title": "Holdfast configuration",
"type": "object",
"additionalProperties": false,
"properties": {
  "$schema": {"type": "string", "description": "For editors: the schema of this file"},
  "host": {
    "type": "object", "additionalProperties": false, "default": {},
    "properties": {
      "data_dir": {"type": "string", "minLength": 1, "default": "~/.local/state/holdfast", "description": "Where the store, the token and the control socket live; ~ is the home directory, relative paths start at this file"},
      "plugin_path": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": [], "description": "Directories searched for plugins before the built-in ones"},
      "threads": {"type": "integer", "minimum": 0, "maximum": 256, "default": 0, "description": "Threads of the pool; 0: one per core"},
      "stuck_call_s": {"type": "number", "minimum": 0.1, "maximum": 3600, "default": 10, "description": "A thread that is inside one call for so long hangs: it is reported, given up and replaced"},
      "stop_timeout_s": {"type": "number", "minimum": 1, "maximum": 600, "default": 15, "description": "How long an orderly stop may take"},
      "restart_when_hung": {"type": "boolean", "default": false, "description": "The guardian ends and restarts a host that does not answer it"},
      "hang_timeout_s": {"type": "number", "minimum": 1, "maximum": 3600, "default": 30, "description": "How long the guardian waits for an answer, with restart_when_hung"},
      "log": {
        "type": "object", "additionalProperties": false, "default": {},
        "properties": {
          "level": {"enum": ["trace", "debug", "info", "warn", "error", "critical", "off"], "default": "info"},
          "format": {"enum": ["text", "json"], "default": "text"},
          "file": {"type": "string", "minLength": 1, "description": "Also write to this file (rotated at 10 MiB, 3 kept)"}
        }
      }
    }
  },
  "auth": {
    "type": "object", "additionalProperties": false, "default": {},
    "properties": {
      "mode": {"enum": ["token", "none"], "default": "token", "description": "token: every request needs the token of the data directory; none: only when every listener is on loopback"}
    }
  },
  "plugins": {
    "type": "object", "default": {},
    "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "x-hint": "letters, digits, '-', '_' and '.', at most 64"},
    "additionalProperties": {
      "type": "object", "additionalProperties": false, "required": ["use"],
      "properties": {
        "use": {"type": "string", "minLength": 1, "description": "Name of the plugin file without .so, or a path"},
        "settings": {"type": "object", "description": "Checked against the plugin's own schema"},
        "start": {"enum": ["auto", "on_demand", "disabled"], "default": "auto", "description": "auto: with the host; on_demand: by 'holdfast ui start' or plugin.start; disabled: never"},
        "isolation": {"enum": ["in-process", "process"], "default": "in-process", "description": "process: the same file in a process of its own, which may crash, hang or be killed without harm to the host"},
        "limits": {
          "type": "object", "additionalProperties": false, "description": "Of the plugin's own process",
          "properties": {
            "memory_mb": {"type": "integer", "minimum": 0, "maximum": 1048576, "default": 500, "description": "0: no limit"},
            "cpu_percent": {"type": "integer", "minimum": 0, "maximum": 100000, "default": 0, "description": "Of one core, on average over 10 s; 0: no limit"},
            "descriptors": {"type": "integer", "minimum": 64, "maximum": 1048576, "default": 1024}
          }
        },
        "sandbox": {
          "type": "object", "additionalProperties": false, "description": "Of the plugin's own process; see 'holdfast plugins' for what took effect",
          "properties": {
            "on": {"type": "boolean", "default": true},
            "network": {"type": "boolean", "default": true},
            "read": {"type": "array", "items": {"type": "string", "minLength": 1}, "description": "Only below these (and what the system needs); empty: everywhere"},
            "write": {"type": "array", "items": {"type": "string", "minLength": 1}, "description": "Below these and the plugin's own directory only"}
          }
        },
        "on_hang": {"enum": ["restart", "restart_host"], "default": "restart", "description": "When a call into it in the host's process does not return: start the plugin afresh, or the whole host"},
        "reload": {
          "type": "object", "additionalProperties": false, "description": "How a new version takes over while the host runs ('holdfast plugin reload')",
          "properties": {
            "watch": {"type": "boolean", "default": false, "description": "Reload whenever the plugin's file changes: for developing it"},
            "drain_s": {"type": "number", "minimum": 0, "maximum": 3600, "default": 30, "description": "How long the old version may finish what it has under way"},
            "probation_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30, "description": "A new version that fails within this time gives way to the old one"}
          }
        },
        "sha256": {"type": "string", "pattern": "^[0-9a-fA-F]{64}$", "x-hint": "the file's SHA-256, 64 hexadecimal digits"},
        "supervision": {"$ref": "#/$defs/supervision"}
      }
    }
  },
  "llm": {
    "type": "object", "additionalProperties": false, "default": {},
    "properties": {
      "default": {"type": "string", "minLength": 1, "default": "auto", "description": "Name of an llm plugin, or auto: the first whose key is set or whose local server answers, else the demonstration model"},
      "fallback": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": true, "default": []},
      "pools": {"type": "object", "additionalProperties": {"$ref": "#/$defs/pool"}, "description": "By the name of an llm plugin, or \"*\" for those not named: how many calls it gets at once; more wait their turn. Without one there is no limit"}
    }
  },
  "store": {
    "type": "object", "additionalProperties": false, "default": {"use": "store-sqlite"}, "required": ["use"],
    "properties": {"use": {"type": "string", "minLength": 1}, "settings": {"type": "object"}}
  },
  "breaker": {"$ref": "#/$defs/breaker"},
  "health": {"$ref": "#/$defs/health"},
  "sessions": {
    "type": "object", "additionalProperties": false, "default": {},
    "properties": {
      "permission_timeout_s": {"type": "number", "minimum": 1, "maximum": 86400},
      "stream_idle_s": {"type": "number", "minimum": 1, "maximum": 3600},
      "tool_timeout_s": {"type": "number", "minimum": 1, "maximum": 86400},
      "server_wait_s": {"type": "number", "minimum": 0, "maximum": 3600,
                        "description": "The model is not asked before servers that were configured so recently have come up or failed their first attempt; 0: it never waits"},
      "keep_events_s": {"type": "number", "minimum": 0, "maximum": 86400,
                        "description": "How long after a session came to rest its newest events are kept in memory for clients that attach again"},
      "hibernate_after_s": {"type": "number", "minimum": 0},
      "delete_after_s": {"type": "number", "minimum": 0},
      "max_rounds": {"type": "integer", "minimum": 1, "maximum": 1000},
      "recent_messages": {"type": "integer", "minimum": 2, "maximum": 10000},
      "snapshot_every": {"type": "integer", "minimum": 10},
      "max_live": {"type": "integer", "minimum": 1},
      "max_message_bytes": {"type": "integer", "minimum": 1024},
      "system_prompt": {"type": "string"},
      "max_tokens": {"type": "integer", "minimum": 0}
    }
  },
  "gateway": {
    "type": "object", "additionalProperties": false, "default": {}, "description": "One MCP endpoint in front of all servers: /mcp of ui-http, and 'holdfast mcp'",
    "properties": {
      "enabled": {"type": "boolean", "default": true},
      "stdio": {"type": "boolean", "default": true, "description": "MCP on stdin and stdout ('holdfast mcp'); the other endpoints are switched where they are: 'mcp' of ui-http, an instance of ui-mcp-socket"},
      "prefix": {"enum": ["server", "none"], "default": "server", "description": "server: tools and prompts are called <server>__<name>; none: as their servers call them, and of two of one name the second is hidden, with an error in the log"},
      "instructions": {"type": "string", "description": "What clients are told about using what is behind the gateway"},
      "page_size": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000, "description": "Entries of one answer to a list request"},
      "pinning": {"enum": ["hold", "warn", "off"], "default": "hold", "description": "When the definition of a tool changes: hold it until it is approved, say so, or do nothing"},
      "call_timeout_s": {"type": "number", "minimum": 0.01, "maximum": 604800, "default": 300, "description": "No request may take longer, whatever progress it reports"},
      "servers": {"type": "object", "description": "By server name or pattern; the last that fits counts", "additionalProperties": {"$ref": "#/$defs/visibility"}},
      "roles": {
        "type": "object", "additionalProperties": false, "description": "What each role sees and may use, by the names clients see; a viewer calls no tools unless it says so here",
        "properties": {"viewer": {"$ref": "#/$defs/visibility"}, "operator": {"$ref": "#/$defs/visibility"}, "admin": {"$ref": "#/$defs/visibility"}}
      },
      "limits": {
        "type": "object", "additionalProperties": false,
        "properties": {
          "sessions": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1000, "description": "Sessions of the older protocol"},
          "sessions_per_user": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 256},
          "requests_per_user": {"type": "integer", "minimum": 1, "maximum": 1000000, "default": 1024, "description": "Requests of the newer protocol under way or waiting for input, and subscriptions"},
          "requests_per_session": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 256},
          "subscriptions": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 256, "description": "Resources one client watches"},
          "replay_bytes": {"type": "integer", "minimum": 1, "maximum": 67108864, "default": 262144, "description": "Kept per session of the older protocol for a client that resumes its stream"},
          "session_idle_s": {"type": "number", "minimum": 0.1, "maximum": 604800, "default": 1800},
          "input_wait_s": {"type": "number", "minimum": 0.1, "maximum": 86400, "default": 600, "description": "How long a client may take to come back with the input a server asked for"}
        }
      }
    }
  },
  "import": {"type": "array", "items": {"type": "string", "minLength": 1}, "default": [],
             "description": "Files of other programs with MCP servers in them: Claude Desktop, Claude Code, Cursor, VS Code; used as they are, and watched"},
  "servers_dir": {"type": "string", "minLength": 1, "description": "Folder of JSON files with MCP servers, one or more to a file; watched"},
  "mcpServers": {
    "type": "object", "default": {},
    "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "x-hint": "letters, digits, '-', '_' and '.', at most 64"},
    "additionalProperties": {
      "type": "object", "additionalProperties": false,
      "properties": {
        "command": {"type": "string", "minLength": 1, "description": "Program of a stdio server; looked up in PATH"},
        "args": {"type": "array", "items": {"type": "string"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Added to the allow-listed environment"},
        "cwd": {"type": "string", "minLength": 1},
        "working_dir": {"type": "string", "minLength": 1},
        "url": {"type": "string", "pattern": "^(https?|wss?|tcp|tls)://|^unix:", "x-hint": "a URL that begins with http://, https://, ws://, wss://, tcp://, tls:// or unix:", "description": "http:// or https://: Streamable HTTP; ws:// or wss://: WebSocket; tcp://host:port, tls://host:port or unix:/path: a socket, one message to a line"},
        "headers": {"type": "object", "additionalProperties": {"type": "string"}},
        "auth": {
          "type": "object", "additionalProperties": false, "required": ["type"], "description": "Of an http server that wants OAuth",
          "properties": {
            "type": {"enum": ["oauth"]},
            "grant": {"enum": ["authorization_code", "client_credentials"], "default": "authorization_code", "description": "A person logs in, or the client is trusted by itself"},
            "client_id": {"type": "string", "minLength": 1, "description": "Of a client registered beforehand; registered on the spot unless given"},
            "client_secret": {"type": "string", "minLength": 1},
            "client_metadata_url": {"type": "string", "pattern": "^https://[^/]+/.", "x-hint": "an https:// URL with a path", "description": "A client-ID metadata document of yours, used where the authorization server knows such"},
            "issuer": {"type": "string", "pattern": "^https?://", "x-hint": "a URL", "description": "The only authorization server to be trusted; the one the server names unless given"},
            "scopes": {"type": "array", "items": {"type": "string", "pattern": "^[!#-\\[\\]-~]{1,256}$"}, "maxItems": 128, "description": "Asked for instead of those the server wants"},
            "redirect_port": {"type": "integer", "minimum": 0, "maximum": 65535, "default": 0, "description": "Port of 127.0.0.1 the browser is sent back to; 0: any free one"}
          }
        },
        "type": {"enum": ["stdio", "http", "sse", "streamable-http", "streamableHttp", "websocket", "ws", "socket", "tcp", "unix"], "description": "As other clients' files say it; sse: HTTP with SSE of 2024-11-05, and nothing else is tried"},
        "ca_file": {"type": "string", "minLength": 1, "description": "Certificate authorities of a wss:// or tls:// server; the system's unless given"},
        "transport": {"type": "string", "minLength": 1, "description": "Transport plugin: stdio, http, websocket, socket, or the name of one"},
        "settings": {"type": "object", "description": "For custom transports"},
        "preset": {"enum": ["stdio", "tcp", "websocket", "http"], "description": "Short for an address on this machine: host, port and path make the url"},
        "host": {"type": "string", "minLength": 1, "default": "127.0.0.1", "description": "With preset"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "With preset"},
        "path": {"type": "string", "pattern": "^/", "x-hint": "a path that begins with /", "default": "/mcp", "description": "With preset websocket or http"},
        "description": {"type": "string"},
        "enabled": {"type": "boolean"},
        "disabled": {"type": "boolean"},
        "internal": {"type": "boolean"},
        "restart_policy": {
          "type": ["string", "object"], "additionalProperties": false,
          "properties": {
            "exit": {"$ref": "#/$defs/restarts"}, "crash": {"$ref": "#/$defs/restarts"}, "hang": {"$ref": "#/$defs/restarts"}, "health": {"$ref": "#/$defs/restarts"}
          },
          "description": "permanent: always recovered; transient: not after it ended by itself with status 0; temporary: never. Default: transient for programs started here, permanent for others and internal ones. An object says it for each way of being lost: exit, crash, hang, health"
        },
        "memory_mb": {"type": "integer", "minimum": 16, "maximum": 1048576},
        "move": {"enum": ["overlap", "restart"], "default": "overlap", "description": "When the transport plugin is replaced or this entry is changed: a second connection beside the first, or, for a server that cannot run twice, a restart between two calls"},
        "pool": {"$ref": "#/$defs/pool", "description": "For servers on the network: calls go over several connections, one call to a connection at a time"},
        "stop_grace_s": {"type": "number", "minimum": 0, "maximum": 600},
        "connect_timeout_s": {"type": "number", "minimum": 0.1, "maximum": 600},
        "call_timeout_s": {"type": "number", "minimum": 0.01, "maximum": 604800, "description": "No call of this server may take longer, whatever its caller allows"},
        "era_probe_timeout_s": {"type": "number", "minimum": 0.01, "maximum": 600, "description": "How long a stdio server may take to answer server/discover before it counts as one of the older protocol"},
        "idle_timeout_s": {"type": "number", "minimum": 0, "maximum": 86400, "description": "After so long without a result or progress a call is cancelled; 0: only when its time is over"},
        "max_line_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "description": "Longest message of a stdio or socket server"},
        "request_streams": {"type": "boolean", "description": "Whether every request has a response stream of its own (http: yes)"},
        "roots": {"type": "array", "items": {"type": "object"}, "description": "What roots/list answers: [{\"uri\", \"name\"?}]"},
        "breaker": {"$ref": "#/$defs/breaker"},
        "health": {"$ref": "#/$defs/health"}
      }
    }
  }
},
"$defs": {
  "visibility": {
    "type": "object", "additionalProperties": false, "description": "Patterns with * and ?, tried in order, the last that fits decides; !pattern leaves out; absent: everything",
    "properties": {
      "expose": {"type": "boolean", "default": true},
      "tools": {"type": "array", "items": {"type": "string", "minLength": 1}},
      "prompts": {"type": "array", "items": {"type": "string", "minLength": 1}},
      "resources": {"type": "array", "items": {"type": "string", "minLength": 1}, "description": "By URI"}
    }
  },
  "supervision": {
    "type": "object", "additionalProperties": false,
    "properties": {
      "strategy": {"enum": ["one_for_one", "one_for_all", "rest_for_one"], "description": "Which of the plugin's workers are restarted when one fails"},
      "restart": {"enum": ["permanent", "transient", "temporary"]},
      "max_restarts": {"type": "integer", "minimum": 0, "maximum": 1000},
      "window_s": {"type": "number", "minimum": 0.001, "maximum": 86400},
      "backoff": {
        "type": "object", "additionalProperties": false,
        "properties": {
          "first_ms": {"type": "integer", "minimum": 0, "description": "Before the first restart; 0: at once"},
          "initial_ms": {"type": "integer", "minimum": 0},
          "max_ms": {"type": "integer", "minimum": 0},
          "multiplier": {"type": "number", "minimum": 1, "maximum": 100},
          "jitter": {"type": "number", "minimum": 0, "maximum": 1}
        }
      }
    }
  },
  "pool": {
    "type": "object", "additionalProperties": false,
    "properties": {
      "size": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
      "max_overflow": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 5, "description": "More of them under load, closed when idle"},
      "wait_s": {"type": "number", "minimum": 0, "maximum": 3600, "default": 5, "description": "For a free one, before max_overflow_reached"},
      "linger_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30},
      "check_after_s": {"type": "number", "minimum": 0, "maximum": 86400, "default": 30, "description": "Idle for longer: checked before it is used"},
      "lifetime_s": {"type": "number", "minimum": 1, "maximum": 604800, "default": 1800}
    }
  },
  "restarts": {"type": ["boolean", "integer"], "minimum": 0, "maximum": 1000000, "description": "true: always; false: never; a number: so often, until it was healthy for breaker.reset_after_s or a person starts it"},
  "health_request": {"type": "object", "additionalProperties": false, "properties": {
    "tool": {"type": "string", "minLength": 1},
    "arguments": {"type": "object"},
    "method": {"type": "string", "minLength": 1},
    "params": {"type": "object"},
    "jsonrpc": {"enum": ["2.0"]},
    "expect": {"description": "What the result has to contain: of objects these members, of lists these elements in their places; all else has to be equal"}
  }},
  "breaker": {"type": "object", "properties": {
    "use": {"type": "string", "minLength": 1, "default": "breaker-consecutive", "description": "The policy; its own settings stand beside this key"},
    "failure_threshold": {"type": "integer", "minimum": 1},
    "recovery_timeout_s": {"type": "number", "exclusiveMinimum": 0},
    "max_timeout_s": {"type": "number", "exclusiveMinimum": 0},
    "backoff_multiplier": {"type": "number", "minimum": 1},
    "disable_after_minutes": {"type": "number", "exclusiveMinimum": 0}
  }},
  "health": {"type": "object", "properties": {
    "use": {"type": "string", "minLength": 1, "default": "health-threshold", "description": "The policy; its own settings stand beside this key"},
    "interval_s": {"type": "number", "exclusiveMinimum": 0},
    "timeout_s": {"type": "number", "exclusiveMinimum": 0},
    "failure_threshold": {"type": "integer", "minimum": 1},
    "success_threshold": {"type": "integer", "minimum": 1},
    "probe": {"$ref": "#/$defs/health_request", "description": "Asked instead of the protocol's own sign of life"},
    "init_message": {"$ref": "#/$defs/health_request", "description": "Asked once on every new connection; the server is healthy when it has answered as it should"}
  }}
}
})json";

using found_list = std::vector<config::violation>;

void add(found_list& found, std::string at, const error& e) { found.push_back({std::move(at), e.message, false}); }

bool loopback(const std::string& listen) {
    const std::string host = listen.substr(0, listen.rfind(':'));
    return host == "localhost" || host == "[::1]" || host.rfind("127.", 0) == 0;
}

void check_supervision(const json& doc, found_list& found) {
    for (const auto& [id, entry] : doc["plugins"].items())
        if (entry.contains("supervision"))
            if (auto s = plugins::supervision_from(entry["supervision"]); !s) add(found, "/plugins/" + config::pointer_token(id) + "/supervision", s.error());
}

void check_auth(const json& doc, found_list& found) {
    for (const auto& [id, entry] : doc["plugins"].items()) {
        const json& settings = member(entry, "settings");
        const std::string listen = string_or(settings, "listen");
        const std::string mode = string_or(member(settings, "auth"), "mode", string_or(doc["auth"], "mode", "token"));
        if (mode == "none" && !listen.empty() && !loopback(listen))
            found.push_back({"/plugins/" + config::pointer_token(id) + "/settings/listen", "auth mode \"none\" is allowed on loopback only, and " + listen + " is not: listen on 127.0.0.1, or use auth mode \"token\"", false});
    }
}

void check_servers(const json& doc, found_list& found) {
    for (const auto& [name, server] : doc["mcpServers"].items())
        if (auto ok = servers::server_set::check(name, server); !ok) add(found, "/mcpServers/" + config::pointer_token(name), ok.error());
}

void check_sessions(const json& doc, found_list& found) {
    if (auto o = sessions::session_options_from(doc["sessions"]); !o) add(found, "/sessions", o.error());
}

/// Names that must be plugins of a kind: llm.default, llm.fallback, llm.pools, store.use, breaker.use, health.use.
class name_rules {
  public:
    explicit name_rules(const std::vector<plugins::found_plugin>& found) {
        for (const auto& p : found)
            if (p.problem.empty() && !p.shadowed) {
                kinds_[p.file_id] = p.about.kind;
                schemas_[p.file_id] = p.about.kind == "store" ? p.about.settings_schema : p.about.rules_schema;
            }
    }
    void operator()(const json& doc, found_list& found) const {
        std::vector<std::string> adapters{"auto"};
        for (const auto& [id, entry] : doc["plugins"].items())
            if (kind_of(string_or(entry, "use")) == "llm") adapters.push_back(id);
        const json& llm = doc["llm"];
        check_adapter("/llm/default", string_or(llm, "default", "auto"), adapters, found);
        const json& fallback = member(llm, "fallback");
        for (std::size_t i = 0; i < fallback.size(); ++i)
            check_adapter("/llm/fallback/" + std::to_string(i), fallback[i].get<std::string>(), adapters, found);
        const std::vector<std::string> real(adapters.begin() + 1, adapters.end());
        for (const auto& [id, pool] : member(llm, "pools").items())
            if (id != "*") check_adapter("/llm/pools/" + config::pointer_token(id), id, real, found);
        for (const char* section : {"store", "breaker", "health"}) check_use(section, std::string("/") + section, member(doc, section), default_use(section), found);
        for (const auto& [name, server] : doc["mcpServers"].items())
            for (const char* section : {"breaker", "health"})
                check_use(section, "/mcpServers/" + config::pointer_token(name) + "/" + section, member(server, section),
                          string_or(member(doc, section), "use", default_use(section)), found);
    }

  private:
    std::string kind_of(const std::string& use) const {
        auto it = kinds_.find(use);
        return it == kinds_.end() ? "" : it->second;
    }
    static void check_adapter(const std::string& at, const std::string& id, const std::vector<std::string>& adapters, found_list& found) {
        if (std::find(adapters.begin(), adapters.end(), id) != adapters.end()) return;
        const std::string close = nearest(id, adapters);
        found.push_back({at, "no llm plugin is named '" + id + "' under /plugins" + (close.empty() ? "" : ": did you mean '" + close + "'?"), false});
    }
    static std::string default_use(const std::string& section) {
        return section == "breaker" ? "breaker-consecutive" : section == "health" ? "health-threshold" : "";
    }
    void check_use(const std::string& kind, const std::string& at, const json& section, const std::string& otherwise, found_list& found) const {
        const std::string use = string_or(section, "use", otherwise);
        if (section.is_null() || use.empty()) return;
        if (kind_of(use) == kind) {
            // A policy's settings stand beside "use", a store's under "settings".
            const json& settings = kind == "store" ? member(section, "settings") : section;
            const json& schema = schemas_.at(use);
            if (!schema.is_null() && !settings.is_null())
                for (config::violation& v : config::validate(schema, settings, kind == "store" ? at + "/settings" : at)) found.push_back(std::move(v));
            return;
        }
        std::vector<std::string> names;
        for (const auto& [id, k] : kinds_)
            if (k == kind) names.push_back(id);
        const std::string close = nearest(use, names);
        std::string all;
        for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
        found.push_back({at + "/use", "no " + kind + " plugin '" + use + "' on the search path" + (close.empty() ? ": found are " + all : ": did you mean '" + close + "'?"), false});
    }
    std::map<std::string, std::string> kinds_;
    std::map<std::string, json> schemas_;
};

}  // namespace

const json& root_schema() {
    static const json schema = json::parse(schema_text);
    return schema;
}

config::load_options load_options_for(const std::vector<plugins::found_plugin>& found) {
    config::load_options out;
    out.root_schema = root_schema();
    for (const auto& p : found)
        if (p.problem.empty() && !p.shadowed) out.plugins.push_back({p.file_id, p.about.kind, p.about.settings_schema});
    out.checks = {check_supervision, check_auth, check_servers, check_sessions, name_rules(found)};
    return out;
}

config::semantic_check plugin_file_rule(plugins::discovery finder, std::string base_dir, json accepted) {
    return [finder = std::move(finder), base_dir = std::move(base_dir), accepted = std::move(accepted)](const json& doc, found_list& found) {
        for (const auto& [id, entry] : doc["plugins"].items()) {
            if (string_or(entry, "start") == "disabled" || member(accepted, id) == entry) continue;
            const std::string use = string_or(entry, "use"), at = "/plugins/" + config::pointer_token(id);
            const bool named = use.find('/') == std::string::npos;
            auto path = finder.find(use, base_dir);
            if (!path) {
                if (!named) add(found, at + "/use", path.error());  // an unknown name has been reported
                continue;
            }
            plugins::verify_request q;
            q.name = id;
            q.path = *path;
            if (const std::string pin = string_or(entry, "sha256"); !pin.empty()) q.sha256 = pin;
            if (named) q.expected_id = use;
            if (auto ok = plugins::verify(q); !ok)
                add(found, at + (ok.error().message.find("check 'sha256'") != std::string::npos ? "/sha256" : "/use"), ok.error());
        }
    };
}

void add_plugins_by_path(const json& written, const plugins::discovery& finder, const std::string& base_dir, std::vector<plugins::found_plugin>& found) {
    for (const json& entry : member(written, "plugins")) {
        const std::string use = string_or(entry, "use");
        if (use.find('/') == std::string::npos) continue;
        if (std::any_of(found.begin(), found.end(), [&](const auto& f) { return f.file_id == use; })) continue;
        auto path = finder.find(use, base_dir);
        auto facts = path ? plugins::read_elf_file(*path) : result<plugins::elf_facts>(tl::unexpected<error>(path.error()));
        if (!facts || facts->is != plugins::elf_facts::verdict::ok || !facts->has_manifest) continue;
        if (auto about = plugins::parse_manifest(facts->manifest_text)) found.push_back({*path, use, std::move(*about), {}, false});
    }
}

std::vector<std::string> plugin_directories(const json& written, const std::string& base_dir) {
    std::vector<std::string> out;
    for (const json& d : member(member(written, "host"), "plugin_path"))
        if (d.is_string()) out.push_back((std::filesystem::path(base_dir) / expand_home(d.get<std::string>())).string());
    for (const std::string& d : builtin_plugin_directories()) out.push_back(d);
    return out;
}

}  // namespace holdfast::app
