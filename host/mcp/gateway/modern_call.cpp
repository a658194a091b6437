#include "mcp/gateway/modern_call.hpp"

#include "mcp/gateway/text.hpp"

namespace holdfast::mcp::gateway {
namespace {
const dialect modern_words{};
/// Nothing else may be answered with a question.
bool may_ask(std::string_view method) { return method == "tools/call" || method == "prompts/get" || method == "resources/read"; }
constexpr std::size_t max_questions = 64;  // of one call that wait for answers
}  // namespace

void modern_call::attach(stream_id on, request r, steady_time now) {
    on_ = on;
    request_ = std::move(r);
    streaming_ = false;
    since_ = now;
    state_ = state::running;
    expires_.reset();
}

void modern_call::begin(stream_id on, request r, upstream_request what, steady_time now, actions& out) {
    server_ = what.server;
    method_ = what.method;
    const std::string level = r.log_level;
    const bool progress = !r.token.is_null(), input = !capabilities_.empty() && may_ask(method_);
    attach(on, std::move(r), now);
    out.push_back(act::call{the_call, std::move(what), progress, input, capabilities_, level});
}

void modern_call::resume(stream_id on, request r, std::uint32_t round, steady_time now, actions& out) {
    if (state_ != state::asking || round != round_) {
        const rpc_error e{rpc_code::invalid_params, "requestState has been used already; start the request again without it", {}};
        out.push_back(act::head{on, 200, false});
        out.push_back(act::emit{on, {}, error_message(r.id, e)});
        out.push_back(act::end{on});
        return;
    }
    attach(on, std::move(r), now);
    if (early_) return deliver(*std::exchange(early_, std::nullopt), out);
    for (auto it = questions_.begin(); it != questions_.end();) {
        const json& given = member(request_.responses, it->first);
        if (!given.is_object()) {
            ++it;
            continue;
        }
        out.push_back(act::answer{the_call, it->first, given});
        it = questions_.erase(it);
    }
    if (!questions_.empty()) ask(now, out);  // something is missing: asked again
}

void modern_call::gone(stream_id on, actions& out) {
    if (state_ != state::running || on != on_) return;
    state_ = state::over;
    out.push_back(act::cancel{the_call});
    out.push_back(act::over{});
}

void modern_call::open_stream(actions& out) {
    if (std::exchange(streaming_, true)) return;
    out.push_back(act::head{on_, 200, true});
}

void modern_call::on(up::progress e, steady_time, actions& out) {
    if (state_ != state::running || request_.token.is_null()) return;
    open_stream(out);
    out.push_back(act::emit{on_, {}, progress_message(request_.token, e.value)});
}

void modern_call::on(up::log e, steady_time, actions& out) {
    // Never for a request that did not ask for it.
    if (state_ != state::running || request_.log_level.empty()) return;
    if (log_severity(string_or(e.params, "level")) < log_severity(request_.log_level)) return;
    open_stream(out);
    out.push_back(act::emit{on_, {}, notification_message("notifications/message", e.params)});
}

void modern_call::on(up::input e, steady_time now, actions& out) {
    if (state_ != state::running && state_ != state::asking) return;
    const json& given = member(request_.responses, e.key);
    if (!can_ask(capabilities_, e.method, e.params) || questions_.size() >= max_questions)
        out.push_back(act::answer{the_call, e.key, unasked(e.method)});
    else if (state_ == state::running && round_ == 0 && given.is_object())  // a client that knows the question sent the answer along
        out.push_back(act::answer{the_call, e.key, given});
    else
        questions_[e.key] = {e.method, std::move(e.params)};
    if (!e.more && state_ == state::running && !questions_.empty()) ask(now, out);
}

/// Ends this round: the client is told what is wanted, and comes back with it.
void modern_call::ask(steady_time now, actions& out) {
    json wanted = json::object();
    for (const auto& [key, q] : questions_) wanted[key] = {{"method", q.method}, {"params", q.params}};
    expires_ = now + limits_.input_wait;
    ++round_;
    json result{{"resultType", "input_required"}, {"inputRequests", std::move(wanted)}, {"requestState", seal_(round_, *expires_)},
                {"_meta", {{meta::server_info, server_info()}}}};
    const std::string text = result_message(request_.id, dump(result));
    if (!streaming_) out.push_back(act::head{on_, 200, false});
    out.push_back(act::emit{on_, {}, text});
    out.push_back(act::end{on_});
    on_ = 0;
    state_ = state::asking;
}

void modern_call::on(up::done e, steady_time, actions& out) {
    if (state_ == state::running) return deliver(e, out);
    if (state_ == state::asking) early_ = std::move(e);  // told when the client is back; the server's patience may have ended
}

void modern_call::deliver(const up::done& e, actions& out) {
    if (e.outcome) return finish(result_message(request_.id, present(modern_words, method_, *e.outcome)), 200, out);
    const rpc_error why = present_failure(modern_words, server_, e.outcome.error(), e.answered);
    // Only the capability is the client's own affair; what else a server refuses is content, not transport.
    finish(error_message(request_.id, why), why.code == rpc_code::missing_capability ? 400 : 200, out);
}

void modern_call::finish(const std::string& text, int status, actions& out) {
    if (!streaming_) out.push_back(act::head{on_, status, false});
    out.push_back(act::emit{on_, {}, text});
    out.push_back(act::end{on_});
    out.push_back(act::over{});
    state_ = state::over;
}

void modern_call::tick(steady_time now, actions& out) {
    if (state_ == state::running && now - since_ >= limits_.stream_after) return open_stream(out);
    if (state_ != state::asking || !expires_ || now <= *expires_) return;
    state_ = state::over;
    if (!early_) out.push_back(act::cancel{the_call});
    out.push_back(act::over{});
}

}  // namespace holdfast::mcp::gateway
