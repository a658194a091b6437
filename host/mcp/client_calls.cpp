// Calls: deadlines, input between rounds (modern) or while they run (legacy), cancellation; and health probes.
#include <algorithm>

#include "mcp/client_elicitation.hpp"
#include "mcp/client_impl.hpp"

namespace holdfast::mcp {
namespace {

constexpr std::size_t max_input_requests = 32;  // of one round

bool takes_input(std::string_view method) { return method == "tools/call" || method == "prompts/get" || method == "resources/read"; }
bool known_input(std::string_view method) {
    return method == "elicitation/create" || method == "sampling/createMessage" || method == "roots/list";
}

/// The caller's params without what belongs to this connection.
json own_params(const json& given) {
    json params = given.is_object() ? given : json::object();
    json kept = json::object();
    for (const auto& [key, value] : member(params, "_meta").items())
        if (key != "progressToken" && key.rfind("io.modelcontextprotocol/", 0) != 0) kept[key] = value;
    params.erase("_meta");
    params.erase("inputResponses");
    params.erase("requestState");
    if (!kept.empty()) params["_meta"] = std::move(kept);
    return params;
}

}  // namespace

void client_machine::impl::start_call(in::call c, steady_time now, actions& out) {
    const auto refuse = [&](errc code, std::string why) {
        out.push_back(out::done{c.id, fail(code, std::move(why)), false, nanoseconds(0)});
    };
    if (at != phase::ready) return refuse(errc::unavailable, "the server is not connected");
    if (calls.count(c.id)) return refuse(errc::internal, "a call of this id is under way");
    if (calls.size() >= options.limits.max_calls)
        return refuse(errc::overloaded, std::to_string(calls.size()) + " calls of this server are under way; try again later");
    c.params = own_params(c.params);
    use_list(c.method == "tools/call" ? tools : c.method == "prompts/get" ? prompts : resources, now, out);
    if (const cached_read* hit = fresh_read(c, now)) {
        json result = hit->result;
        result["ttlMs"] = std::chrono::duration_cast<milliseconds>(hit->until - now).count();
        return out.push_back(out::done{c.id, std::move(result), false, nanoseconds(0), {}, true});
    }
    if (!c.log_level.empty()) want_logs(c.log_level, now, out);
    const call_id id = c.id;
    call_state state;
    state.request = std::move(c);
    state.started = now;
    send_call(calls.emplace(id, std::move(state)).first->second, now, out);
}

void client_machine::impl::send_call(call_state& c, steady_time now, actions& out) {
    json params = c.request.params;
    if (c.rounds > 0) {
        if (!c.inputs.empty()) {
            json responses = json::object();
            for (auto& [key, a] : c.inputs) responses[a.server_key] = a.response.value_or(json::object());
            params["inputResponses"] = std::move(responses);
        }
        if (c.request_state) params["requestState"] = *c.request_state;
        c.inputs.clear();
    }
    // The token is the id the request is about to get: unique, and foreign tokens are recognised.
    if (c.request.wants_progress || options.limits.idle_timeout.count() > 0) params["_meta"]["progressToken"] = next_id;
    if (!c.request.log_level.empty() && identity.detected == era::modern) params["_meta"][meta::log_level] = c.request.log_level;
    c.progress.reset();
    c.sent = true;
    c.last_sign = now;
    c.forgotten_before = reads_forgotten;
    c.rpc = send(purpose::call, c.request.id, c.request.method, std::move(params),
                 !c.request.accepts_input ? json::object() : c.request.capabilities.is_object() ? c.request.capabilities : options.capabilities,
                 {}, now, out);
}

std::optional<steady_time> client_machine::impl::call_deadline(const call_state& c) const {
    if (c.paused_since) {
        const steady_time end = *c.paused_since + c.request.input_wait;
        return c.retry ? std::min(end, *c.retry) : end;
    }
    steady_time end = c.started + c.request.timeout + c.waited;
    if (options.limits.idle_timeout.count() > 0) end = std::min(end, c.last_sign + options.limits.idle_timeout);
    return end;
}

void client_machine::impl::expire_call(call_id id, steady_time now, actions& out) {
    auto it = calls.find(id);
    if (it == calls.end()) return;
    if (it->second.retry && *it->second.retry <= now) return try_again(it->second, now, out);
    const bool waiting_for_people = it->second.paused_since.has_value();
    const auto ms = std::chrono::duration_cast<milliseconds>(now - it->second.started).count();
    cancel_call(id, {errc::timeout, waiting_for_people ? "nobody answered the server's question in time"
                                                       : "no result within " + std::to_string(ms) + " ms; the call was cancelled"},
                now, out);
}

void client_machine::impl::cancel_call(call_id id, error why, steady_time now, actions& out) {
    auto it = calls.find(id);
    if (it == calls.end()) return;
    if (it->second.rpc) stop_waiting(std::exchange(it->second.rpc, 0), why.message, out);
    end_call(id, tl::unexpected(std::move(why)), now, out);
}

void client_machine::impl::end_call(call_id id, result<json> outcome, steady_time now, actions& out, std::optional<rpc_error> answered) {
    auto it = calls.find(id);
    if (it == calls.end()) return;
    call_state c = std::move(it->second);
    calls.erase(it);
    for (auto& [key, a] : c.inputs) {
        if (a.response) continue;
        out.push_back(out::input_withdrawn{id, key});
        if (a.server_id.is_null() || hand_over(c, a, now, out)) continue;
        server_requests.erase(id_text(a.server_id));
        if (at != phase::over)
            out.push_back(out::send{encode_error(a.server_id, {rpc_code::internal_error, "the call has ended", {}}), {}});
    }
    out.push_back(out::done{id, std::move(outcome), c.sent, now > c.started ? now - c.started : nanoseconds(0), std::move(answered)});
}

/// Mcp-Param-* headers follow the tool's definition. When they do not fit, the definition has changed: it is read again
/// and the call, which was refused unexecuted, is sent once more.
bool client_machine::impl::retry_with_headers(call_state& c, const rpc_error& e, steady_time now, actions& out) {
    if (!options.http || e.code != rpc_code::header_mismatch || c.request.method != "tools/call" || c.rounds > 0) return false;
    if (!runs[tools].offered || std::exchange(c.headers_retried, true)) return false;
    c.waits_for_list = true;
    start_list(tools, now, out);  // one that is under way will do
    return true;
}

void client_machine::impl::tools_were_read(steady_time now, actions& out) {
    for (auto& [id, c] : calls)
        if (std::exchange(c.waits_for_list, false)) send_call(c, now, out);
}

void client_machine::impl::on_call_answer(call_id id, rpc_response& r, steady_time now, actions& out) {
    auto it = calls.find(id);
    if (it == calls.end()) return;
    call_state& c = it->second;
    c.rpc = 0;
    if (r.error) {
        if (retry_with_headers(c, *r.error, now, out) || ask_for_urls(c, *r.error, out, now)) return;
        const bool gone = identity.detected == era::modern && r.error->code == rpc_code::unsupported_version;
        end_call(id, tl::unexpected(peer_error(*r.error)), now, out, r.error);
        if (gone) give_up({errc::protocol_error, "the server no longer speaks " + identity.version + ": the connection starts anew"}, now, out);
        return;
    }
    const std::string type = string_or(r.result, "resultType", "complete");
    if (identity.detected == era::modern && type == "input_required") {
        if (!takes_input(c.request.method))
            return end_call(id, fail(errc::protocol_error, "the server asked for input where the protocol has none"), now, out);
        return on_input_required(c, r.result, now, out);
    }
    if (identity.detected == era::modern && type != "complete")
        return end_call(id, fail(errc::protocol_error, "unknown resultType '" + quote(type) + "'"), now, out);
    r.result.erase("resultType");
    keep_read(c, r.result, now);
    if (c.request.method == "tools/call" && !member(r.result, "content").is_array()) {
        if (r.result.contains("content"))
            return end_call(id, fail(errc::protocol_error, "the result's content is not a list"), now, out);
        r.result["content"] = json::array();  // allowed beside structuredContent by some servers; callers rely on the list
    }
    end_call(id, std::move(r.result), now, out);
}

void client_machine::impl::on_input_required(call_state& c, const json& result, steady_time now, actions& out) {
    const call_id id = c.request.id;
    const json& requests = member(result, "inputRequests");
    const json& state = member(result, "requestState");
    const auto broken = [&](std::string why) { end_call(id, fail(errc::protocol_error, std::move(why)), now, out); };
    if (requests.is_null() && state.is_null()) return broken("input_required with neither inputRequests nor requestState");
    if (!state.is_null() && !state.is_string()) return broken("requestState is not a string");
    if (!requests.is_null() && !requests.is_object()) return broken("inputRequests is not an object");
    if (requests.size() > max_input_requests) return broken("too many inputRequests at once");
    if (++c.rounds > options.limits.max_input_rounds)
        return broken("the server asked for input " + std::to_string(c.rounds) + " times");
    c.request_state.reset();
    if (state.is_string()) c.request_state = state.get<std::string>();
    c.inputs.clear();
    for (const auto& [key, r] : requests.items()) {
        const std::string method = string_or(r, "method");
        if (!known_input(method)) return broken("the server asked for unknown input '" + quote(method) + "'");
        asked a{method, key, {}, {}, member(r, "params"), now};
        if (method == "roots/list" && !c.request.accepts_input)
            a.response = json{{"roots", options.roots}};
        else if (!c.request.accepts_input && method == "elicitation/create")
            a.response = json{{"action", "decline"}};
        else if (!c.request.accepts_input)
            return broken("the server asked for '" + method + "', which was not offered");
        // A later round may reuse a name; callers see each question under a key of its own.
        c.inputs.emplace(c.rounds == 1 ? key : key + "@" + std::to_string(c.rounds), std::move(a));
    }
    auto open = std::count_if(c.inputs.begin(), c.inputs.end(), [](const auto& i) { return !i.second.response; });
    const bool asks = open > 0;
    for (auto& [key, a] : c.inputs) {
        if (a.response) continue;
        out.push_back(out::input{id, key, a.method, a.params.is_object() ? a.params : json::object(), --open > 0});
    }
    if (asks)
        c.paused_since = now;
    else
        send_call(c, now, out);
}

void client_machine::impl::answer(in::answer a, steady_time now, actions& out) {
    auto it = calls.find(a.id);
    if (it == calls.end()) return;  // ended meanwhile
    call_state& c = it->second;
    auto input = c.inputs.find(a.key);
    if (input == c.inputs.end() || input->second.response) return;  // answered already: the first one counted
    if (c.request.fills_defaults && input->second.method == "elicitation/create") a.response = with_defaults(input->second.params, std::move(a.response));
    const bool refused = !a.response.is_object() || a.response.contains("error");
    if (!input->second.server_id.is_null()) {
        const json server_id = input->second.server_id;
        if (!refused)
            out.push_back(out::send{encode_result(server_id, a.response), {}});
        else if (input->second.method == "elicitation/create")
            out.push_back(out::send{encode_result(server_id, {{"action", "cancel"}}), {}});
        else
            out.push_back(out::send{encode_error(server_id, {-1, string_or(member(a.response, "error"), "message", "refused by the user"), {}}), {}});
        server_requests.erase(id_text(server_id));
        c.inputs.erase(input);
        return question_gone(c, now, out);
    }
    if (refused && input->second.method != "elicitation/create")
        return end_call(a.id, fail(errc::cancelled, "the input the server asked for was refused"), now, out);
    input->second.response = refused ? json{{"action", "cancel"}} : std::move(a.response);
    for (const auto& [key, other] : c.inputs)
        if (!other.response) return;
    if (identity.detected == era::legacy) return urls_answered(c, now, out);
    resume(c, now, out);
    send_call(c, now, out);
}

/// Of a legacy server. The call goes on, unless it waits for more: its refusal may have asked for visits to URLs beside it.
void client_machine::impl::question_gone(call_state& c, steady_time now, actions& out) {
    if (c.inputs.empty()) return resume(c, now, out);
    if (std::all_of(c.inputs.begin(), c.inputs.end(), [](const auto& i) { return i.second.response.has_value(); })) urls_answered(c, now, out);
}

void client_machine::impl::resume(call_state& c, steady_time now, actions&) {
    if (!c.paused_since) return;
    c.waited += now - *c.paused_since;
    c.paused_since.reset();
    c.last_sign = now;
}

void client_machine::impl::start_probe(in::probe p, steady_time now, actions& out) {
    if (at != phase::ready) {
        out.push_back(out::probed{p.id, fail(errc::unavailable, "the server is not connected"), nanoseconds(0)});
        return;
    }
    std::string method = string_or(p.request, "method");
    if (method.empty()) method = identity.detected == era::modern ? "server/discover" : "ping";
    json params = member(p.request, "params");
    if (params.is_null() && identity.detected == era::modern) params = json::object();
    send(purpose::probe, p.id, method, std::move(params), json::object(), p.timeout, now, out);
}

void client_machine::impl::on_probe_answer(std::uint64_t id, const waiting& w, rpc_response& r, steady_time now, actions& out) {
    result<json> outcome = r.error ? json() : std::move(r.result);
    if (r.error && r.error->code != rpc_code::method_not_found)  // an answer to ping, even "unknown", is a sign of life
        outcome = tl::unexpected(peer_error(*r.error));
    else if (bool_or(*outcome, "isError", false))
        outcome = fail(errc::server_error, "the probe's tool reported an error");
    out.push_back(out::probed{id, std::move(outcome), now - w.sent});
}

}  // namespace holdfast::mcp
