#include "mcp/gateway/legacy_session.hpp"

#include "mcp/gateway/route.hpp"
#include "mcp/gateway/text.hpp"

namespace holdfast::mcp::gateway {
namespace {

constexpr std::string_view first_primed = "2025-11-25";    // clients before took an event without data for a broken one
constexpr std::string_view first_without_batches = "2025-06-18";
constexpr std::string_view first_with_url_mode = "2025-11-25";
constexpr const char* default_log_level = "info";          // until logging/setLevel
constexpr int legacy_resource_not_found = -32002;
constexpr std::size_t max_shown_id = 40;                   // of a client's event id, said back

dialect words_for(const json& initialize_params) {
    const std::string asked = string_or(initialize_params, "protocolVersion");
    return {era::legacy, is_legacy(asked) ? asked : std::string(legacy_versions.front())};
}

void plain(stream_id on, int status, std::string text, actions& out) {
    out.push_back(act::head{on, status, false});
    if (!text.empty()) out.push_back(act::emit{on, {}, std::move(text)});
    out.push_back(act::end{on});
}

}  // namespace

// Versions are dates: they compare as text.
legacy_session::legacy_session(limits l, bool stdio, json initialize_params, steady_time now)
    : limits_(l), dialect_(words_for(initialize_params)), capabilities_(member(initialize_params, "capabilities")), log_level_(default_log_level),
      streams_(l, !stdio, dialect_.version >= first_primed), last_use_(now) {
    if (!capabilities_.is_object()) capabilities_ = json::object();
    // A client of a version before modes existed cannot be sent to a web page.
    if (dialect_.version < first_with_url_mode && member(capabilities_, "elicitation").is_object()) capabilities_["elicitation"] = json::object();
}

void legacy_session::welcome(stream_id on, const json& id, const std::string& session, const std::string& instructions, actions& out) {
    json result{{"protocolVersion", dialect_.version}, {"capabilities", server_capabilities()}, {"serverInfo", server_info()}};
    if (!instructions.empty()) result["instructions"] = instructions;
    out.push_back(act::head{on, 200, false, session});
    out.push_back(act::emit{on, {}, result_message(id, dump(result))});
    out.push_back(act::end{on});
}

void legacy_session::post(stream_id on, json message, const offer& from, steady_time now, actions& out) {
    last_use_ = now;
    if (message.is_array()) return batch(on, std::move(message), from, now, out);
    const json about = id_of_unread(message);
    auto m = decode_value(std::move(message));
    if (!m) return plain(on, 400, error_message(about, {rpc_code::invalid_request, m.error().message, {}}), out);
    if (auto* r = std::get_if<rpc_request>(&*m)) {
        const auto n = streams_.open_post(on, 1);
        return request(std::move(*r), n, from, now, out);
    }
    if (auto* r = std::get_if<rpc_response>(&*m)) response(std::move(*r), out);
    else notification(std::get<rpc_notification>(*m), now, out);
    plain(on, 202, {}, out);
}

void legacy_session::batch(stream_id on, json messages, const offer& from, steady_time now, actions& out) {
    const auto refuse = [&](std::string why) { plain(on, 400, error_message(nullptr, {rpc_code::invalid_request, std::move(why), {}}), out); };
    if (dialect_.version >= first_without_batches) return refuse("protocol version " + dialect_.version + " has no batches");
    if (messages.empty() || messages.size() > limits_.max_batch) return refuse("a batch has 1 to " + std::to_string(limits_.max_batch) + " messages");
    std::vector<rpc_message> all;
    std::size_t answers = 0;
    for (json& message : messages) {
        auto m = decode_value(std::move(message));
        if (!m) return refuse(m.error().message);
        answers += std::holds_alternative<rpc_request>(*m);
        all.push_back(std::move(*m));
    }
    stream_board::number n = 0;
    if (answers > 0) {
        n = streams_.open_post(on, answers);
        streams_.ensure_open(n, now, out);
    }
    for (auto& m : all) {
        if (auto* r = std::get_if<rpc_request>(&m)) request(std::move(*r), n, from, now, out);
        else if (auto* a = std::get_if<rpc_response>(&m)) response(std::move(*a), out);
        else notification(std::get<rpc_notification>(m), now, out);
    }
    if (answers == 0) plain(on, 202, {}, out);
}

void legacy_session::request(rpc_request r, stream_board::number on, const offer& from, steady_time now, actions& out) {
    const auto refuse = [&](const rpc_error& e) { streams_.answer(on, error_message(r.id, e), now, out); };
    if (auto mine = own(r, from, out)) {
        if (auto* e = std::get_if<rpc_error>(&*mine)) return refuse(*e);
        return streams_.answer(on, result_message(r.id, std::get<std::string>(*mine)), now, out);
    }
    const std::string key = id_text(r.id);
    if (by_id_.count(key)) return refuse({rpc_code::invalid_request, "a request with this id is under way", {}});
    if (calls_.size() >= limits_.max_requests) return refuse({rpc_code::internal_error, "too many requests of this session are under way", {}});
    const json token = member(member(r.params, "_meta"), "progressToken");
    auto where = route(from, dialect_, r.method, std::move(r.params));
    if (auto* e = std::get_if<rpc_error>(&where)) return refuse(*e);
    if (auto* text = std::get_if<local_answer>(&where)) return streams_.answer(on, result_message(r.id, *text), now, out);
    auto& what = std::get<upstream_request>(where);
    const call_ref call = next_call_++;
    running c;
    c.id = std::move(r.id);
    c.token = token;
    c.method = r.method;
    c.server = what.server;
    c.on = on;
    c.since = now;
    calls_.emplace(call, std::move(c));
    by_id_.emplace(key, call);
    out.push_back(act::call{call, std::move(what), !token.is_null(), !capabilities_.empty(), capabilities_, log_level_});
}

std::optional<std::variant<std::string, rpc_error>> legacy_session::own(const rpc_request& r, const offer& from, actions& out) {
    using answer = std::variant<std::string, rpc_error>;
    if (r.method == "ping") return answer("{}");
    if (r.method == "initialize") return answer(rpc_error{rpc_code::invalid_request, "this session is initialized already", {}});
    if (r.method == "resources/subscribe" || r.method == "resources/unsubscribe")
        return subscribe(r.params, r.method == "resources/subscribe", from, out);
    if (r.method != "logging/setLevel") return {};
    const std::string level = string_or(r.params, "level");
    if (log_severity(level) < 0) return answer(rpc_error{rpc_code::invalid_params, "level is not a log level", {}});
    log_level_ = level;
    return answer("{}");
}

std::variant<std::string, rpc_error> legacy_session::subscribe(const json& params, bool wanted, const offer& from, actions& out) {
    const json& uri = member(params, "uri");
    if (!uri.is_string()) return rpc_error{rpc_code::invalid_params, "uri must be a string", {}};
    const auto& name = uri.get_ref<const std::string&>();
    if (wanted && !from.resource_server(name)) return rpc_error{legacy_resource_not_found, "Resource not found: " + name, {{"uri", name}}};
    if (wanted && watched_.size() >= limits_.max_subscriptions && !watched_.count(name))
        return rpc_error{rpc_code::internal_error, "at most " + std::to_string(limits_.max_subscriptions) + " resources can be subscribed", {}};
    const bool changed = wanted ? watched_.insert(name).second : watched_.erase(name) > 0;
    if (!wanted) updated_.erase(name);
    if (changed) out.push_back(act::watch{watched_});
    return std::string("{}");
}

void legacy_session::notification(const rpc_notification& n, steady_time now, actions& out) {
    if (n.method != "notifications/cancelled") return;  // initialized, roots/list_changed: nothing depends on them here
    const auto it = by_id_.find(id_text(member(n.params, "requestId")));
    if (it == by_id_.end()) return;  // it has ended: the two crossed
    const auto call = calls_.find(it->second);
    const auto on = call->second.on;
    out.push_back(act::cancel{call->first});
    forget(call, now, out);
    streams_.skip(on, now, out);
}

void legacy_session::response(rpc_response r, actions& out) {
    if (!r.id.is_number_integer()) return;
    const auto it = questions_.find(r.id.get<std::int64_t>());
    if (it == questions_.end()) return;  // the call has ended meanwhile
    const question q = std::move(it->second);
    questions_.erase(it);
    if (auto c = calls_.find(q.call); c != calls_.end()) c->second.questions.erase(r.id.get<std::int64_t>());
    json answer = std::move(r.result);
    if (r.error) answer = {{"error", {{"code", r.error->code}, {"message", r.error->message}}}};
    out.push_back(act::answer{q.call, q.key, std::move(answer)});
}

void legacy_session::forget(std::map<call_ref, running>::iterator it, steady_time now, actions& out) {
    for (const auto id : it->second.questions) {
        questions_.erase(id);
        streams_.send(it->second.on, notification_message("notifications/cancelled", {{"requestId", id}, {"reason", "the request it belongs to has ended"}}), now, out);
    }
    by_id_.erase(id_text(it->second.id));
    calls_.erase(it);
}

void legacy_session::listen(stream_id on, const std::string& last_event, steady_time now, actions& out) {
    last_use_ = now;
    if (!streams_.attach(on, last_event, now, out))
        return plain(on, 400, error_message(nullptr, {rpc_code::invalid_request, "the stream of event " + last_event.substr(0, max_shown_id) + " has ended; there is nothing more to come on it", {}}), out);
    if (!streams_.attached(stream_board::standalone)) return;
    for (std::size_t k = 0; k < list_kinds; ++k)
        if (std::exchange(changed_[k], false)) tell_changed(static_cast<list_kind>(k), now, out);
    for (const auto& uri : std::exchange(updated_, {})) tell_updated(uri, now, out);
}

void legacy_session::gone(stream_id on, steady_time now) {
    last_use_ = now;
    streams_.gone(on, now);
}

void legacy_session::close(actions& out) {
    if (std::exchange(over_, true)) return;
    for (const auto& [call, c] : calls_) out.push_back(act::cancel{call});
    calls_.clear();
    by_id_.clear();
    questions_.clear();
    streams_.close(out);
    if (!watched_.empty()) out.push_back(act::watch{});
    out.push_back(act::over{});
}

void legacy_session::on(up::progress e, steady_time now, actions& out) {
    const auto it = calls_.find(e.id);
    if (it == calls_.end() || it->second.token.is_null()) return;
    streams_.send(it->second.on, progress_message(it->second.token, e.value), now, out);
}

void legacy_session::on(up::log e, steady_time now, actions& out) {
    const auto it = calls_.find(e.id);
    if (it == calls_.end() || log_severity(string_or(e.params, "level")) < log_severity(log_level_)) return;
    streams_.send(it->second.on, notification_message("notifications/message", e.params), now, out);
}

void legacy_session::on(up::input e, steady_time now, actions& out) {
    const auto it = calls_.find(e.id);
    if (it == calls_.end()) return;
    if (!can_ask(capabilities_, e.method, e.params) || questions_.size() >= limits_.max_questions) {
        out.push_back(act::answer{e.id, e.key, unasked(e.method)});
        return;
    }
    if (dialect_.version < first_with_url_mode) e.params.erase("mode");
    const auto id = next_question_++;
    it->second.questions.insert(id);
    questions_.emplace(id, question{e.id, e.key, e.method});
    streams_.send(it->second.on, "{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(id) + ",\"method\":" + dump(json(e.method)) + ",\"params\":" + dump(e.params) + "}", now, out);
}

void legacy_session::on(up::done e, steady_time now, actions& out) {
    const auto it = calls_.find(e.id);
    if (it == calls_.end()) return;  // cancelled
    last_use_ = now;
    running& c = it->second;
    std::string text = e.outcome ? result_message(c.id, present(dialect_, c.method, std::move(*e.outcome)))
                                 : error_message(c.id, present_failure(dialect_, c.server, e.outcome.error(), e.answered));
    const auto on = c.on;
    forget(it, now, out);
    streams_.answer(on, std::move(text), now, out);
}

void legacy_session::changed(list_kind kind, steady_time now, actions& out) {
    if (streams_.attached(stream_board::standalone)) return tell_changed(kind, now, out);
    changed_[static_cast<std::size_t>(kind)] = true;  // once, however often: told when somebody listens
}

void legacy_session::updated(const std::string& uri, const std::string& watched, steady_time now, actions& out) {
    if (!watched_.count(watched)) return;
    if (streams_.attached(stream_board::standalone)) return tell_updated(uri, now, out);
    updated_.insert(watched);  // bounded by what is watched
}

void legacy_session::tell_changed(list_kind kind, steady_time now, actions& out) {
    static constexpr const char* methods[] = {"notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
                                              "notifications/resources/list_changed"};
    streams_.send(stream_board::standalone, encode_notification(methods[static_cast<std::size_t>(kind)], nullptr), now, out);
}

void legacy_session::tell_updated(const std::string& uri, steady_time now, actions& out) {
    streams_.send(stream_board::standalone, notification_message("notifications/resources/updated", {{"uri", uri}}), now, out);
}

void legacy_session::tick(steady_time now, actions& out) {
    if (over_) return;
    for (const auto& [call, c] : calls_)
        if (now - c.since >= limits_.stream_after) streams_.ensure_open(c.on, now, out);
    streams_.tick(now, out);
    if (calls_.empty() && !streams_.any_attached() && now - last_use_ >= limits_.session_idle) close(out);
}

}  // namespace holdfast::mcp::gateway
