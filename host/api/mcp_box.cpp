#include "api/mcp_box.hpp"

#include "api/mcp_gateway.hpp"

namespace holdfast::api {
namespace {

namespace act = mcp::gateway::act;
namespace up = mcp::gateway::up;

std::string head_text(const act::head& h) {
    json out{{"status", h.status}, {"stream", h.stream}};
    if (!h.session.empty()) out["session"] = h.session;
    return dump(out);
}

}  // namespace

void mcp_box_base::run(task t, unique_function<void()> if_over) {
    {
        std::lock_guard lock(mutex_);
        queue_.push_back({std::move(t), std::move(if_over)});
        if (running_) return;
        running_ = true;
    }
    const auto keep = shared_from_this();  // the last task may be what drops this
    for (;;) {
        event next;
        {
            std::lock_guard lock(mutex_);
            if (queue_.empty()) {
                running_ = false;
                return;
            }
            next = std::move(queue_.front());
            queue_.pop_front();
        }
        if (over_) {
            if (next.if_over) next.if_over();
            continue;
        }
        actions_.clear();
        try {
            next.what(actions_);
            for (auto& a : actions_) perform(a);
        } catch (const std::exception& e) {
            if (auto g = gateway_.lock()) g->say(servers::log_level::error, std::string("a request failed inside the gateway: ") + e.what());
            over_ = true;
            for (auto& [on, s] : std::exchange(streams_, {})) s.done(fail(errc::internal, "the request failed inside the gateway"));
            for (const auto& [ref, id] : calls_) servers_->cancel(id);
            if (auto g = gateway_.lock()) g->over(owner);
        }
    }
}

void mcp_box_base::drop_stream(mcp::gateway::stream_id on) {
    const auto it = streams_.find(on);
    if (it == streams_.end()) return;
    auto done = std::move(it->second.done);
    streams_.erase(it);
    done(json::object());
}

void mcp_box_base::perform(mcp::gateway::action& a) {
    if (auto* e = std::get_if<act::emit>(&a)) {
        if (const auto it = streams_.find(e->on); it != streams_.end()) it->second.chunk(e->event + "\n" + e->text);
    } else if (auto* h = std::get_if<act::head>(&a)) {
        if (const auto it = streams_.find(h->on); it != streams_.end()) it->second.chunk(head_text(*h));
    } else if (auto* end = std::get_if<act::end>(&a)) {
        drop_stream(end->on);
    } else if (auto* c = std::get_if<act::call>(&a)) {
        call(std::move(*c));
    } else if (auto* x = std::get_if<act::cancel>(&a)) {
        if (const auto it = calls_.find(x->id); it != calls_.end()) servers_->cancel(it->second);
    } else if (auto* i = std::get_if<act::answer>(&a)) {
        if (const auto it = calls_.find(i->id); it != calls_.end()) servers_->answer_input(it->second, i->key, std::move(i->response));
    } else if (auto* w = std::get_if<act::watch>(&a)) {
        if (auto g = gateway_.lock()) g->watch(owner.number, std::move(w->uris));
    } else {
        over_ = true;
        for (auto& [on, s] : std::exchange(streams_, {})) s.done(json::object());
        if (auto g = gateway_.lock()) g->over(owner);
    }
}

void mcp_box_base::call(act::call a) {
    servers::server_request r;
    r.server = std::move(a.request.server);
    r.method = std::move(a.request.method);
    r.params = std::move(a.request.params);
    r.session = owner.session;
    r.timeout = call_timeout_;
    r.input_wait = input_wait_;
    r.capabilities = std::move(a.capabilities);
    r.log_level = a.log_level;
    servers::tool_call_events events;
    const auto self = shared_from_this();
    const auto ref = a.id;
    if (a.progress) events.progress = [self, ref](json v) { self->bring(up::progress{ref, std::move(v)}); };
    if (!a.log_level.empty()) events.log = [self, ref](json m) { self->bring(up::log{ref, std::move(m)}); };
    if (a.input) events.input = [self, ref](servers::input_request i) { self->bring(up::input{ref, std::move(i.key), std::move(i.method), std::move(i.params), i.more}); };
    auto answered = std::make_shared<std::optional<mcp::rpc_error>>();  // second owner: the callback below
    events.refused = [answered](int code, const std::string& message, const json& data) { *answered = mcp::rpc_error{code, message, data}; };
    events.done = [self, ref, answered](result<json> outcome, bool) {
        self->run([self, e = up::done{ref, std::move(outcome), std::move(*answered)}](mcp::gateway::actions& out) mutable {
            self->calls_.erase(e.id);
            self->upstream(std::move(e), out);
        });
    };
    // `done` may come before this returns; it waits in the queue until the id is known.
    calls_[ref] = servers_->request(std::move(r), std::move(events));
}

}  // namespace holdfast::api
