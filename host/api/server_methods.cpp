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
