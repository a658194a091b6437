#include "sessions/turn_decision.hpp"

#include <algorithm>

#include "sessions/tool_text.hpp"

namespace holdfast::sessions {
namespace {

constexpr std::size_t shortest_random_id = 20;  // characters; the ids of the well-known models are longer
constexpr unsigned max_queued_messages = 32;  // user messages waiting while a turn runs

// Of JSON-RPC and of MCP, client/sampling.
constexpr int user_rejected = -1, invalid_params = -32602, internal_error = -32603;

/// One decision under way: what is emitted is applied to a copy at once, so that later steps see it.
class turn {
  public:
    turn(const session_state& s, const turn_context& c) : c_(c) { out_.next = s; }

    void on(const input::create& in) {
        session_state& s = out_.next;
        if (s.last_durable > 0) return refuse(errc::already_exists, "a session with this id exists; choose another id or leave it out");
        json d{{"session_id", s.id}, {"user_id", in.user}};
        if (!in.config.title.empty()) d["title"] = in.config.title;
        if (!in.config.llm.empty()) d["llm"] = in.config.llm;
        if (!in.config.servers.empty()) d["servers"] = in.config.servers;
        if (!in.config.allow.empty()) d["allow"] = in.config.allow;
        emit("SessionStarted", std::move(d));
        out_.reply = json{{"session_id", s.id}};
    }

    void on(const input::user_message& in) {
        const session_state& s = out_.next;
        if (!in.idem_key.empty())
            for (const sent_key& k : s.keys)
                if (k.key == in.idem_key) {
                    out_.deduplicated = true;
                    out_.reply = json{{"message_id", k.message_id}, {"seq", k.seq}};
                    return;
                }
        if (in.content.find_first_not_of(" \t\r\n") == std::string::npos)
            return refuse(errc::invalid_argument, "the message is empty");
        if (in.content.size() > c_.options->max_message_bytes)
            return refuse(errc::invalid_argument, "the message is longer than " + std::to_string(c_.options->max_message_bytes) + " bytes");
        if (s.unanswered >= max_queued_messages)
            return refuse(errc::overloaded, "too many messages wait for an answer; wait for the turn to end or cancel it");
        const bool idle = !s.unfinished();
        const std::string id = c_.new_id("msg_");
        const std::uint64_t seq = number();
        json m{{"id", id}, {"role", "user"}, {"text", in.content}, {"status", "complete"}, {"at", at()}, {"seq", seq}};
        emit("MessageAdded", {{"message_id", id}, {"message", std::move(m)}}, in.idem_key);
        out_.reply = json{{"message_id", id}, {"seq", seq}};
        if (idle) think();
    }

    void on(const input::model_done& in) {
        if (out_.next.streaming.empty() || out_.next.streaming != in.message_id) return;
        complete(in);
        go_on();
    }

    void on(const input::model_failed& in) {
        if (out_.next.streaming.empty() || out_.next.streaming != in.message_id) return;
        interrupt(in.partial);
        emit("ErrorOccurred", {{"error_type", "stream_failure"},
                               {"message", in.why.message},
                               {"context", {{"message_id", in.message_id}, {"code", to_string(in.why.code)}, {"partial", !in.partial.empty()}}}});
        finish();
    }

    void on(const input::answer& in) {
        const session_state& s = out_.next;
        const pending_request* found = s.find_pending(in.request_id);
        if (!found) return answer_late(in);
        const pending_request p = *found;
        const bool input = p.kind == "input";
        if (std::find(p.options.begin(), p.options.end(), in.decision) == p.options.end())
            return refuse(errc::invalid_argument, input                    ? "this asks for input: answer accept, decline or cancel"
                                                  : p.kind == "permission" ? "this asks for a permission: answer allow_once, allow_always or deny"
                                                                           : "this asks for an answer of the model: answer allow_once or deny");
        if (input && in.decision == "accept" && p.url.empty() && !in.content.is_object())
            return refuse(errc::invalid_argument, "accept needs content: an object with the fields asked for");
        std::string pattern;
        if (in.decision == "allow_always") {
            pattern = in.pattern.empty() ? p.server + "/" + p.tool : in.pattern;
            if (auto ok = check_pattern(pattern); !ok) return refuse(ok.error().code, ok.error().message);
            if (!allows({pattern}, p.server, p.tool))
                return refuse(errc::invalid_argument, "the pattern \"" + pattern + "\" does not cover " + p.server + "/" + p.tool);
        }
        settle(p, in.decision, in.by, pattern, in.content);
        out_.reply = json{{"request_id", p.request_id}, {"decision", in.decision}, {"resolved_by", in.by}, {"first", true}};
        go_on();
    }

    void on(const input::expire&) {
        bool any = false;
        const auto pending = out_.next.pending;
        for (const pending_request& p : pending)
            if (p.expires_ms <= c_.wall_ms) {
                settle(p, no_to(p), "timeout", {}, {});
                any = true;
            }
        if (any) go_on();
    }

    void on(const input::tool_done& in) {
        const tool_use* c = out_.next.find_call(in.call_id);
        if (!c || c->status != call_status::running) return;
        drop_questions_of(in.call_id, "the tool ended");
        const auto refused = std::find_if(out_.next.refused.begin(), out_.next.refused.end(), [&](const refused_call& r) { return r.call_id == in.call_id; });
        if (!in.outcome && in.outcome.error().code == errc::cancelled && refused != out_.next.refused.end()) {
            executed(in.call_id, "error", error_result("The tool did not go on: it asked for an answer of the model and got none (" + refused->why + ")."), in.duration_ms);
        } else if (in.outcome) {
            const bool bad = bool_or(*in.outcome, "isError", false);
            executed(in.call_id, bad ? "error" : "result", bounded_result(*in.outcome, c_.options->max_result_bytes), in.duration_ms);
        } else {
            const errc code = in.outcome.error().code;
            const bool unknown = in.sent && (code == errc::transport_lost || code == errc::timeout || code == errc::cancelled);
            executed(in.call_id, unknown ? "outcome_unknown" : "error",
                     error_result(unknown ? "The outcome is unknown: " + in.outcome.error().message +
                                                ". The tool may or may not have done its work; it is not repeated by itself."
                                          : in.outcome.error().message),
                     in.duration_ms);
        }
        go_on();
    }

    void on(const input::tool_ready& in) {
        const tool_use* c = out_.next.find_call(in.call_id);
        if (!c || c->status != call_status::approved) return;
        approved(in.call_id, std::string(c->approved_hash), in.last);
        go_on();
    }

    void on(const input::tool_asks& in) {
        const tool_use* c = out_.next.find_call(in.call_id);
        if (!c || c->status != call_status::running) return;
        if (in.question.method == "sampling/createMessage") return ask_to_sample(*c, in);
        if (in.question.method != "elicitation/create")
            return respond(in, {{"error", {{"code", -32601}, {"message", "this host does not answer " + in.question.method}}}});
        const json& p = in.question.params;
        json d = request_fields(*c, "input", string_or(p, "message", "The tool asks for input."), {"accept", "decline", "cancel"});
        d["key"] = in.question.key;
        if (p.contains("requestedSchema")) d["schema"] = p["requestedSchema"];
        if (p.contains("url")) d["url"] = p["url"];
        emit("PermissionRequired", std::move(d));
    }

    void on(const input::tool_withdraws& in) {
        for (const pending_request& p : std::vector(out_.next.pending))
            if (p.kind != "permission" && p.call_id == in.call_id && p.key == in.key) resolved(p, no_to(p), "the server", {});
        out_.effects.push_back(effect::cancel_sample{in.call_id, in.key});
    }

    void on(const input::sampled& in) {
        const tool_use* c = out_.next.find_call(in.call_id);
        if (!c || c->status != call_status::running) return;
        const result<json> answer = in.outcome ? sampling_result(*in.request, *in.outcome)
                                               : fail(in.outcome.error().code, "the model failed: " + in.outcome.error().message);
        json d{{"call_id", c->id}, {"server_name", c->server}, {"tool_name", c->tool}, {"status", answer ? "result" : "error"}};
        if (answer) d["text"] = shortened(string_or((*answer)["content"], "text"), max_told_sampling);
        else d["message"] = answer.error().message;
        if (in.outcome) d["stats"] = stats_of(*in.outcome, in.duration_ms);
        emit("SamplingCompleted", std::move(d));
        if (answer) out_.effects.push_back(effect::answer_tool{in.call_id, in.key, *answer});
        else refuse_sampling(in.call_id, in.key, internal_error, answer.error().message);
    }

    void on(const input::cancel& in) {
        const bool running = out_.next.unfinished();
        out_.reply = json{{"cancelled", running}};
        if (!running) return;
        if (!out_.next.streaming.empty()) {
            out_.effects.push_back(effect::cancel_model{});
            interrupt(in.partial);
        }
        for (const pending_request& p : std::vector(out_.next.pending))
            resolved(p, no_to(p), in.by, {});
        for (const tool_use& c : open_calls()) {
            if (c.status == call_status::running) {
                out_.effects.push_back(effect::cancel_tool{c.id});
                executed(c.id, "outcome_unknown", error_result("Cancelled while it ran: the tool may or may not have done its work."), 0);
            } else {
                executed(c.id, "denied", error_result("Cancelled before it ran."), 0);
            }
        }
    }

    void on(const input::restored& in) { restore(in); }

    void on(const input::configure& in) {
        json d = json::object();
        if (in.title) d["title"] = *in.title;
        if (in.llm) d["llm"] = *in.llm;
        if (in.servers) d["servers"] = *in.servers;
        if (in.allow) {
            for (const std::string& p : *in.allow)
                if (auto ok = check_pattern(p); !ok) return refuse(ok.error().code, ok.error().message);
            d["allow"] = *in.allow;
        }
        if (!d.empty()) emit("SessionConfigured", std::move(d));
    }

    void on(const input::end& in) {
        on(input::cancel{"the session ended", {}});
        emit("SessionEnded", {{"reason", in.reason}});
        out_.reply = json::object();
    }

    turn_outcome take() { return std::move(out_); }

  private:
    std::string at() const { return time_text(c_.wall_ms); }
    std::uint64_t number() const { return c_.next_seq + out_.events.size(); }
    void refuse(errc code, std::string message) { out_.reply = fail(code, std::move(message)); }

    void emit(std::string type, json data, std::string idem_key = {}) {
        data["session_id"] = out_.next.id;
        apply(out_.next, type, data, number(), at(), idem_key);
        out_.events.push_back({std::move(type), std::move(data), true, std::move(idem_key)});
    }

    std::vector<tool_use> open_calls() const {
        std::vector<tool_use> out;
        for (const auto& m : out_.next.recent)
            for (const tool_use& c : m->calls)
                if (open(c.status)) out.push_back(c);
        return out;
    }

    void think() {
        if (out_.next.rounds >= c_.options->max_rounds) {
            emit("ErrorOccurred", {{"error_type", "max_rounds"},
                                   {"message", "the model called tools " + std::to_string(out_.next.rounds) +
                                                   " times in a row without an answer; send a message to go on"},
                                   {"context", {{"rounds", out_.next.rounds}}}});
            return;
        }
        const std::string id = c_.new_id("msg_");
        json m{{"id", id}, {"role", "assistant"}, {"text", ""}, {"status", "streaming"}, {"at", at()}, {"seq", number()}};
        emit("MessageAdded", {{"message_id", id}, {"message", std::move(m)}});
        out_.effects.push_back(effect::call_model{id});
    }

    void finish() {
        if (out_.next.unanswered > 0 && !out_.next.unfinished()) think();
    }

    /// After something ended: wait for the rest, ask the model again with every result, or be idle.
    void go_on() {
        if (out_.next.unfinished()) return;
        const message* last = nullptr;
        for (const auto& m : out_.next.recent)
            if (m->role == speaker::assistant) last = m.get();
        if (last && !last->calls.empty() && last->status == message_status::complete && !stop_here_) think();
        else finish();
    }

    void interrupt(const std::string& partial) {
        const std::string id = out_.next.streaming;
        emit("MessageUpdated", {{"message_id", id}, {"content", partial}, {"status", partial.empty() ? "failed" : "interrupted"}});
    }

    void complete(const input::model_done& in) {
        const std::string stop = string_or(in.result, "stop_reason", "other");
        // What the model did not finish saying never runs; and it is not asked to go on by itself.
        const bool cut = stop == "max_tokens" || stop == "refusal";
        std::string text;
        bool opaque = false;
        json calls = json::array();
        json parts = member(in.result, "content");
        if (!parts.is_array()) parts = json::array();
        for (json& part : parts) {
            const std::string type = string_or(part, "type");
            if (type == "text") text += string_or(part, "text");
            else if (type == "tool_use") calls.push_back(proposed(part, calls));
            else opaque = true;
        }
        json d{{"message_id", in.message_id}, {"final_content", text}, {"stats", stats_of(in.result, in.duration_ms)}};
        if (!calls.empty()) d["tool_calls"] = calls;
        if (opaque) d["parts"] = std::move(parts);
        emit("StreamCompleted", std::move(d));
        stop_here_ = cut;
        std::size_t n = 0;
        for (const json& c : calls) {
            const tool_use* call = out_.next.find_call(string_or(c, "id"));
            if (cut) not_run(*call, "The answer was cut off (" + stop + "), so this call was not run.");
            else if (++n > max_parallel_calls) not_run(*call, "Too many calls in one answer; this one was not run. Call it again on its own.");
            else propose(*call);
        }
        if (cut && text.empty() && calls.empty())
            emit("ErrorOccurred", {{"error_type", "empty_answer"}, {"message", "the model stopped without an answer (" + stop + ")"},
                                   {"context", {{"message_id", in.message_id}}}});
    }

    static json stats_of(const json& chat_result, std::int64_t duration_ms) {
        const json& usage = member(chat_result, "usage");
        return {{"adapter", string_or(chat_result, "adapter")},       {"model", string_or(chat_result, "model")},
                {"stop_reason", string_or(chat_result, "stop_reason", "other")},
                {"input_tokens", int_or(usage, "input_tokens", 0)},   {"output_tokens", int_or(usage, "output_tokens", 0)},
                {"cached_tokens", int_or(usage, "cached_tokens", 0)}, {"duration_ms", duration_ms}};
    }

    /// A call as the model made it; ids that are empty or known already are replaced, in the part as well. Once memory does not hold the
    /// whole session, an id too short to be random may have been used before: replaced, too, for an id names one call in the journal.
    json proposed(json& part, const json& before) {
        std::string id = string_or(part, "id");
        const auto same = [&](const json& c) { return string_or(c, "id") == id; };
        const bool doubtful = id.size() < shortest_random_id && out_.next.stats.messages > out_.next.recent.size();
        if (id.empty() || doubtful || out_.next.find_call(id) || std::any_of(before.begin(), before.end(), same)) part["id"] = id = c_.new_id("call_");
        const std::string name = string_or(part, "name");
        const auto [server, tool] = decode(name);
        return {{"id", id}, {"server", server}, {"tool", tool}, {"name", name}, {"arguments", member(part, "input")}, {"status", "proposed"}};
    }

    std::pair<std::string, std::string> decode(const std::string& name) const {
        if (c_.offered) {
            if (auto found = c_.offered->decode(name)) return *found;
        } else if (c_.tools) {
            for (const auto& t : c_.tools->tools)
                if (encode_tool_name(t.server, t.name) == name) return {t.server, t.name};
        }
        return {"", name};
    }

    const servers::tool_info* look_up(const std::string& server, const std::string& tool) const {
        if (!c_.tools || !visible(server)) return nullptr;
        for (const auto& t : c_.tools->tools)
            if (t.server == server && t.name == tool) return &t;
        return nullptr;
    }

    bool visible(const std::string& server) const {
        const auto& only = out_.next.config.servers;
        return only.empty() || std::find(only.begin(), only.end(), server) != only.end();
    }

    void not_run(const tool_use& c, const std::string& why) { executed(std::string(c.id), "error", error_result(why), 0); }

    void propose(const tool_use& shared) {
        const tool_use c = shared;  // emit replaces what `shared` points into
        if (!c.arguments.is_object()) return not_run(c, "The arguments are not an object, so this call was not run.");
        const servers::tool_info* t = look_up(c.server, c.tool);
        if (!t) return not_run(c, c.server.empty() ? "There is no tool named " + c.tool + "." : "The tool " + c.server + "/" + c.tool + " is not available now.");
        if (allows(out_.next.config.allow, c.server, c.tool)) {
            const auto pin = out_.next.pins.find(c.server + "/" + c.tool);
            if (pin != out_.next.pins.end() && pin->second != t->hash)
                return ask(c, *t, " Its definition has changed since it last ran.");
            if (in_doubt(c)) return ask(c, *t, " The same call was made before and its outcome is unknown: it may run a second time.");
            return intent(c, t->hash);
        }
        ask(c, *t, in_doubt(c) ? " The same call was made before and its outcome is unknown: it may run a second time." : "");
    }

    bool in_doubt(const tool_use& c) const {
        for (const auto& m : out_.next.recent)
            for (const tool_use& o : m->calls)
                if (o.id != c.id && o.status == call_status::outcome_unknown && o.server == c.server && o.tool == c.tool && o.arguments == c.arguments)
                    return true;
        return false;
    }

    json request_fields(const tool_use& c, const char* kind, const std::string& prompt, json options) const {
        const std::int64_t timeout = c_.options->permission_timeout.count(), expires = c_.wall_ms + timeout;
        return {{"request_id", c_.new_id("req_")}, {"kind", kind},       {"prompt", prompt},        {"options", std::move(options)},
                {"timeout", timeout},              {"call_id", c.id},    {"server_name", c.server}, {"tool_name", c.tool},
                {"arguments", c.arguments},        {"expires_ms", expires}, {"expires_at", time_text(expires)}};
    }

    void ask(const tool_use& c, const servers::tool_info& t, const std::string& note) {
        json d = request_fields(c, "permission", "Allow " + c.server + "/" + c.tool + " to run?" + note, {"allow_once", "allow_always", "deny"});
        d["definition_hash"] = t.hash;
        emit("PermissionRequired", std::move(d));
    }

    /// The model answers a tool's server only after a person has seen what it is asked.
    void ask_to_sample(const tool_use& c, const input::tool_asks& in) {
        auto request = read_sampling(in.question.params, c_.options->max_tokens);
        if (!request) return refuse_sampling(in.call_id, in.question.key, invalid_params, request.error().message);
        if (out_.next.samplings >= max_samplings)
            return refuse_sampling(in.call_id, in.question.key, internal_error,
                                   "tools asked the model " + std::to_string(max_samplings) + " times in this turn; that is the limit");
        json d = request_fields(c, "sampling", "Let " + c.server + "/" + c.tool + " ask the model, for up to " + std::to_string(int_or(request->body, "max_tokens", 0)) +
                                                   " tokens? The server sees the answer.", {"allow_once", "deny"});
        d["key"] = in.question.key;
        d["arguments"] = request->shown;
        request->body["session_id"] = out_.next.id;
        emit("PermissionRequired", std::move(d));
        out_.next.pending.back().sampling = std::make_shared<const sampling_request>(std::move(*request));
    }

    void refuse_sampling(const std::string& call_id, const std::string& key, int code, const std::string& why) {
        std::erase_if(out_.next.refused, [&](const refused_call& r) { return r.call_id == call_id; });
        out_.next.refused.push_back({call_id, why});
        out_.effects.push_back(effect::answer_tool{call_id, key, {{"error", {{"code", code}, {"message", why}}}}});
    }

    static const char* no_to(const pending_request& p) { return p.kind == "input" ? "cancel" : "deny"; }

    void intent(const tool_use& c, const std::string& hash) {
        out_.effects.push_back(effect::run_tool{c.id, c.server, c.tool, c.arguments});
        emit("ToolCallIntent", {{"call_id", c.id}, {"server_name", c.server}, {"tool_name", c.tool}, {"arguments", c.arguments}, {"definition_hash", hash}});
    }

    void executed(const std::string& call_id, const char* status, json outcome, std::int64_t duration_ms) {
        const tool_use* c = out_.next.find_call(call_id);
        std::erase_if(out_.next.refused, [&](const refused_call& r) { return r.call_id == call_id; });
        emit("MCPToolExecuted", {{"call_id", call_id}, {"server_name", c ? c->server : ""}, {"tool_name", c ? c->tool : ""},
                                 {"result", std::move(outcome)}, {"duration", duration_ms}, {"status", status}});
    }

    void resolved(const pending_request& p, const std::string& decision, const std::string& by, const std::string& pattern) {
        json d{{"request_id", p.request_id}, {"decision", decision}, {"resolved_by", by}, {"call_id", p.call_id}, {"kind", p.kind}};
        if (!pattern.empty()) d["pattern"] = pattern;
        emit("PermissionResolved", std::move(d));
    }

    /// Someone, or the clock, has answered a request that is pending.
    void settle(const pending_request& p, const std::string& decision, const std::string& by, const std::string& pattern, const json& content) {
        resolved(p, decision, by, pattern);
        if (p.kind == "input") {
            json response{{"action", decision}};
            if (decision == "accept" && content.is_object() && p.url.empty()) response["content"] = content;
            out_.effects.push_back(effect::answer_tool{p.call_id, p.key, std::move(response)});
            return;
        }
        if (p.kind == "sampling") {
            if (decision == "allow_once" && p.sampling) out_.effects.push_back(effect::sample{p.call_id, p.key, p.sampling});
            else refuse_sampling(p.call_id, p.key, user_rejected, by == "timeout" ? "User rejected sampling request: nobody answered in time" : "User rejected sampling request");
            return;
        }
        if (decision == "deny")
            return executed(p.call_id, "denied",
                            error_result(by == "timeout" ? "Denied: nobody answered within " + std::to_string(p.timeout_ms / 1000) + " seconds."
                                                         : "Denied by " + by + "."), 0);
        approved(p.call_id, p.hash);
    }

    bool server_there(const std::string& server) const {
        return c_.tools && std::any_of(c_.tools->tools.begin(), c_.tools->tools.end(), [&](const auto& t) { return t.server == server; });
    }

    /// A server that is not there, after a restart of ours or its own, is expected back; one that is there without the tool is not.
    void approved(const std::string& call_id, const std::string& asked_hash, bool last = false) {
        const tool_use* found = out_.next.find_call(call_id);
        if (!found) return;
        const tool_use c = *found;
        const servers::tool_info* t = look_up(c.server, c.tool);
        if (!t && !last && visible(c.server) && !server_there(c.server)) {
            out_.effects.push_back(effect::await_tool{c.id, c.server});
            return;
        }
        if (!t) return not_run(c, "The tool " + c.server + "/" + c.tool + " is not available any more.");
        if (t->hash != asked_hash) return ask(c, *t, " Its definition has changed since you were asked.");
        intent(c, t->hash);
    }

    void answer_late(const input::answer& in) {
        for (const resolution& r : out_.next.resolved)
            if (r.request_id == in.request_id) {
                out_.reply = json{{"request_id", r.request_id}, {"decision", r.decision}, {"resolved_by", r.by}, {"first", false}};
                return;
            }
        refuse(errc::not_found, "nothing with the id " + in.request_id + " waits for an answer in this session");
    }

    void drop_questions_of(const std::string& call_id, const std::string& by) {
        for (const pending_request& p : std::vector(out_.next.pending))
            if (p.kind != "permission" && p.call_id == call_id) resolved(p, no_to(p), by, {});
    }

    void respond(const input::tool_asks& in, json response) {
        out_.effects.push_back(effect::answer_tool{in.call_id, in.question.key, std::move(response)});
    }

    void restore(const input::restored& in) {
        if (out_.next.ended || !out_.next.unfinished()) return;
        bool stopped = false;
        if (!out_.next.streaming.empty()) {
            const std::string id = out_.next.streaming;
            interrupt(in.partial);
            emit("ErrorOccurred", {{"error_type", "stream_failure"}, {"message", "the answer was interrupted by a restart; what had arrived is kept"},
                                   {"context", {{"message_id", id}, {"code", "restart"}, {"partial", !in.partial.empty()}}}});
            stopped = true;
        }
        for (const tool_use& c : open_calls()) stopped |= restore_call(c);
        if (out_.next.unfinished()) return;
        if (stopped) finish();
        else go_on();
    }

    /// True if the call is closed with an unknown outcome: the turn is then the user's again.
    bool restore_call(const tool_use& c) {
        if (c.status == call_status::running) {
            drop_questions_of(c.id, "restart");
            executed(c.id, "outcome_unknown",
                     error_result("The outcome is unknown: the host was restarted while the tool ran. It may or may not have done "
                                  "its work; it is not repeated by itself."), 0);
            emit("ErrorOccurred", {{"error_type", "outcome_unknown"},
                                   {"message", "it is not known whether " + c.server + "/" + c.tool + " ran: the host was restarted meanwhile; "
                                               "check before you ask for it again"},
                                   {"context", {{"call_id", c.id}, {"server_name", c.server}, {"tool_name", c.tool}}}});
            return true;
        }
        if (c.status == call_status::asked) {
            for (const pending_request& p : std::vector(out_.next.pending))
                if (p.call_id == c.id && p.kind == "permission") {
                    json d = request_fields(c, "permission", p.prompt, p.options);  // the same request, with a full deadline
                    d["request_id"] = p.request_id;
                    d["definition_hash"] = p.hash;
                    emit("PermissionRequired", std::move(d));
                    return false;
                }
        }
        if (c.status == call_status::approved) {  // durable approval, no intent: nothing has left
            approved(c.id, c.approved_hash);
            return false;
        }
        propose(c);
        return false;
    }

    const turn_context& c_;
    turn_outcome out_;
    bool stop_here_ = false;  // the answer was cut: its calls are closed, and the model is not called again
};

}  // namespace

turn_outcome decide(const session_state& state, const session_input& in, const turn_context& context) {
    turn t(state, context);
    const bool over = state.ended && !std::holds_alternative<input::end>(in);
    if (over) {
        turn_outcome out;
        out.next = state;
        out.reply = fail(errc::session_not_found, "this session has ended");
        return out;
    }
    std::visit([&](const auto& i) { t.on(i); }, in);
    return t.take();
}

result<void> check_pattern(std::string_view pattern) {
    const auto slash = pattern.find('/');
    const bool stars = slash != std::string_view::npos && pattern.substr(0, slash).find('*') != std::string_view::npos;
    const auto tool = slash == std::string_view::npos ? std::string_view() : pattern.substr(slash + 1);
    if (slash == 0 || tool.empty() || stars || (tool != "*" && tool.find('*') != std::string_view::npos))
        return fail(errc::invalid_argument, "a pattern is \"server/tool\" or \"server/*\", not \"" + std::string(pattern) + "\"");
    return {};
}

bool allows(const std::vector<std::string>& patterns, std::string_view server, std::string_view tool) {
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) {
        const auto slash = p.find('/');
        if (slash == std::string::npos || std::string_view(p).substr(0, slash) != server) return false;
        const auto rest = std::string_view(p).substr(slash + 1);
        return rest == "*" || rest == tool;
    });
}

}  // namespace holdfast::sessions
