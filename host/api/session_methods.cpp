#include "api/session_methods.hpp"

namespace holdfast::api {
namespace {

json text() { return {{"type", "string"}}; }
json number() { return {{"type", "integer"}}; }
json truth() { return {{"type", "boolean"}}; }
json texts() { return {{"type", "array"}, {"items", text()}}; }
json any_object() { return {{"type", "object"}}; }
json list_of(json item) { return {{"type", "array"}, {"items", std::move(item)}}; }
json one_of(std::initializer_list<const char*> values) {
    json list = json::array();
    for (const char* v : values) list.push_back(v);
    return {{"type", "string"}, {"enum", std::move(list)}};
}
json positive(std::int64_t most) { return {{"type", "integer"}, {"minimum", 1}, {"maximum", most}}; }

json shape(json properties, std::vector<std::string> required = {}) {
    json s{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
    if (!required.empty()) s["required"] = std::move(required);
    return s;
}
/// Results grow: a reader ignores what it does not know.
json answer(json properties) { return {{"type", "object"}, {"properties", std::move(properties)}}; }

json tool_call_schema() {
    return answer({{"id", text()}, {"server", text()}, {"tool", text()}, {"arguments", any_object()},
                   {"status", one_of({"proposed", "asked", "approved", "running", "result", "error", "denied", "outcome_unknown"})}, {"result", any_object()}});
}
json message_schema() {
    return answer({{"id", text()}, {"role", one_of({"user", "assistant", "tool"})}, {"text", text()}, {"tool_calls", list_of(tool_call_schema())},
                   {"status", one_of({"complete", "streaming", "interrupted", "failed"})}, {"at", text()}, {"seq", number()}});
}
json stats_schema() {
    return answer({{"messages", number()}, {"tool_calls", number()}, {"input_tokens", number()}, {"output_tokens", number()},
                   {"cached_tokens", number()}, {"turns", number()}, {"thinking_ms", number()}});
}
json pending_schema() {
    return answer({{"request_id", text()}, {"kind", one_of({"permission", "input", "sampling"})}, {"prompt", text()}, {"options", texts()}, {"expires_at", text()},
                   {"server", text()}, {"tool", text()}, {"arguments", any_object()}, {"schema", any_object()}, {"url", text()}});
}
json snapshot_schema() {
    json stream = answer({{"message_id", text()}, {"text", text()}, {"index", number()}});
    stream["type"] = json::array({"object", "null"});
    return answer({{"session_id", text()}, {"title", text()}, {"state", one_of({"idle", "thinking", "awaiting_permission", "running_tool"})},
                   {"epoch", number()}, {"seq", number()}, {"llm", text()}, {"servers", texts()}, {"allow", texts()},
                   {"messages", list_of(message_schema())}, {"has_more", truth()}, {"stream", std::move(stream)}, {"pending", list_of(pending_schema())},
                   {"stats", stats_schema()}});
}
json resolution_schema() { return answer({{"request_id", text()}, {"decision", text()}, {"resolved_by", text()}, {"first", truth()}}); }
json aliases_schema() { return answer({{"aliases", {{"type", "object"}, {"additionalProperties", text()}}}}); }

struct row {
    const char* name;
    role needs;
    const char* summary;
    json params, result;
};

std::vector<row> rows() {
    const json id{{"session_id", text()}};
    const json row_schema = answer({{"session_id", text()}, {"title", text()}, {"state", text()}, {"live", truth()}, {"messages", number()},
                                    {"created_at", text()}, {"updated_at", text()}, {"seq", number()}});
    return {
        {"session.create", role::op, "Creates a session.",
         shape({{"session_id", text()}, {"title", text()}, {"llm", text()}, {"servers", texts()}}), answer({{"session_id", text()}})},
        {"session.list", role::viewer, "Lists the sessions, newest activity first, without waking any; \"after\" takes the \"next\" of the page before.", shape({{"after", text()}, {"limit", positive(1000)}}),
         answer({{"sessions", list_of(row_schema)}, {"next", text()}})},
        {"session.get", role::viewer, "The session's snapshot; apply every event with a larger number to it.", shape(id, {"session_id"}), snapshot_schema()},
        {"session.history", role::viewer, "Messages older than the number `before`, oldest first.",
         shape({{"session_id", text()}, {"before", {{"type", "integer"}, {"minimum", 0}}}, {"limit", positive(500)}}, {"session_id"}),
         answer({{"messages", list_of(message_schema())}, {"has_more", truth()}})},
        {"session.send", role::op, "Sends a message. The answer means that it is stored durably; a repeated idem_key gives the same answer.",
         shape({{"session_id", text()}, {"content", text()}, {"idem_key", {{"type", "string"}, {"maxLength", 200}}}}, {"session_id", "content"}),
         answer({{"message_id", text()}, {"seq", number()}})},
        {"session.cancel", role::op, "Stops the answer or the tools under way.", shape(id, {"session_id"}), answer({{"cancelled", truth()}})},
        {"session.resolve", role::op, "Answers a request for a permission or for an answer of the model (sampling: allow_once or deny). The first answer wins; `first` tells whether this was it.",
         shape({{"session_id", text()}, {"request_id", text()}, {"decision", one_of({"allow_once", "allow_always", "deny"})}, {"pattern", text()}},
               {"session_id", "request_id", "decision"}),
         resolution_schema()},
        {"session.input", role::op, "Answers a tool's request for input.",
         shape({{"session_id", text()}, {"request_id", text()}, {"action", one_of({"accept", "decline", "cancel"})}, {"content", any_object()}},
               {"session_id", "request_id", "action"}),
         resolution_schema()},
        {"session.command", role::op, "Runs a slash command or an alias.", shape({{"session_id", text()}, {"command", text()}}, {"session_id", "command"}),
         answer({{"text", text()}, {"data", json::object()}})},
        {"session.configure", role::op, "Changes the title, the model, the servers seen, or the tools that run without asking.",
         shape({{"session_id", text()}, {"title", text()}, {"llm", text()}, {"servers", texts()}, {"allow", texts()}}, {"session_id"}), snapshot_schema()},
        {"session.stats", role::viewer, "Counts of the session.", shape(id, {"session_id"}), stats_schema()},
        {"session.destroy", role::op, "Ends the session and deletes what is stored of it.", shape(id, {"session_id"}), any_object()},
        {"session.retry", role::op, "Lifts the quarantine of a session and restores it.", shape(id, {"session_id"}), snapshot_schema()},
        {"alias.list", role::viewer, "The user-defined aliases.", shape(json::object()), aliases_schema()},
        {"alias.set", role::op, "Sets an alias.", shape({{"name", text()}, {"expansion", text()}}, {"name", "expansion"}), aliases_schema()},
        {"alias.delete", role::op, "Forgets an alias.", shape({{"name", text()}}, {"name"}), aliases_schema()},
        {"history.list", role::op, "The lines typed last, oldest first.", shape({{"limit", positive(1000)}}), answer({{"lines", texts()}})},
        {"history.add", role::op, "Remembers a line that was typed.", shape({{"line", text()}}, {"line"}), any_object()},
        {"events.read", role::viewer, "Events of a topic: the durable ones of a session, else what the topic still holds.",
         shape({{"topic", text()}, {"from", {{"type", "integer"}, {"minimum", 0}}}, {"limit", positive(1000)}}, {"topic"}),
         answer({{"events", list_of(any_object())}, {"seq", number()}, {"epoch", number()}, {"first", number()}})},
    };
}

}  // namespace

void register_session_methods(method_table& table, std::shared_ptr<sessions::session_directory> directory) {
    for (row& r : rows()) {
        method m;
        m.name = r.name;
        m.needs = r.needs;
        m.summary = r.summary;
        m.params_schema = std::move(r.params);
        m.result_schema = std::move(r.result);
        m.handler = [directory, name = m.name](const identity& who, json params, reply done) {
            directory->invoke(name, {who.user, who.via}, std::move(params), std::move(done));
        };
        table.add(std::move(m));
    }
}

}  // namespace holdfast::api
