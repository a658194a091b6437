// hf.events/1 and hf.api/1.
#include "kernel/plugins/detail/services.hpp"

namespace holdfast::plugins::detail {
namespace {

json notice_json(const events::notice& n, std::uint64_t last_seq) {
    json out{{"topic", n.topic}, {"epoch", n.epoch}};
    switch (n.what) {
        case events::notice::kind::gap:
            out["type"] = "gap";
            out["from"] = n.from;
            out["to"] = n.to;
            break;
        case events::notice::kind::epoch_changed:
            out["type"] = "epoch";
            out["seq"] = n.from;
            break;
        case events::notice::kind::closed:
            out["type"] = "closed";
            out["reason"] = n.why == events::notice::reason::overrun ? "overrun" : "topic_closed";
            out["seq"] = n.from != 0 ? n.from : last_seq;
            break;
    }
    return out;
}

}  // namespace

result<void> services::publish(std::string_view text) {
    if (context_->bus == nullptr) return fail(errc::unavailable, "this host has no event bus");
    if (refusing()) return fail(errc::stale, "the instance is being stopped");
    if (text.size() > max_plugin_event_bytes) return fail(errc::invalid_argument, "an event of more than 1 MiB");
    auto event = parse_json(text);
    if (!event) return tl::unexpected<error>(event.error());
    const auto type = string_or(*event, "type");
    if (type.empty() || type.size() > 128) return fail(errc::invalid_argument, "an event needs a \"type\" of at most 128 bytes");
    event->erase("type");
    if (context_->bus->publish("plugin:" + id_, type, std::move(*event)) == 0) return fail(errc::unavailable, "the event bus refused the event");
    return {};
}

result<void> services::subscribe(std::string_view text, const hf_event_sink& from_plugin, std::uint64_t& subscription, std::uint64_t& seq) {
    if (context_->bus == nullptr) return fail(errc::unavailable, "this host has no event bus");
    auto options = parse_json(text);
    if (!options) return tl::unexpected<error>(options.error());
    const auto topic = string_or(*options, "topic");
    if (topic.empty()) return fail(errc::invalid_argument, "a subscription needs a \"topic\"");
    events::subscribe_options o;
    if (options->contains("from")) {
        const json& from = (*options)["from"];
        if (!from.is_number_unsigned()) return fail(errc::invalid_argument, "\"from\" must be a sequence number");
        o.from = from.get<std::uint64_t>();
    }
    if (options->contains("epoch")) {
        const json& epoch = (*options)["epoch"];
        if (!epoch.is_number_unsigned()) return fail(errc::invalid_argument, "\"epoch\" must be a whole number");
        o.epoch = epoch.get<std::uint64_t>();
    }
    for (const auto& t : member(*options, "types")) {
        if (!t.is_string()) return fail(errc::invalid_argument, "\"types\" must be an array of strings");
        o.types.push_back(t.get<std::string>());
    }
    const auto policy = string_or(*options, "policy", "disconnect");
    if (policy == "drop_oldest") o.policy = events::overflow::drop_oldest;
    else if (policy != "disconnect") return fail(errc::invalid_argument, "\"policy\" is \"disconnect\" or \"drop_oldest\"");
    hf_event_sink sink{};
    std::memcpy(&sink, &from_plugin, std::min<std::size_t>(from_plugin.size, sizeof sink));
    if (sink.on_event == nullptr) return fail(errc::invalid_argument, "a subscription needs on_event");
    std::uint64_t id = 0;
    {
        std::lock_guard lock(mutex_);
        if (refusing()) return fail(errc::stale, "the instance is being stopped");
        if (subscriptions_.size() + subscribing_ >= max_subscriptions) return fail(errc::overloaded, "more than " + std::to_string(max_subscriptions) + " subscriptions");
        ++subscribing_;  // revoke() waits for it
        subscription = id = next_handle_++;
    }
    auto self = shared_from_this();
    auto sub = context_->bus->subscribe_push(
        topic, std::move(o), [rt = context_->rt](unique_function<void()> f) { rt->post(std::move(f)); },
        [self, sink, last = std::uint64_t{0}](const events::item& i) mutable {
            self->call_plugin("on_event", [&] {
                if (i.ev) {
                    last = i.ev->seq();
                    sink.on_event(sink.ctx, as_bytes(i.ev->text()));
                } else if (i.note) {
                    const std::string text = dump(notice_json(*i.note, last));
                    sink.on_event(sink.ctx, as_bytes(text));
                }
            });
        });
    seq = sub.attached_at().seq;
    std::lock_guard lock(mutex_);
    --subscribing_;
    subscriptions_.emplace(id, std::move(sub));
    changed_.notify_all();
    return {};
}

void services::unsubscribe(std::uint64_t id) {
    events::push_subscription gone;  // ends outside the lock: it waits for a handler that runs
    std::lock_guard lock(mutex_);
    auto found = subscriptions_.find(id);
    if (found == subscriptions_.end()) return;
    gone = std::move(found->second);
    subscriptions_.erase(found);
}

// ---- api

struct services::api_call {
    hf_call call{};
    supervise::timer_handle deadline;  // under services::mutex_
    std::mutex mutex;                  // guards what follows
    bool over = false;                 // the completion is decided
    bool in_chunk = false;             // a piece is with the plugin: the completion waits for it
    std::optional<result<json>> waiting;
    std::function<void()> cancel;      // of a call that streams; until it is over
    bool answered = false;             // the method has ended: there is nothing to cancel
};

result<void> services::api_submit(const hf_call& from_plugin) {
    if (!context_->api.submit) return fail(errc::unavailable, "this host offers no API to plugins");
    auto c = std::make_shared<api_call>();
    std::memcpy(&c->call, &from_plugin, std::min<std::size_t>(from_plugin.size, sizeof c->call));
    if (c->call.on_done == nullptr) return fail(errc::invalid_argument, "a call needs on_done");
    const std::string method(view(c->call.method));
    c->call.method = {};  // borrowed: gone when this returns
    auto request = view(c->call.request).empty() ? result<json>(json::object()) : parse_json(view(c->call.request));
    c->call.request = {};
    if (!request) return tl::unexpected<error>(request.error());
    json params = request->contains("params") ? std::move((*request)["params"]) : json::object();
    json identity = request->contains("identity") ? std::move((*request)["identity"]) : json();
    {
        std::lock_guard lock(mutex_);
        if (refusing()) return fail(errc::stale, "the instance is being stopped");
        if (api_calls_.size() >= max_api_calls) return fail(errc::overloaded, "more than " + std::to_string(max_api_calls) + " calls under way");
        if (!api_calls_.emplace(c->call.id, c).second) return fail(errc::already_exists, "call id " + std::to_string(c->call.id) + " is under way already");
        if (c->call.deadline_ns != 0) {
            const auto left = nanoseconds(c->call.deadline_ns) - std::chrono::steady_clock::now().time_since_epoch();
            c->deadline = context_->rt->after(std::max<nanoseconds>(left, nanoseconds(0)), [weak = weak_from_this(), weak_call = std::weak_ptr(c)] {
                auto self = weak.lock();
                auto late = weak_call.lock();
                if (self && late) self->api_complete(late, fail(errc::timeout, "the host's API did not answer in time"));
            });
        }
    }
    auto reply = [self = shared_from_this(), c](result<json> r) {
        std::function<void()> unneeded;
        {
            std::lock_guard lock(c->mutex);
            unneeded.swap(c->cancel);
            c->answered = true;
        }
        self->api_complete(c, std::move(r));
    };
    if (c->call.on_chunk == nullptr || !context_->api.stream) {
        context_->api.submit(id_, method, std::move(params), std::move(identity), std::move(reply));
        return {};
    }
    auto cancel = context_->api.stream(id_, method, std::move(params), std::move(identity),
                                       [self = shared_from_this(), c](std::string_view piece) { self->api_chunk(c, piece); }, std::move(reply));
    if (!cancel) return {};
    {
        std::lock_guard lock(c->mutex);
        if (c->answered) return {};
        if (!c->over) {
            c->cancel = std::move(cancel);
            return {};
        }
    }
    cancel();  // it was cancelled before this was known
    return {};
}

void services::api_chunk(const std::shared_ptr<api_call>& c, std::string_view piece) {
    {
        std::lock_guard lock(c->mutex);
        if (c->over || c->in_chunk) return;
        c->in_chunk = true;
    }
    call_plugin("on_chunk", [&] {
        c->call.on_chunk(c->call.ctx, c->call.id, as_bytes(piece));
        std::optional<result<json>> last;
        {
            std::lock_guard lock(c->mutex);
            c->in_chunk = false;
            last.swap(c->waiting);
        }
        if (last) api_finish(*c, *last);
    });
}

void services::api_complete(const std::shared_ptr<api_call>& c, result<json> r) {
    std::function<void()> cancel;
    bool now = false;
    {
        std::lock_guard lock(c->mutex);
        if (c->over) return;
        c->over = true;
        cancel = std::move(c->cancel);
        now = !c->in_chunk;
        if (!now) c->waiting = r;
    }
    supervise::timer_handle deadline;
    {
        std::lock_guard lock(mutex_);
        auto found = api_calls_.find(c->call.id);
        if (found != api_calls_.end() && found->second == c) api_calls_.erase(found);
        deadline = std::move(c->deadline);
    }
    if (cancel) cancel();
    if (now) call_plugin("on_done", [&] { api_finish(*c, r); });
}

void services::api_finish(api_call& c, const result<json>& r) {
    const std::string text = r ? dump(*r) : dump(r.error().to_json());
    const hf_error err = r ? hf_error{} : make_hf_error(r.error());
    c.call.on_done(c.call.ctx, c.call.id, r ? nullptr : &err, as_bytes(text));
}

void services::api_cancel(std::uint64_t id) {
    std::lock_guard lock(mutex_);
    auto found = api_calls_.find(id);
    if (found == api_calls_.end()) return;
    // Not inside the plugin's own call: it may hold a lock that on_done takes.
    context_->rt->post([self = shared_from_this(), c = found->second] { self->api_complete(c, fail(errc::cancelled, "cancelled by the caller")); });
}

}  // namespace holdfast::plugins::detail
