#include "ui-http/ws_client.hpp"

#include "holdfast/json.hpp"

namespace holdfast::ui_http {
namespace {
constexpr std::uint16_t close_signed_out = 4401;
std::shared_ptr<const std::string> shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }
std::string head_of(std::uint64_t number) { return "{\"subscription\":" + std::to_string(number) + ",\"event\":"; }
api_error invalid(std::string message) { return {"invalid_argument", std::move(message)}; }
}  // namespace

std::shared_ptr<web::websocket> ws_client::socket() const {
    const std::lock_guard lock(mutex_);
    return socket_;
}

void ws_client::reply(std::string text) {
    if (const auto s = socket()) s->reply(shared(std::move(text)));
}

void ws_client::reply_error(const json& id, const api_error& e) { reply("{\"id\":" + dump(id) + ",\"error\":" + e.to_json() + "}"); }

void ws_client::on_open(std::shared_ptr<web::websocket> s) {
    {
        const std::lock_guard lock(mutex_);
        socket_ = std::move(s);
    }
    if (flat_) start_flat();
}

bool ws_client::busy() const {
    const std::lock_guard lock(mutex_);
    return calls_ > 0;
}

void ws_client::on_close() {
    std::map<std::uint64_t, subscription_ptr> all;
    sdk::subscription flat;  // handles end outside the lock: ending waits for callbacks under way
    {
        const std::lock_guard lock(mutex_);
        socket_.reset();
        all.swap(subscriptions_);
        flat = std::move(flat_handle_);
    }
    for (auto& [number, s] : all) s->handle.close();  // nobody else sees it any more
}

void ws_client::check_login() {
    if (still_allowed_(false)) return;
    if (const auto s = socket()) s->close(close_signed_out, "signed out; sign in again");
}

void ws_client::on_message(std::string_view text) {
    if (!still_allowed_(true)) {
        if (const auto s = socket()) s->close(close_signed_out, "signed out; sign in again");
        return;
    }
    std::string why;
    const auto message = parse_json(text, &why);
    if (!message || !message->is_object()) return reply_error(nullptr, invalid(message ? "expected a JSON object" : why));
    const json& id = member(*message, "id");
    if (id.is_structured()) return reply_error(nullptr, invalid("id: expected a number or a string"));
    if (const auto wait = services_->rate(who_.user); wait.count() > 0)
        return reply_error(id, {"rate_limited", "too many messages a second; wait and send it again", wait.count()});
    stop_flat();
    if (message->contains("subscribe")) return subscribe(id, (*message)["subscribe"]);
    if (message->contains("unsubscribe")) return unsubscribe(id, (*message)["unsubscribe"]);
    const std::string method = string_or(*message, "method");
    if (method.empty()) return reply_error(id, invalid("expected a \"method\", \"subscribe\" or \"unsubscribe\" member"));
    call(id, method, member(*message, "params"));
}

void ws_client::call(const json& id, const std::string& method, const json& params) {
    if (!params.is_null() && !params.is_object()) return reply_error(id, invalid("params: expected an object"));
    bool full = false;
    {
        const std::lock_guard lock(mutex_);
        full = calls_ >= max_calls;
        if (!full) ++calls_;
    }
    if (full) return reply_error(id, {"overloaded", "at most " + std::to_string(max_calls) + " calls at once on one connection", 50});
    services_->api.call(method, params.is_null() ? "{}" : dump(params), who_, [self = shared_from_this(), id = dump(id)](api_result r) {
        self->reply("{\"id\":" + id + (r.ok ? ",\"result\":" + r.json_text : ",\"error\":" + r.error.to_json()) + "}");
        const std::lock_guard lock(self->mutex_);
        --self->calls_;
    });
}

void ws_client::subscribe(const json& id, const json& options) {
    const std::string topic = string_or(options, "topic");
    if (topic.empty() || topic.size() > 256) return reply_error(id, invalid("subscribe: expected a \"topic\""));
    auto s = std::make_shared<subscription>();
    s->topic = topic;
    bool full = false;
    {
        const std::lock_guard lock(mutex_);
        if (!socket_) return;
        full = subscriptions_.size() >= max_subscriptions;
        if (!full) {
            s->number = ++last_number_;
            subscriptions_.emplace(s->number, s);
        }
    }
    if (full) return reply_error(id, {"overloaded", "at most " + std::to_string(max_subscriptions) + " subscriptions on one connection"});
    sdk::subscription handle;
    try {
        handle = services_->events.subscribe(dump(options), [weak = weak_from_this(), s](std::string_view event) {
            if (const auto self = weak.lock()) self->on_event(s, event);
        });
    } catch (const sdk::plugin_error& e) {
        end(s);
        return reply_error(id, api_error_from(e.status(), {}));
    }
    const std::uint64_t seq = handle.seq();
    {
        const std::lock_guard lock(mutex_);
        if (subscriptions_.count(s->number)) s->handle = std::move(handle);  // else closed meanwhile: the handle ends here
    }
    // The epoch is the topic's own; a pattern has none.
    if (topic.find('*') != topic.npos) return finish_subscribe(s, id, seq, nullptr);
    services_->api.call("events.read", dump({{"topic", topic}, {"limit", 1}}), who_, [self = shared_from_this(), s, id, seq](api_result r) {
        const auto answer = r.ok ? parse_json(r.json_text) : std::nullopt;
        self->finish_subscribe(s, id, seq, answer ? member(*answer, "epoch") : json());
    });
}

void ws_client::finish_subscribe(const subscription_ptr& s, const json& id, std::uint64_t seq, const json& epoch) {
    json result{{"subscription", s->number}, {"seq", seq}};
    if (!epoch.is_null()) result["epoch"] = epoch;
    // Answer and early events go out under the lock, so that no later event overtakes them. socket->… only queues.
    const auto out = socket();
    if (!out) return;
    const std::lock_guard lock(s->mutex);
    s->answered = true;
    out->reply(shared("{\"id\":" + dump(id) + ",\"result\":" + dump(result) + "}"));
    for (auto& event : s->early) out->reply(std::move(event));
    s->early.clear();
    s->early.shrink_to_fit();
}

void ws_client::on_event(const subscription_ptr& s, std::string_view event) {
    const auto out = socket();
    if (!out) return;
    {
        const std::lock_guard lock(s->mutex);
        if (s->over) return;
        const bool last = sdk::json_text(event, "type") == "closed";
        auto text = shared(head_of(s->number).append(event).append("}"));
        bool taken = true;
        if (last) s->answered ? out->reply(std::move(text)) : s->early.push_back(std::move(text));
        else if (s->answered) taken = out->send(std::move(text));
        else if ((taken = s->early.size() < max_early_events && (s->early_bytes += text->size()) <= max_early_bytes)) s->early.push_back(std::move(text));
        if (!last && taken) {
            s->last_seq = sdk::json_number<std::uint64_t>(event, "seq", s->last_seq);
            return;
        }
        s->over = true;
        if (!last) {  // the client reads too slowly: it is told from where to attach again, as when the host's ring overruns
            auto closed = shared(head_of(s->number) + dump({{"type", "closed"}, {"reason", "overrun"}, {"topic", s->topic}, {"seq", s->last_seq}}) + "}");
            s->answered ? out->reply(std::move(closed)) : s->early.push_back(std::move(closed));
        }
    }
    services_->post([self = shared_from_this(), s] { self->end(s); });  // not from within its own callback
}

void ws_client::end(const subscription_ptr& s) {
    sdk::subscription handle;  // ends outside the lock
    const std::lock_guard lock(mutex_);
    if (subscriptions_.erase(s->number)) handle = std::move(s->handle);
}

void ws_client::unsubscribe(const json& id, const json& number) {
    subscription_ptr found;
    {
        const std::lock_guard lock(mutex_);
        const auto it = number.is_number_unsigned() ? subscriptions_.find(number.get<std::uint64_t>()) : subscriptions_.end();
        if (it != subscriptions_.end()) found = it->second;
    }
    if (!found) return reply_error(id, {"not_found", "no such subscription on this connection"});
    end(found);
    reply("{\"id\":" + dump(id) + ",\"result\":{}}");
}

void ws_client::start_flat() {
    sdk::subscription handle;
    try {
        handle = services_->events.subscribe(R"({"topic":"session:admin_dashboard","policy":"drop_oldest"})", [weak = weak_from_this()](std::string_view event) {
            const auto self = weak.lock();
            const auto out = self ? self->socket() : nullptr;
            if (out) out->send(shared(std::string(event)));  // a full queue drops it: the next poll shows the state
        });
    } catch (const sdk::plugin_error&) {
        return;  // requests still work
    }
    const std::lock_guard lock(mutex_);
    if (socket_ && flat_) flat_handle_ = std::move(handle);
}

/// The first request makes it a control client: it subscribes to what it wants.
void ws_client::stop_flat() {
    sdk::subscription handle;  // ends outside the lock
    const std::lock_guard lock(mutex_);
    flat_ = false;
    handle = std::move(flat_handle_);
}

}  // namespace holdfast::ui_http
