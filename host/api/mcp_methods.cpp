#include "api/mcp_methods.hpp"

#include "api/schema.hpp"

namespace holdfast::api {
namespace {

method streaming(const char* name, const char* summary, json params, std::function<cancel_fn(const identity&, json, chunk_fn, reply)> f) {
    method m;
    m.name = name;
    m.summary = summary;
    m.params_schema = std::move(params);
    m.stream = std::move(f);
    return m;
}

}  // namespace

// Everybody may speak to the gateway; what they see and may call is decided for their role there.
void register_mcp_methods(method_table& table, std::shared_ptr<mcp_gateway> gateway) {
    table.add(streaming("mcp.post", "One message of an MCP client; answers with a head and the messages for it",
                        object_schema({{"message", json::object()}, {"parse_error", "string"}, {"via", json{{"enum", {"http", "stdio"}}}}, {"session", "string"},
                                       {"headers", "object"}, {"last_event_id", "string"}}),
                        [gateway](const identity& who, json p, chunk_fn c, reply done) { return gateway->post(who, std::move(p), std::move(c), std::move(done)); }));
    table.add(streaming("mcp.listen", "Messages to a legacy MCP session that belong to no request",
                        object_schema({{"session", "string", true}, {"last_event_id", "string"}}),
                        [gateway](const identity& who, json p, chunk_fn c, reply done) { return gateway->listen(who, std::move(p), std::move(c), std::move(done)); }));
    table.add({"mcp.close", role::viewer, "Ends a legacy MCP session", object_schema({{"session", "string", true}}), {},
               [gateway](const identity& who, json p, reply done) { gateway->close(who, p, std::move(done)); }, {}});
    table.add({"gateway.status", role::viewer, "Sessions, requests and names of the MCP gateway, and collisions between servers", object_schema({}), {},
               [gateway](const identity&, json, reply done) { done(gateway->status()); }, {}});
    table.add({"gateway.pins", role::viewer, "Approved tool definitions, and those that changed and are held", object_schema({{"server", "string"}, {"held", "boolean"}}), {},
               [gateway](const identity&, json p, reply done) { done(gateway->pins(string_or(p, "server"), bool_or(p, "held", false))); }, {}});
    table.add({"gateway.forget", role::admin, "Forgets the pinned tools that a server no longer has; they are trusted like new ones when they come back",
               object_schema({{"server", "string", true}}), {},
               [gateway](const identity& who, json p, reply done) { gateway->forget(p["server"], who.user, std::move(done)); }, {}});
    table.add({"gateway.approve", role::admin, "Approves the changed definition of a tool; with hash: only if it is that one", 
               object_schema({{"server", "string", true}, {"tool", "string", true}, {"hash", "string"}}), {},
               [gateway](const identity& who, json p, reply done) { gateway->approve(p["server"], p["tool"], string_or(p, "hash"), who.user, std::move(done)); }, {}});
}

}  // namespace holdfast::api
