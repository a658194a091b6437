// What a decision asks for once its events are durable: the model, the tools.
#include <algorithm>

#include "sessions/chat_request.hpp"
#include "sessions/session_actor.hpp"

namespace holdfast::sessions {

using self_ref = supervise::ref<session_actor>;

void session_actor::perform(session_effect& e) {
    if (auto* m = std::get_if<effect::call_model>(&e)) return call_model(m->message_id);
    if (auto* t = std::get_if<effect::run_tool>(&e)) return run_tool(*t);
    if (auto* w = std::get_if<effect::await_tool>(&e)) return await_tool(*w);
    if (std::holds_alternative<effect::cancel_model>(e)) return;  // committed() has cancelled what is no longer awaited
    if (auto* s = std::get_if<effect::sample>(&e)) return sample(*s);
    if (auto* s = std::get_if<effect::cancel_sample>(&e)) return stop_samplings(s->call_id, &s->key);
    if (auto* c = std::get_if<effect::cancel_tool>(&e)) {
        stop_samplings(c->call_id);
        if (const auto it = runs_.find(c->call_id); it != runs_.end()) {
            services_.tools->cancel(it->second.call);
            runs_.erase(it);
        }
        return;
    }
    if (auto* a = std::get_if<effect::answer_tool>(&e))
        if (const auto it = runs_.find(a->call_id); it != runs_.end()) services_.tools->answer_input(it->second.call, a->key, std::move(a->response));
}

void session_actor::call_model(const std::string& message_id) {
    stream_ = std::make_unique<stream>();
    stream_->message_id = message_id;
    stream_->began = stream_->heard = rt().now();
    stream_->buffer = std::make_shared<stream_buffer>();
    ask_model();
}

/// Once the servers have come up or failed: asked earlier, the model would not know of their tools and nobody would be told.
void session_actor::ask_model() {
    const std::string message_id = stream_->message_id;
    if (services_.tools) {
        if (json waiting = services_.tools->first_attempts(state_.config.servers, options_.server_wait); !waiting.empty()) {
            if (!std::exchange(stream_->waited, true))
                publish_now("SessionStateChanged", {{"old_state", to_string(state_.now())}, {"new_state", to_string(state_.now())},
                                                    {"context", {{"waiting_for_servers", std::move(waiting)}}}});
            await_model_ = tell_after(tool_look, [this, message_id] {
                if (stream_ && stream_->message_id == message_id && !stream_->call) ask_model();
            });
            return;
        }
    }
    stream_->began = stream_->heard = rt().now();
    const auto tools = services_.tools ? services_.tools->tools() : nullptr;
    chat_request request = make_chat_request(state_, tools.get(), options_);
    offered_ = std::move(request.offered);
    if (!services_.llm) return model_ended(message_id, fail(errc::unavailable, "no model is configured"));
    llm_events on;
    on.chosen = [self = self_ref::share(this), message_id](const std::string& adapter, const std::string&) {
        (void)self.tell_always([adapter, message_id](session_actor& a) {
            if (a.stream_ && a.stream_->message_id == message_id) a.stream_->adapter = adapter;
        });
    };
    on.chunk = [self = self_ref::share(this), buffer = stream_->buffer, message_id](const json& chunk) { self->hear(chunk, buffer, message_id); };
    on.done = [self = self_ref::share(this), message_id](result<json> r) {
        (void)self.tell_always([message_id, r = std::move(r)](session_actor& a) mutable { a.model_ended(message_id, std::move(r)); });
    };
    const std::uint64_t call = services_.llm->chat(state_.config.llm, std::move(request.body), std::move(on));
    if (stream_ && stream_->message_id == message_id) stream_->call = call;
    watch_stream();
}

/// [the adapter's thread] Chunks that come faster than they are published become one event.
void session_actor::hear(const json& chunk, const std::shared_ptr<stream_buffer>& buffer, const std::string& message_id) {
    const bool text = string_or(chunk, "type") == "text";
    {
        std::lock_guard lock(buffer->mutex);
        if (text) buffer->text += string_or(chunk, "text");
        if (std::exchange(buffer->announced, true)) return;
    }
    (void)self_ref::share(this).tell_always([message_id](session_actor& a) {
        if (!a.stream_ || a.stream_->message_id != message_id) return;
        a.stream_->heard = a.rt().now();
        if (a.commit_) {  // the numbers of the commit under way come first
            std::lock_guard lock(a.stream_->buffer->mutex);
            a.stream_->buffer->announced = false;
            return;
        }
        if (const auto since = a.rt().now() - a.stream_->published; since < chunk_interval) {
            // `announced` stays set: what is said meanwhile joins this text.
            if (!a.flush_.pending()) a.flush_ = a.tell_after(chunk_interval - since, [&a] { a.drain(); });
            return;
        }
        a.drain();
    });
}

void session_actor::drain() {
    if (!stream_ || commit_ || stream_->message_id != state_.streaming) return;
    std::string text;
    {
        std::lock_guard lock(stream_->buffer->mutex);
        text.swap(stream_->buffer->text);
        stream_->buffer->announced = false;
    }
    if (text.empty()) return;
    stream_->published = rt().now();
    publish_now("StreamChunkReceived", {{"message_id", stream_->message_id}, {"chunk", text}, {"index", stream_->index++}});
    stream_->text += text;
    if (!partial_.pending() && !stream_->saving)
        partial_ = tell_after(options_.partial_interval, [this] { save_partial(); });
}

/// Token deltas are not acknowledged; after a crash at most one interval of them is missing.
void session_actor::save_partial() {
    if (!stream_ || stream_->saved == stream_->text.size() || stream_->saving) return;
    stream_->saving = true;
    ask_store("put", {{"table", "partials"}, {"key", id_}, {"value", {{"message_id", stream_->message_id}, {"text", stream_->text}}}},
              [id = stream_->message_id, size = stream_->text.size()](session_actor& a, result<json>) {
                  if (!a.stream_ || a.stream_->message_id != id) return;
                  a.stream_->saving = false;
                  a.stream_->saved = size;
                  if (a.stream_->text.size() > size) a.partial_ = a.tell_after(a.options_.partial_interval, [&a] { a.save_partial(); });
              });
}

void session_actor::model_ended(const std::string& message_id, result<json> r) {
    const auto taken = stream_ ? std::chrono::duration_cast<milliseconds>(rt().now() - stream_->began).count() : 0;
    if (r) submit(input::model_done{message_id, std::move(*r), taken}, {}, true);
    else submit(input::model_failed{message_id, std::move(r.error()), {}}, {}, true);
}

/// No stream stalls silently.
void session_actor::watch_stream() {
    if (!stream_) return;
    const auto left = std::chrono::nanoseconds(options_.stream_idle) - (rt().now() - stream_->heard);
    idle_ = tell_after(std::max(left, std::chrono::nanoseconds(0)), [this] {
        if (!stream_) return;
        if (rt().now() - stream_->heard < options_.stream_idle) return watch_stream();
        const std::string id = stream_->message_id;
        services_.llm->cancel(stream_->call);
        model_ended(id, fail(errc::timeout, "the model said nothing for " + std::to_string(options_.stream_idle.count() / 1000) + " seconds"));
    });
}

void session_actor::run_tool(const effect::run_tool& e) {
    runs_[e.call_id].began = rt().now();
    const auto ended = [self = self_ref::share(this), id = e.call_id](result<json> r, bool sent) {
        (void)self.tell_always([id, r = std::move(r), sent](session_actor& a) mutable {
            const auto it = a.runs_.find(id);
            if (it == a.runs_.end()) return;
            const auto taken = std::chrono::duration_cast<milliseconds>(a.rt().now() - it->second.began).count();
            a.runs_.erase(it);
            a.stop_samplings(id);
            a.submit(input::tool_done{id, std::move(r), sent, taken}, {}, true);
        });
    };
    if (!services_.tools) return ended(fail(errc::unavailable, "no servers are configured"), false);
    servers::tool_call_events on;
    on.input = [self = self_ref::share(this), id = e.call_id](servers::input_request q) {
        (void)self.tell_always([id, q = std::move(q)](session_actor& a) mutable { a.submit(input::tool_asks{id, std::move(q)}, {}, true); });
    };
    on.withdrawn = [self = self_ref::share(this), id = e.call_id](std::string key) {
        (void)self.tell_always([id, key = std::move(key)](session_actor& a) mutable { a.submit(input::tool_withdraws{id, std::move(key)}, {}, true); });
    };
    on.done = ended;
    const std::uint64_t call = services_.tools->call({e.server, e.tool, e.arguments, id_, options_.tool_timeout}, std::move(on));
    if (const auto it = runs_.find(e.call_id); it != runs_.end()) it->second.call = call;
}

void session_actor::await_tool(const effect::await_tool& e) {
    awaited_.try_emplace(e.call_id, awaited{e.server, rt().now() + tool_wait});  // an earlier deadline stays
    if (!await_.pending()) await_ = tell_after(tool_look, [this] { look_for_tools(); });
}

void session_actor::look_for_tools() {
    const auto known = services_.tools ? services_.tools->tools() : nullptr;
    std::vector<input::tool_ready> due;
    for (auto it = awaited_.begin(); it != awaited_.end();) {
        const tool_use* c = state_.find_call(it->first);
        const bool over = !c || c->status != call_status::approved;
        const bool last = rt().now() >= it->second.deadline;
        const auto of_it = [&](const servers::tool_info& t) { return t.server == it->second.server; };
        if (!over && (last || (known && std::any_of(known->tools.begin(), known->tools.end(), of_it)))) due.push_back({it->first, last});
        it = over ? awaited_.erase(it) : std::next(it);
    }
    // One at a time and never onto a queue: what is not decided now is looked at again.
    for (input::tool_ready& in : due)
        if (!commit_ && queue_.empty() && !blocked_) submit(std::move(in), {}, true);
    if (!awaited_.empty()) await_ = tell_after(tool_look, [this] { look_for_tools(); });
}

/// With the session's model. Where that is left to the host, what the server would like has a say.
void session_actor::sample(const effect::sample& e) {
    if (runs_.count(e.call_id) == 0) return;  // the tool has ended meanwhile
    const std::uint64_t number = next_sampling_++;
    sampling_run& s = samplings_[number];
    s.call_id = e.call_id;
    s.key = e.key;
    s.request = e.request;
    s.began = rt().now();
    s.heard = std::make_shared<std::atomic<bool>>(false);
    llm_events on;
    on.chunk = [heard = s.heard](const json&) { heard->store(true, std::memory_order_relaxed); };
    on.done = [self = self_ref::share(this), number](result<json> r) {
        (void)self.tell_always([number, r = std::move(r)](session_actor& a) mutable { a.sampled(number, std::move(r)); });
    };
    if (!services_.llm) return on.done(fail(errc::unavailable, "no model is configured"));
    const std::string& own = state_.config.llm;
    const bool open = own.empty() || own == "auto";
    s.call = services_.llm->chat(own, e.request->body, std::move(on), open ? e.request->hints : std::vector<std::string>{});
    watch_sampling(number);
}

/// A model that says nothing for one to two times stream_idle has failed.
void session_actor::watch_sampling(std::uint64_t number) {
    samplings_.at(number).look = tell_after(options_.stream_idle, [this, number] {
        const auto it = samplings_.find(number);
        if (it == samplings_.end()) return;
        if (it->second.heard->exchange(false, std::memory_order_relaxed)) return watch_sampling(number);
        services_.llm->cancel(it->second.call);
        sampled(number, fail(errc::timeout, "it said nothing for " + std::to_string(options_.stream_idle.count() / 1000) + " seconds"));
    });
}

void session_actor::sampled(std::uint64_t number, result<json> r) {
    const auto it = samplings_.find(number);
    if (it == samplings_.end()) return;  // stopped meanwhile
    const sampling_run s = std::move(it->second);
    samplings_.erase(it);
    const auto taken = std::chrono::duration_cast<milliseconds>(rt().now() - s.began).count();
    submit(input::sampled{s.call_id, s.key, s.request, std::move(r), taken}, {}, true);
}

void session_actor::stop_samplings(const std::string& call_id, const std::string* key) {
    for (auto it = samplings_.begin(); it != samplings_.end();) {
        if (it->second.call_id != call_id || (key && it->second.key != *key)) {
            ++it;
            continue;
        }
        if (services_.llm) services_.llm->cancel(it->second.call);  // nothing happens when it has ended
        it = samplings_.erase(it);
    }
}

void session_actor::stop_everything() noexcept {
    try {
        for (const auto& [number, s] : std::exchange(samplings_, {}))
            if (services_.llm) services_.llm->cancel(s.call);
        if (stream_ && stream_->call && services_.llm) services_.llm->cancel(stream_->call);
        for (const auto& [id, run] : std::exchange(runs_, {}))
            if (run.call && services_.tools) services_.tools->cancel(run.call);
    } catch (...) {  // a port that throws while we leave changes nothing for us
    }
    stream_.reset();
}

}  // namespace holdfast::sessions
