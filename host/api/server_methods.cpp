#include "api/server_methods.hpp"

#include "api/schema.hpp"

namespace holdfast::api {
namespace {

constexpr std::int64_t max_call_timeout_ms = 24 * 60 * 60 * 1000;

json name_params() { return object_schema({{"name", "string", true}}); }

}  // namespace

void register_server_methods(method_table& table, std::shared_ptr<servers::server_set> set) {
    table.add({"server.list", role::viewer, "All MCP servers with status, breaker and health", object_schema({}), {},
               [set](const identity&, json, reply done) { done(set->rows()); }});
    table.add({"server.get", role::viewer, "One MCP server", name_params(), {},
               [set](const identity&, json p, reply done) { done(set->row(p["name"])); }});
    table.add({"server.log", role::viewer, "The last lines a server wrote to stderr", object_schema({{"name", "string", true}, {"limit", json{{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}}}}), {},
               [set](const identity&, json p, reply done) { done(set->log(p["name"], static_cast<std::size_t>(int_or(p, "limit", 200)))); }});

    using action = void (servers::server_set::*)(const std::string&, servers::row_reply);
    const std::tuple<const char*, const char*, action> actions[] = {
        {"server.start", "Starts a stopped server", &servers::server_set::start},
        {"server.stop", "Stops a server gracefully; it stays stopped until it is started or the host restarts", &servers::server_set::stop},
        {"server.restart", "Stops and starts a server", &servers::server_set::restart},
        {"server.enable", "Enables a disabled server and connects it", &servers::server_set::enable},
        {"server.disable", "Disables a server until it is enabled, across restarts of the host", &servers::server_set::disable},
    };
    for (const auto& [name, summary, act] : actions)
        table.add({name, role::op, summary, name_params(), {},
                   [set, act = act](const identity&, json p, reply done) { ((*set).*act)(p["name"].get<std::string>(), std::move(done)); }});

    // What a configuration says is run as a command by the host: for admins.
    const auto who = [](const identity& i) { return i.user + (i.via.empty() ? "" : " via " + i.via); };
    constexpr const char* update = "update_config";
    table.add({"server.bulk", role::op, "Starts, stops, restarts, enables, disables or (admins) changes the settings of many servers; without names all that the action can concern",
               object_schema({{"action", json{{"enum", {"start", "stop", "restart", "enable", "disable", update}}}, true},
                              {"names", json{{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}, {"maxItems", servers::max_servers}}},
                              {"config", json{{"type", "object"}, {"description", "With update_config: as of server.update_config"}}}}), {},
               [set, who](const identity& i, json p, reply done) {
                   std::vector<std::string> names;
                   for (const json& n : member(p, "names")) names.push_back(n);
                   const bool updates = p["action"] == update;
                   if (updates != p.contains("config")) return done(fail(errc::invalid_argument, "server.bulk: \"config\" belongs to the action \"update_config\", and to no other"));
                   if (updates) set->update_configs(std::move(names), p["config"], who(i), std::move(done));
                   else set->bulk(p["action"], std::move(names), std::move(done));
               },
               {}, [](const json& p) { return p["action"] == update ? role::admin : role::op; }});
    table.add({"server.get_health", role::viewer, "Health of one server: status, last check, uptime, restarts, resources", name_params(), {},
               [set](const identity&, json p, reply done) { done(set->health(p["name"])); }});
    table.add({"server.get_system_health", role::viewer, "Health, counts and resources of all servers together and each", object_schema({}), {},
               [set](const identity&, json, reply done) { done(set->system_health()); }});
    table.add({"server.get_metrics", role::viewer, "What was counted since the host started: servers started, stopped, restarted, failed, health checks, latencies", object_schema({}), {},
               [set](const identity&, json, reply done) { done(set->metrics()); }});
    table.add({"server.health_log", role::viewer, "The newest rows of a server's health log, oldest first; before: those before that seq",
               object_schema({{"name", "string", true}, {"limit", json{{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}}}, {"before", json{{"type", "integer"}, {"minimum", 1}}}}), {},
               [set](const identity&, json p, reply done) {
                   set->health_log(p["name"], static_cast<std::size_t>(int_or(p, "limit", 100)), static_cast<std::uint64_t>(int_or(p, "before", 0)), std::move(done));
               }});
    table.add({"server.update_config", role::admin, "Changes settings of a server at runtime: a merge patch of its entry of mcpServers, kept until the file's own key is edited",
               object_schema({{"name", "string", true}, {"config", "object", true}}), {},
               [set, who](const identity& i, json p, reply done) { set->update_config(p["name"], p["config"], who(i), std::move(done)); }});
    table.add({"server.reset_config", role::admin, "Forgets what was changed of a server at runtime", name_params(), {},
               [set](const identity&, json p, reply done) { set->reset_config(p["name"], std::move(done)); }});
    table.add({"server.add", role::admin, "Adds a server at runtime; it is kept across restarts of the host", object_schema({{"name", json{{"type", "string"}, {"pattern", "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"}}, true}, {"config", "object", true}}), {},
               [set, who](const identity& i, json p, reply done) { set->add_server(p["name"], p["config"], who(i), std::move(done)); }});
    table.add({"server.remove", role::admin, "Takes out a server that was added at runtime", name_params(), {},
               [set](const identity&, json p, reply done) { set->remove_server(p["name"], std::move(done)); }});
    table.add({"server.import", role::admin, "Adds the servers of a file of Claude Desktop, Claude Code, Cursor or VS Code; dry_run: only says what it would add",
               object_schema({{"file", "string", true}, {"text", "string", true}, {"dry_run", "boolean"}}), {},
               [set, who](const identity& i, json p, reply done) { set->import_servers(p["file"], p["text"].get_ref<const std::string&>(), bool_or(p, "dry_run", false), who(i), std::move(done)); }});

    table.add({"tool.list", role::viewer, "Tools of all healthy servers", object_schema({{"server", "string"}}), {},
               [set](const identity&, json p, reply done) { done(set->tool_rows(string_or(p, "server"))); }});
    table.add({"tool.call", role::op, "Calls a tool outside of any session", 
               object_schema({{"server", "string", true}, {"tool", "string", true}, {"arguments", "object"}, {"timeout_ms", json{{"type", "integer"}, {"minimum", 1}, {"maximum", max_call_timeout_ms}}}}), {},
               [set](const identity&, json p, reply done) {
                   servers::tool_call call;
                   call.server = p["server"];
                   call.tool = p["tool"];
                   if (p.contains("arguments")) call.arguments = p["arguments"];
                   call.timeout = milliseconds(int_or(p, "timeout_ms", call.timeout.count()));
                   servers::tool_call_events events;
                   events.done = [done = std::move(done)](result<json> r, bool) mutable { done(std::move(r)); };
                   set->call(std::move(call), std::move(events));
               }});
}

}  // namespace holdfast::api
