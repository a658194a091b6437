#include "sessions/session_state.hpp"

#include <algorithm>
#include <array>

#include "kernel/core/clock.hpp"
#include "sessions/session_options.hpp"

namespace holdfast::sessions {
namespace {

constexpr std::array phase_names{"idle", "thinking", "awaiting_permission", "running_tool"};
constexpr std::array call_names{"proposed", "asked", "approved", "running", "result", "error", "denied", "outcome_unknown"};
constexpr std::array message_names{"complete", "streaming", "interrupted", "failed"};
constexpr std::size_t remembered_resolutions = 64;
constexpr std::size_t remembered_pins = 256;

message message_from(const json& j) {
    message m;
    m.id = string_or(j, "id");
    m.role = string_or(j, "role", "user") == "assistant" ? speaker::assistant : speaker::user;
    m.text = string_or(j, "text");
    m.at_ms = rfc3339_ms(string_or(j, "at"));
    m.status = message_status_from(string_or(j, "status", "complete"));
    m.seq = static_cast<std::uint64_t>(int_or(j, "seq", 0));
    m.adapter = string_or(j, "adapter");
    m.parts = member(j, "parts");
    return m;
}

tool_use call_from(const json& j) {
    tool_use c;
    c.id = string_or(j, "id");
    c.server = string_or(j, "server");
    c.tool = string_or(j, "tool");
    c.name = string_or(j, "name");
    c.arguments = member(j, "arguments");
    c.status = call_status_from(string_or(j, "status", "proposed"));
    c.result = member(j, "result");
    c.approved_hash = string_or(j, "approved_hash");
    return c;
}

std::vector<std::string> strings(const json& array) {
    std::vector<std::string> out;
    if (array.is_array())
        for (const json& v : array)
            if (v.is_string()) out.push_back(v.get<std::string>());
    return out;
}

pending_request pending_from(const json& d) {
    pending_request p;
    p.request_id = string_or(d, "request_id");
    p.kind = string_or(d, "kind", "permission");
    p.call_id = string_or(d, "call_id");
    p.key = string_or(d, "key");
    p.server = string_or(d, "server_name");
    p.tool = string_or(d, "tool_name");
    p.prompt = string_or(d, "prompt");
    p.url = string_or(d, "url");
    p.hash = string_or(d, "definition_hash");
    p.options = member(d, "options");
    p.arguments = member(d, "arguments");
    p.schema = member(d, "schema");
    p.expires_ms = int_or(d, "expires_ms", 0);
    p.timeout_ms = int_or(d, "timeout", 0);
    return p;
}

/// A copy to change, put in place of the shared one.
message* edit(session_state& s, std::string_view id) {
    for (auto it = s.recent.rbegin(); it != s.recent.rend(); ++it) {
        if ((*it)->id != id) continue;
        auto copy = std::make_shared<message>(**it);
        message* raw = copy.get();
        *it = std::move(copy);
        return raw;
    }
    return nullptr;
}

tool_use* edit_call(session_state& s, std::string_view call_id) {
    for (auto it = s.recent.rbegin(); it != s.recent.rend(); ++it)
        for (const tool_use& c : (*it)->calls)
            if (c.id == call_id) {
                message* m = edit(s, (*it)->id);
                for (tool_use& mine : m->calls)
                    if (mine.id == call_id) return &mine;
            }
    return nullptr;
}

bool settled(const message& m) {
    return m.status != message_status::streaming &&
           std::none_of(m.calls.begin(), m.calls.end(), [](const tool_use& c) { return open(c.status); });
}

void on_added(session_state& s, const json& d, std::uint64_t seq, std::string_view idem_key) {
    auto m = std::make_shared<message>(message_from(member(d, "message")));
    m->seq = seq;
    ++s.stats.messages;
    if (m->role == speaker::user) {
        if (!s.unfinished()) ++s.stats.turns;
        s.rounds = 0;
        s.samplings = 0;
        ++s.unanswered;
    } else {
        ++s.rounds;
        s.unanswered = 0;
        if (m->status == message_status::streaming) s.streaming = m->id;
    }
    if (!idem_key.empty()) {
        s.keys.push_back({std::string(idem_key), m->id, seq});
        if (s.keys.size() > max_remembered_keys) s.keys.erase(s.keys.begin());
    }
    s.recent.push_back(std::move(m));
    while (s.recent.size() > s.keep && settled(*s.recent.front())) s.recent.erase(s.recent.begin());
}

void count_usage(session_stats& s, const json& stats) {
    s.input_tokens += static_cast<std::uint64_t>(int_or(stats, "input_tokens", 0));
    s.output_tokens += static_cast<std::uint64_t>(int_or(stats, "output_tokens", 0));
    s.cached_tokens += static_cast<std::uint64_t>(int_or(stats, "cached_tokens", 0));
    s.thinking_ms += static_cast<std::uint64_t>(int_or(stats, "duration_ms", 0));
}

void on_completed(session_state& s, const json& d) {
    const std::string id = string_or(d, "message_id");
    if (s.streaming == id) s.streaming.clear();
    const json& st = member(d, "stats");
    count_usage(s.stats, st);
    message* m = edit(s, id);
    if (!m) return;
    m->text = string_or(d, "final_content");
    m->status = message_status::complete;
    m->adapter = string_or(st, "adapter");
    m->parts = member(d, "parts");
    m->calls.clear();
    const json& calls = member(d, "tool_calls");
    if (calls.is_array())
        for (const json& c : calls) m->calls.push_back(call_from(c));
    s.stats.tool_calls += m->calls.size();
}

void on_updated(session_state& s, const json& d) {
    const std::string id = string_or(d, "message_id");
    const auto status = message_status_from(string_or(d, "status", "complete"));
    if (s.streaming == id && status != message_status::streaming) s.streaming.clear();
    if (message* m = edit(s, id)) {
        m->text = string_or(d, "content");
        m->status = status;
    }
}

void on_required(session_state& s, const json& d) {
    pending_request p = pending_from(d);
    std::erase_if(s.pending, [&](const pending_request& o) { return o.request_id == p.request_id; });
    if (p.kind == "permission")
        if (tool_use* c = edit_call(s, p.call_id)) c->status = call_status::asked;
    if (p.kind == "sampling") ++s.samplings;
    s.pending.push_back(std::move(p));
}

void on_resolved(session_state& s, const json& d) {
    const std::string id = string_or(d, "request_id"), decision = string_or(d, "decision");
    if (const pending_request* p = s.find_pending(id); p && p->kind == "permission" && decision != "deny")
        if (tool_use* c = edit_call(s, p->call_id)) {
            c->status = call_status::approved;
            c->approved_hash = p->hash;
        }
    std::erase_if(s.pending, [&](const pending_request& o) { return o.request_id == id; });
    s.resolved.push_back({id, decision, string_or(d, "resolved_by")});
    if (s.resolved.size() > remembered_resolutions) s.resolved.erase(s.resolved.begin());
    const std::string pattern = string_or(d, "pattern");
    if (!pattern.empty() && std::find(s.config.allow.begin(), s.config.allow.end(), pattern) == s.config.allow.end())
        s.config.allow.push_back(pattern);
}

void on_intent(session_state& s, const json& d) {
    if (tool_use* c = edit_call(s, string_or(d, "call_id"))) c->status = call_status::running;
    if (s.pins.size() >= remembered_pins) s.pins.erase(s.pins.begin());
    s.pins[string_or(d, "server_name") + "/" + string_or(d, "tool_name")] = string_or(d, "definition_hash");
}

void on_executed(session_state& s, const json& d) {
    if (tool_use* c = edit_call(s, string_or(d, "call_id"))) {
        c->status = call_status_from(string_or(d, "status", "result"));
        c->result = member(d, "result");
    }
}

void on_configured(session_state& s, const json& d) {
    if (d.contains("title")) s.config.title = string_or(d, "title");
    if (d.contains("llm")) s.config.llm = string_or(d, "llm");
    if (d.contains("servers")) s.config.servers = strings(d["servers"]);
    if (d.contains("allow")) s.config.allow = strings(d["allow"]);
}

}  // namespace

std::string_view to_string(phase p) noexcept { return phase_names[static_cast<std::size_t>(p)]; }
std::string_view to_string(call_status s) noexcept { return call_names[static_cast<std::size_t>(s)]; }
std::string_view to_string(speaker s) noexcept { return s == speaker::user ? "user" : "assistant"; }
std::string_view to_string(message_status s) noexcept { return message_names[static_cast<std::size_t>(s)]; }
call_status call_status_from(std::string_view s) noexcept {
    for (std::size_t i = 0; i < call_names.size(); ++i)
        if (s == call_names[i]) return static_cast<call_status>(i);
    return call_status::error;
}
message_status message_status_from(std::string_view s) noexcept {
    for (std::size_t i = 0; i < message_names.size(); ++i)
        if (s == message_names[i]) return static_cast<message_status>(i);
    return message_status::complete;
}

std::string time_text(std::int64_t wall_ms) { return rfc3339(wall_time(milliseconds(wall_ms))); }

json tool_use::to_json() const {
    json j{{"id", id}, {"server", server}, {"tool", tool}, {"name", name}, {"arguments", arguments}, {"status", to_string(status)}};
    if (!result.is_null()) j["result"] = result;
    if (status == call_status::approved && !approved_hash.empty()) j["approved_hash"] = approved_hash;
    return j;
}

json message::to_json() const {
    json j{{"id", id}, {"role", to_string(role)}, {"text", text}, {"status", to_string(status)}, {"at", at_ms ? time_text(at_ms) : std::string()}, {"seq", seq}};
    if (!calls.empty()) {
        json list = json::array();
        for (const tool_use& c : calls) list.push_back(c.to_json());
        j["tool_calls"] = std::move(list);
    }
    if (!adapter.empty()) j["adapter"] = adapter;
    return j;
}

json pending_request::to_json() const {
    json j{{"request_id", request_id}, {"kind", kind},           {"prompt", prompt}, {"options", options},
           {"server", server},         {"tool", tool},           {"arguments", arguments},
           {"timeout", timeout_ms},    {"call_id", call_id},     {"expires_at", time_text(expires_ms)}};
    if (!schema.is_null()) j["schema"] = schema;
    if (!url.empty()) j["url"] = url;
    return j;
}

json session_stats::to_json() const {
    return {{"messages", messages},           {"tool_calls", tool_calls}, {"input_tokens", input_tokens}, {"output_tokens", output_tokens},
            {"cached_tokens", cached_tokens}, {"turns", turns},           {"thinking_ms", thinking_ms}};
}

phase session_state::now() const noexcept {
    if (!pending.empty()) return phase::awaiting_permission;
    if (!streaming.empty()) return phase::thinking;
    return has_open_calls() ? phase::running_tool : phase::idle;
}

const message* session_state::find(std::string_view message_id) const noexcept {
    for (auto it = recent.rbegin(); it != recent.rend(); ++it)
        if ((*it)->id == message_id) return it->get();
    return nullptr;
}
const tool_use* session_state::find_call(std::string_view call_id) const noexcept {
    for (auto it = recent.rbegin(); it != recent.rend(); ++it)
        for (const tool_use& c : (*it)->calls)
            if (c.id == call_id) return &c;
    return nullptr;
}
const pending_request* session_state::find_pending(std::string_view request_id) const noexcept {
    for (const pending_request& p : pending)
        if (p.request_id == request_id) return &p;
    return nullptr;
}
bool session_state::has_open_calls() const noexcept {
    return std::any_of(recent.begin(), recent.end(), [](const auto& m) {
        return std::any_of(m->calls.begin(), m->calls.end(), [](const tool_use& c) { return open(c.status); });
    });
}

std::vector<std::uint8_t> session_state::pack() {
    json all = json::array();
    for (const auto& m : recent) {
        json calls = json::array();
        for (const tool_use& c : m->calls) calls.push_back(c.to_json());
        all.push_back({m->id, m->text, m->at_ms, m->seq, m->role == speaker::user, static_cast<int>(m->status), m->adapter, std::move(calls), m->parts});
    }
    auto bytes = json::to_msgpack(all);
    bytes.shrink_to_fit();
    recent = {};
    resolved.shrink_to_fit();
    keys.shrink_to_fit();
    pending.shrink_to_fit();
    return bytes;
}

void session_state::unpack(const std::vector<std::uint8_t>& packed) {
    for (const json& j : json::from_msgpack(packed)) {
        auto m = std::make_shared<message>();
        m->id = j[0].get<std::string>();
        m->text = j[1].get<std::string>();
        m->at_ms = j[2].get<std::int64_t>();
        m->seq = j[3].get<std::uint64_t>();
        m->role = j[4].get<bool>() ? speaker::user : speaker::assistant;
        m->status = static_cast<message_status>(j[5].get<int>());
        m->adapter = j[6].get<std::string>();
        for (const json& c : j[7]) m->calls.push_back(call_from(c));
        m->parts = j[8];
        recent.push_back(std::move(m));
    }
}

json session_state::to_json() const {
    json messages = json::array(), asked = json::array(), answered = json::array(), idem = json::array();
    for (const auto& m : recent) {
        json j = m->to_json();
        if (!m->parts.is_null()) j["parts"] = m->parts;
        messages.push_back(std::move(j));
    }
    for (const pending_request& p : pending) {
        // The field names of the event, so that one reader serves both.
        json j{{"request_id", p.request_id}, {"kind", p.kind}, {"call_id", p.call_id}, {"key", p.key}, {"server_name", p.server},
               {"tool_name", p.tool}, {"prompt", p.prompt}, {"url", p.url}, {"definition_hash", p.hash}, {"options", p.options},
               {"arguments", p.arguments}, {"schema", p.schema}, {"expires_ms", p.expires_ms}, {"timeout", p.timeout_ms}};
        asked.push_back(std::move(j));
    }
    for (const resolution& r : resolved) answered.push_back({{"request_id", r.request_id}, {"decision", r.decision}, {"by", r.by}});
    for (const sent_key& k : keys) idem.push_back({{"key", k.key}, {"seq", k.seq}, {"message_id", k.message_id}});
    return {{"version", 1},
            {"session_id", id},
            {"user", user},
            {"created_at", created_at},
            {"updated_at", updated_at},
            {"config", {{"title", config.title}, {"llm", config.llm}, {"servers", config.servers}, {"allow", config.allow}}},
            {"stats", stats.to_json()},
            {"messages", std::move(messages)},
            {"streaming", streaming},
            {"rounds", rounds},
            {"unanswered", unanswered},
            {"samplings", samplings},
            {"pending", std::move(asked)},
            {"resolved", std::move(answered)},
            {"pins", pins},
            {"keys", std::move(idem)},
            {"last", last_durable},
            {"ended", ended}};
}

result<session_state> session_state::from_json(const json& j) {
    if (!j.is_object() || int_or(j, "version", 0) != 1)
        return fail(errc::corrupt, "the saved state of the session is not of a version this host reads");
    session_state s;
    s.id = string_or(j, "session_id");
    s.user = string_or(j, "user");
    s.created_at = string_or(j, "created_at");
    s.updated_at = string_or(j, "updated_at");
    on_configured(s, member(j, "config"));
    const json& st = member(j, "stats");
    const auto number = [&](const char* key) { return static_cast<std::uint64_t>(int_or(st, key, 0)); };
    s.stats = {number("messages"), number("tool_calls"), number("input_tokens"), number("output_tokens"),
               number("cached_tokens"), number("turns"), number("thinking_ms")};
    for (const json& m : member(j, "messages")) {
        auto read = std::make_shared<message>(message_from(m));
        const json& calls = member(m, "tool_calls");
        if (calls.is_array())
            for (const json& c : calls) read->calls.push_back(call_from(c));
        s.recent.push_back(std::move(read));
    }
    s.streaming = string_or(j, "streaming");
    s.rounds = static_cast<unsigned>(int_or(j, "rounds", 0));
    s.unanswered = static_cast<unsigned>(int_or(j, "unanswered", 0));
    s.samplings = static_cast<unsigned>(int_or(j, "samplings", 0));
    for (const json& p : member(j, "pending")) s.pending.push_back(pending_from(p));
    for (const json& r : member(j, "resolved"))
        s.resolved.push_back({string_or(r, "request_id"), string_or(r, "decision"), string_or(r, "by")});
    for (const auto& [tool, hash] : member(j, "pins").items())
        if (hash.is_string()) s.pins[tool] = hash.get<std::string>();
    for (const json& k : member(j, "keys"))
        s.keys.push_back({string_or(k, "key"), string_or(k, "message_id"), static_cast<std::uint64_t>(int_or(k, "seq", 0))});
    s.last_durable = static_cast<std::uint64_t>(int_or(j, "last", 0));
    s.ended = bool_or(j, "ended", false);
    return s;
}

void apply(session_state& s, std::string_view type, const json& data, std::uint64_t seq, std::string_view at,
           std::string_view idem_key) {
    if (seq <= s.last_durable) return;  // A2: restoring twice changes nothing
    s.last_durable = seq;
    s.updated_at = at;
    if (type == "MessageAdded") on_added(s, data, seq, idem_key);
    else if (type == "StreamCompleted") on_completed(s, data);
    else if (type == "MessageUpdated") on_updated(s, data);
    else if (type == "PermissionRequired") on_required(s, data);
    else if (type == "PermissionResolved") on_resolved(s, data);
    else if (type == "ToolCallIntent") on_intent(s, data);
    else if (type == "MCPToolExecuted") on_executed(s, data);
    else if (type == "SamplingCompleted") count_usage(s.stats, member(data, "stats"));
    else if (type == "SessionConfigured") on_configured(s, data);
    else if (type == "SessionEnded") s.ended = true;
    else if (type == "SessionStarted") {
        s.id = string_or(data, "session_id");
        s.user = string_or(data, "user_id");
        s.created_at = at;
        on_configured(s, data);
    }
}

}  // namespace holdfast::sessions
