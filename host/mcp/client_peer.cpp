// What the server sends of its own accord: requests (legacy only) and notifications.
#include "mcp/client_impl.hpp"

namespace holdfast::mcp {

client_machine::impl::call_state* client_machine::impl::call_of_stream() {
    const auto w = pending.find(on_stream_of);
    if (w == pending.end() || w->second.what != purpose::call) return nullptr;
    const auto c = calls.find(w->second.subject);
    return c == calls.end() ? nullptr : &c->second;
}

/// A legacy server does not say which call its question belongs to, unless the transport has a stream for each request.
/// Without one and with one session calling it is that session's newest call; with several nobody can tell, and a question
/// shown to the wrong person would be a leak.
client_machine::impl::call_state* client_machine::impl::call_for_input() {
    if (call_state* c = call_of_stream()) return c->request.accepts_input ? c : nullptr;
    call_state* newest = nullptr;
    for (auto& [id, c] : calls) {
        if (!c.request.accepts_input || c.rpc == 0) continue;  // one that waits for a person is not under way at the server
        if (newest && newest->request.owner != c.request.owner) return nullptr;
        newest = &c;
    }
    return newest;
}

void client_machine::impl::on_server_request(rpc_request& r, steady_time now, actions& out) {
    const auto reply = [&](const json& result) { out.push_back(out::send{encode_result(r.id, result), {}}); };
    const auto refuse = [&](int code, std::string why) {
        out.push_back(out::send{encode_error(r.id, {code, std::move(why), {}}), {}});
    };
    if (identity.detected == era::modern)  // and it must not be answered either
        return violation(counters.misplaced, "a modern server sent a request: " + quote(r.method), out);
    if (r.method == "ping") return reply(json::object());
    const bool question = r.method == "elicitation/create" || r.method == "sampling/createMessage" || r.method == "roots/list";
    if (!question) return refuse(rpc_code::method_not_found, "this client does not know " + quote(r.method));
    if (server_requests.count(id_text(r.id)))
        return violation(counters.repeated, "the server used request id " + quote(id_text(r.id)) + " twice", out);
    call_state* c = call_for_input();
    if (!c) {
        if (r.method == "roots/list") return reply({{"roots", options.roots}});
        if (r.method == "elicitation/create") return reply({{"action", "decline"}});
        return refuse(-1, "nobody is there to answer");
    }
    if (server_requests.size() >= options.limits.max_server_requests)
        return refuse(rpc_code::internal_error, "too many requests are waiting for an answer");
    put_question(*c, {r.method, {}, r.id, {}, r.params.is_object() ? std::move(r.params) : json::object(), now, call_of_stream() == nullptr}, now, out);
}

void client_machine::impl::put_question(call_state& c, asked a, steady_time now, actions& out) {
    const std::string key = "s" + std::to_string(next_key++);
    server_requests.insert_or_assign(id_text(a.server_id), std::make_pair(c.request.id, key));
    if (!c.paused_since) c.paused_since = now;
    out.push_back(out::input{c.request.id, key, a.method, a.params});
    c.inputs.emplace(key, std::move(a));
}

/// A call has ended and the server still waits for an answer that was asked of it: so it was about another one, the newest
/// that was under way then. Only the same session's will do.
bool client_machine::impl::hand_over(const call_state& ended, asked& a, steady_time now, actions& out) {
    if (!a.guessed || at == phase::over) return false;
    call_state* newest = nullptr;
    for (auto& [id, c] : calls)
        if (c.request.accepts_input && c.rpc != 0 && c.request.owner == ended.request.owner && c.started <= a.since) newest = &c;
    if (newest) put_question(*newest, std::move(a), now, out);
    return newest != nullptr;
}

void client_machine::impl::on_notification(rpc_notification& n, steady_time now, actions& out) {
    if (n.method == "notifications/progress") return on_progress(n.params, now, out);
    if (n.method == "notifications/cancelled") return on_server_cancel(n.params, now, out);
    if (list_notification(n.method, n.params, now, out)) return;
    if (n.method == "notifications/message") return on_log_message(n.params, out);
    if (n.method == "notifications/resources/updated") return on_updated(n.params, now, out);
    if (n.method == "notifications/subscriptions/acknowledged") return void(of_subscription(n.method, n.params, now, out));
    if (n.method == "notifications/elicitation/complete" && member(n.params, "elicitationId").is_string()) {
        out.push_back(out::notice{n.method, {{"elicitationId", n.params["elicitationId"]}}});
        return on_url_complete(n.params["elicitationId"].get<std::string>(), now, out);
    }
    // Anything else is an extension we did not ask for: ignored, as JSON-RPC has it for notifications.
}

void client_machine::impl::on_progress(const json& params, steady_time now, actions& out) {
    const json& token = member(params, "progressToken");
    const json& value = member(params, "progress");
    if (!token.is_number_integer() || !value.is_number())
        return violation(counters.misplaced, "progress without a token of ours", out);
    const auto rpc = token.get<std::int64_t>();
    auto w = rpc > 0 ? pending.find(static_cast<std::uint64_t>(rpc)) : pending.end();
    if (w == pending.end() || w->second.what != purpose::call) {
        // After a cancellation progress may still be on its way.
        if (std::find(forgotten.begin(), forgotten.end(), static_cast<std::uint64_t>(rpc)) != forgotten.end()) return;
        return violation(counters.misplaced, "progress for a request that is not under way", out);
    }
    auto c = calls.find(w->second.subject);
    if (c == calls.end()) return;
    const double progress = value.get<double>();
    if (c->second.progress && progress <= *c->second.progress)
        return violation(counters.misplaced, "progress that does not grow", out);
    c->second.progress = progress;
    c->second.last_sign = now;
    violations_in_row = 0;
    if (!c->second.request.wants_progress) return;
    json shown{{"progress", value}};
    if (member(params, "total").is_number()) shown["total"] = params["total"];
    if (member(params, "message").is_string()) shown["message"] = params["message"];
    out.push_back(out::progress{c->first, std::move(shown)});
}

void client_machine::impl::on_server_cancel(const json& params, steady_time now, actions& out) {
    const json& id = member(params, "requestId");
    if (identity.detected == era::modern) {
        const std::uint64_t rpc = id.is_number_integer() ? id.get<std::uint64_t>() : 0;
        if (rpc != 0 && (rpc == stands.rpc || rpc == opening.rpc)) {
            forget(rpc);
            return listen_ended(rpc, true, now, out);
        }
        return violation(counters.misplaced, "notifications/cancelled for a request of ours", out);
    }
    auto it = server_requests.find(id_text(id));
    if (it == server_requests.end()) return;  // it crossed our answer: legal
    const auto [call, key] = it->second;
    server_requests.erase(it);
    auto c = calls.find(call);
    if (c == calls.end()) return;
    c->second.inputs.erase(key);
    out.push_back(out::input_withdrawn{call, key});
    question_gone(c->second, now, out);
}

}  // namespace holdfast::mcp
