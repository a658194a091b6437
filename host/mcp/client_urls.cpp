// The refusal of a legacy server that wants a person to visit a URL first (2025-11-25: error -32042), in the modern way:
// the caller is asked, and the call goes on when the server says that it is done there, or after a while without news.
#include "mcp/client_impl.hpp"

namespace holdfast::mcp {
namespace {

constexpr std::size_t max_urls = 8;  // of one refusal

}  // namespace

/// false: it is another error, or nobody is there to ask.
bool client_machine::impl::ask_for_urls(call_state& c, const rpc_error& e, actions& out, steady_time now) {
    if (identity.detected != era::legacy || e.code != rpc_code::url_elicitation_required || !c.request.accepts_input) return false;
    const json& wanted = member(e.data, "elicitations");
    if (!wanted.is_array() || wanted.empty() || wanted.size() > max_urls || c.rounds >= options.limits.max_input_rounds) return false;
    for (const json& w : wanted)
        if (string_or(w, "mode") != "url" || string_or(w, "url").empty() || string_or(w, "elicitationId").empty()) return false;
    ++c.rounds;
    std::size_t left = wanted.size();
    for (const json& w : wanted) {
        const std::string id = w["elicitationId"].get<std::string>(), key = "u" + std::to_string(next_key++);
        c.inputs.emplace(key, asked{"elicitation/create", id, {}, {}, {}, now});
        c.at_urls.insert(id);
        out.push_back(out::input{c.request.id, key, "elicitation/create", w, --left > 0});
    }
    c.paused_since = now;
    return true;
}

void client_machine::impl::urls_answered(call_state& c, steady_time now, actions& out) {
    for (const auto& [key, a] : c.inputs)
        if (string_or(*a.response, "action") != "accept")
            return end_call(c.request.id, fail(errc::cancelled, "the visit to a URL that the server asked for was refused"), now, out);
    c.inputs.clear();
    if (c.at_urls.empty()) return try_again(c, now, out);
    c.retry = now + options.limits.url_wait;
}

void client_machine::impl::on_url_complete(const std::string& elicitation, steady_time now, actions& out) {
    for (auto& [id, c] : calls)
        if (c.at_urls.erase(elicitation) > 0 && c.at_urls.empty() && c.retry) try_again(c, now, out);
}

void client_machine::impl::try_again(call_state& c, steady_time now, actions& out) {
    c.retry.reset();
    c.at_urls.clear();
    resume(c, now, out);
    send_call(c, now, out);
}

}  // namespace holdfast::mcp
