#include "ui-http/mcp_channel.hpp"

#include "holdfast/json.hpp"
#include "ui-http/json_check.hpp"
#include "ui-http/mcp_endpoint.hpp"

namespace holdfast::ui_http {
namespace {
constexpr int rpc_failed = -32000;
constexpr std::string_view endless = "subscriptions/listen";

/// What follows the line of the event's number; empty when it is only a number.
std::string_view message_of(std::string_view piece) {
    const auto line = piece.find('\n');
    return line == piece.npos ? std::string_view() : piece.substr(line + 1);
}

/// Of an id as JSON text: the same for every way to write it.
std::string id_key(std::string_view raw) {
    const auto text = sdk::json_unquote(raw);
    return text ? web::json_quote(*text) : std::string(raw);
}
}  // namespace

void mcp_channel::fail(const std::string& id, int code, std::string_view message) const {
    write_(R"({"jsonrpc":"2.0","id":)" + id + R"(,"error":{"code":)" + std::to_string(code) + R"(,"message":)" + web::json_quote(message) + "}}");
}

void mcp_channel::on_message(std::string_view text) {
    {
        const std::lock_guard lock(mutex_);
        if (gone_) return;
        if (initializing_ && held_.size() < max_channel_held) {
            held_.emplace_back(text);
            return;
        }
    }
    forward(text);
}

void mcp_channel::forward(std::string_view text) {
    const std::string problem = json_problem(text, mcp_max_depth);
    auto e = std::make_shared<exchange>();
    if (problem.empty()) {
        e->method = sdk::json_text(text, "method");
        if (!e->method.empty()) e->id = sdk::json_member(text, "id");
        if (e->id == "null") e->id.clear();
        e->key = id_key(e->id);
    }
    std::string params = R"({"via":"stdio")";
    std::uint64_t cancelled = 0;
    bool full = false;
    {
        const std::lock_guard lock(mutex_);
        if (gone_) return;
        if (e->method == "notifications/cancelled") {
            const std::string which = id_key(sdk::json_member(sdk::json_member(text, "params"), "requestId"));
            for (const auto& [raw, other] : under_way_)
                if (!other->id.empty() && other->key == which && other->method != "initialize") {
                    other->cancelled = true;
                    cancelled = other->call;
                }
        }
        if (e->method == "notifications/cancelled" && session_.empty()) {  // a request of the newest era is ended by ending its call
            if (cancelled == 0) return;
        } else if (!e->id.empty() && under_way_.size() >= max_channel_calls) {
            full = true;
        } else {
            cancelled = 0;
            if (e->method == "initialize" && session_.empty()) initializing_ = true;
            if (!session_.empty()) params += R"(,"session":)" + web::json_quote(session_);
            under_way_.emplace(e.get(), e);
        }
    }
    if (cancelled) return api_->cancel(cancelled);
    if (full) return fail(e->id, rpc_failed, "too many requests are under way on this connection");
    if (problem.empty()) params.append(R"(,"message":)").append(text);
    else params += R"(,"parse_error":)" + web::json_quote(problem);
    const auto self = shared_from_this();
    const auto call = api_->call("mcp.post", params + "}", who_, [self, e](api_result r) { self->on_done(e, r); }, [self, e](std::string_view piece) { self->on_piece(e, piece); });
    bool too_late = false;
    {
        const std::lock_guard lock(mutex_);
        e->call = call;
        too_late = gone_;
    }
    if (too_late && call) api_->cancel(call);
}

void mcp_channel::on_piece(const exchange_ptr& e, std::string_view piece) {
    if (!std::exchange(e->head_seen, true)) {
        if (const std::string session = sdk::json_text(piece, "session"); !session.empty()) begin_session(session);
        return;
    }
    const std::string_view text = message_of(piece);
    if (text.empty() || e->cancelled) return;
    if (!e->id.empty() && sdk::json_member(text, "method").empty() && id_key(sdk::json_member(text, "id")) == e->key) e->answered = true;
    write_(text);
}

void mcp_channel::begin_session(const std::string& session) {
    {
        const std::lock_guard lock(mutex_);
        if (gone_ || !session_.empty()) return;
        session_ = session;
    }
    const auto self = shared_from_this();
    const auto head_seen = std::make_shared<bool>(false);
    const auto call = api_->call("mcp.listen", R"({"session":)" + web::json_quote(session) + "}", who_, [](api_result) {}, [self, head_seen](std::string_view piece) {
        if (!std::exchange(*head_seen, true)) return;
        if (const auto text = message_of(piece); !text.empty()) self->write_(text);
    });
    bool too_late = false;
    {
        const std::lock_guard lock(mutex_);
        listening_ = call;
        too_late = gone_;
    }
    if (too_late && call) api_->cancel(call);
}

void mcp_channel::on_done(const exchange_ptr& e, const api_result& r) {
    std::deque<std::string> held;
    {
        const std::lock_guard lock(mutex_);
        under_way_.erase(e.get());
        if (e->method == "initialize") {
            initializing_ = false;
            held.swap(held_);
        }
        if (gone_) return;
    }
    const bool cancelled = e->cancelled || (!r.ok && r.error.code == "cancelled");
    if (!e->id.empty() && !e->answered && !cancelled) fail(e->id, rpc_failed, r.ok ? "the gateway gave no answer" : r.error.message);
    for (const auto& text : held) on_message(text);
}

void mcp_channel::on_gone() {
    std::vector<std::uint64_t> calls;
    std::string session;
    {
        const std::lock_guard lock(mutex_);
        if (std::exchange(gone_, true)) return;
        // A legacy request goes on without its client until its session ends, which is now.
        for (const auto& [raw, e] : under_way_) calls.push_back(e->call);
        calls.push_back(listening_);
        session.swap(session_);
        held_.clear();
    }
    for (const auto call : calls)
        if (call) api_->cancel(call);
    if (!session.empty()) api_->call("mcp.close", R"({"session":)" + web::json_quote(session) + "}", who_, [](api_result) {});
}

bool mcp_channel::busy() const {
    const std::lock_guard lock(mutex_);
    return std::any_of(under_way_.begin(), under_way_.end(), [](const auto& u) { return !u.second->id.empty() && u.second->method != endless; });
}

}  // namespace holdfast::ui_http
