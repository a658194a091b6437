#include "api/mcp_gateway.hpp"

#include "kernel/core/ids.hpp"
#include "mcp/gateway/text.hpp"

namespace holdfast::api {

using namespace mcp::gateway;
namespace rpc_code = mcp::rpc_code;

namespace {

constexpr milliseconds tick_interval{250};
constexpr int session_not_found_code = -32001;  // what legacy SDKs send and expect
constexpr std::size_t session_id_bytes = 24;

/// An answer that needs no machine.
cancel_fn answer_now(chunk_fn& chunk, reply& done, int status, const std::string& text) {
    chunk(dump({{"status", status}, {"stream", false}}));
    if (!text.empty()) chunk("\n" + text);
    done(json::object());
    return nullptr;
}

std::optional<std::string> text_member(const json& from, const char* key) {
    const json& v = member(from, key);
    return v.is_string() ? std::optional(v.get<std::string>()) : std::nullopt;
}

request_headers headers_of(const json& params) {
    request_headers out;
    if (string_or(params, "via") != "http") return out;
    const json& h = member(params, "headers");
    out.present = true;
    out.version = text_member(h, "protocol_version");
    out.method = text_member(h, "method");
    out.name = text_member(h, "name");
    if (const json& p = member(h, "params"); p.is_object()) out.params = p;
    return out;
}

std::string no_session(const json& about) { return error_message(about, {session_not_found_code, "Session not found", {}}); }
std::string ended_meanwhile(const json& about) {
    return error_message(about, {rpc_code::invalid_params, "the request has ended meanwhile; start it again without requestState", {}});
}

}  // namespace

struct mcp_gateway::exchange {
    identity who;
    json message;
    json id;             ///< of a modern request
    std::string method;
    json params;
    request_headers headers;
    std::string session;
    bool stdio = false;
    chunk_fn chunk;
    reply done;
    std::shared_ptr<const mcp_settings> settings;

    /// For a task and, when that is not run any more, for who answers instead.
    std::shared_ptr<mcp_box_base::stream> stream() { return std::make_shared<mcp_box_base::stream>(mcp_box_base::stream{std::move(chunk), std::move(done)}); }
    cancel_fn answer(int status, const std::string& text) { return answer_now(chunk, done, status, text); }
    cancel_fn refuse(int status, const json& about, int code, std::string why) { return answer(status, error_message(about, {code, std::move(why), {}})); }
};

struct mcp_gateway::round_trip {
    modern_call::request request;
    json capabilities;
    std::string asker, digest;
    bool again = false;
    std::uint32_t round = 0;
    std::uint64_t call = 0;
};

std::shared_ptr<mcp_gateway> mcp_gateway::create(mcp_gateway_options options) {
    std::shared_ptr<mcp_gateway> g(new mcp_gateway(std::move(options)));
    g->options_.servers->on_catalogue_changed([weak = g->weak_from_this()] {
        if (auto self = weak.lock()) self->refresh_soon();
    });
    g->options_.servers->on_server_notice([weak = g->weak_from_this()](const std::string& server, const std::string& method, const json& params) {
        if (auto self = weak.lock()) self->on_notice(server, method, params);
    });
    if (!g->options_.store) g->pins_known_ = true;
    return g;
}

void mcp_gateway::read_pins() {
    if (options_.store) load_pins({});
}

void mcp_gateway::configure(const json& section) {
    auto fresh = std::make_shared<const mcp_settings>(mcp_settings::from(section));
    {
        std::lock_guard lock(mutex_);
        settings_.swap(fresh);
    }
    refresh_soon();
}

std::shared_ptr<const mcp_settings> mcp_gateway::settings() const {
    std::lock_guard lock(mutex_);
    return settings_;
}

cancel_fn mcp_gateway::post(const identity& who, json params, chunk_fn chunk, reply done) {
    exchange x;
    x.settings = settings();
    if (stopped_ || !x.settings->enabled)
        return answer_now(chunk, done, 503, error_message(nullptr, {rpc_code::internal_error, stopped_ ? "the host is stopping" : "the gateway is switched off (\"gateway\": {\"enabled\": true})", {}}));
    if (!x.settings->stdio && string_or(params, "via") == "stdio")
        return answer_now(chunk, done, 503, error_message(nullptr, {rpc_code::internal_error, "MCP on stdin and stdout is switched off (\"gateway\": {\"stdio\": true})", {}}));
    x.who = who;
    x.chunk = std::move(chunk);
    x.done = std::move(done);
    x.headers = headers_of(params);
    x.session = string_or(params, "session");
    x.stdio = string_or(params, "via") == "stdio";
    if (!params.contains("message")) return x.refuse(400, nullptr, rpc_code::parse_error, "Parse error: " + string_or(params, "parse_error", "no message"));
    x.message = std::move(params["message"]);
    x.method = string_or(x.message, "method");
    if (is_modern_message(x.method, member(x.message, "params"), x.headers, !x.session.empty())) return modern(std::move(x));
    return legacy(std::move(x));
}

cancel_fn mcp_gateway::modern(exchange x) {
    const json about = id_of_unread(x.message);
    auto m = mcp::decode_value(std::move(x.message));
    if (!m) return x.refuse(400, about, rpc_code::invalid_request, m.error().message);
    auto* r = std::get_if<mcp::rpc_request>(&*m);
    // No notification of a modern client means anything over HTTP; over stdio the edge turns a cancellation into a cancel.
    if (!r && std::holds_alternative<mcp::rpc_notification>(*m)) return x.answer(202, {});
    if (!r) return x.refuse(400, nullptr, rpc_code::invalid_request, "a modern client sends no responses");
    x.id = std::move(r->id);
    x.method = std::move(r->method);
    x.params = r->params.is_object() ? std::move(r->params) : json::object();
    if (auto wrong = check_modern(x.method, x.params, x.headers)) return x.answer(400, error_message(x.id, *wrong));
    if (x.method == "subscriptions/listen") return subscribe(std::move(x));
    const auto offer = offered(x.who.rights);
    if (x.method == "tools/call" && x.headers.present) {
        if (const auto* tool = offer->tool(string_or(x.params, "name")))
            if (auto wrong = check_param_headers(*tool, member(x.params, "arguments"), x.headers)) return x.answer(400, error_message(x.id, *wrong));
    }
    round_trip t;
    if (auto wrong = take_round(x, t)) return x.answer(200, error_message(x.id, *wrong));
    auto where = route(*offer, {}, x.method, std::move(x.params));
    if (auto* e = std::get_if<mcp::rpc_error>(&where)) return x.answer(status_of(*e), error_message(x.id, *e));
    if (auto* text = std::get_if<local_answer>(&where)) return x.answer(200, result_message(x.id, *text));
    return modern_upstream(std::move(x), std::move(t), std::move(std::get<upstream_request>(where)));
}

/// What of the params is between the client and us.
std::optional<mcp::rpc_error> mcp_gateway::take_round(const exchange& x, round_trip& t) {
    const json& m = member(x.params, "_meta");
    t.request.id = x.id;
    t.request.token = member(m, "progressToken");
    t.request.log_level = string_or(m, mcp::meta::log_level);
    t.capabilities = member(m, mcp::meta::client_capabilities);
    // A legacy server does not say whom it asks: the calls of one program of one user count as one.
    t.asker = x.who.user + "/" + string_or(member(m, mcp::meta::client_info), "name");
    if (x.params.contains("inputResponses")) {
        t.request.responses = x.params["inputResponses"];
        if (!t.request.responses.is_object()) return mcp::rpc_error{rpc_code::invalid_params, "inputResponses must be an object", {}};
    }
    t.again = x.params.contains("requestState");
    // Whoever can be asked nothing never comes back with anything.
    if (!t.capabilities.empty() || t.again) t.digest = digest_of(x.method + "\n" + dump(request_body(x.params)));
    if (!t.again) return {};
    const json& state = x.params["requestState"];
    if (!state.is_string()) return mcp::rpc_error{rpc_code::invalid_params, "requestState must be a string", {}};
    auto carried = seal_->open(state.get_ref<const std::string&>(), x.who.user, t.digest, options_.runtime->now());
    if (!carried) return mcp::rpc_error{rpc_code::invalid_params, carried.error().message, {}};
    t.round = carried->round;
    t.call = carried->call;
    return {};
}

cancel_fn mcp_gateway::modern_upstream(exchange x, round_trip t, upstream_request what) {
    std::shared_ptr<call_box> box;
    if (t.again) {
        {
            std::lock_guard lock(mutex_);
            if (const auto it = calls_.find(t.call); it != calls_.end()) box = it->second;
        }
        if (!box) return x.answer(200, ended_meanwhile(x.id));
    } else {
        const std::uint64_t number = next_++;
        auto seal = [seal = seal_, number, user = x.who.user, digest = t.digest](std::uint32_t n, steady_time expires) {
            return seal->seal({number, n, std::chrono::duration_cast<milliseconds>(expires.time_since_epoch()).count()}, user, digest);
        };
        box = std::make_shared<call_box>(weak_from_this(), options_.servers, *options_.runtime, mcp_owner{number, x.who.user, x.who.rights, std::move(t.asker)},
                                         x.settings->limits, x.settings->limits, std::move(t.capabilities), std::move(seal));
        if (!admit(*x.settings, x.who.user, [&] { calls_.emplace(number, box); })) return too_many(x);
    }
    const stream_id on = next_++;
    const auto s = x.stream();
    box->run(
        [box = box.get(), on, s, t = std::move(t), what = std::move(what)](actions& out) mutable {
            box->add_stream(on, std::move(*s));
            if (t.again) box->machine.resume(on, std::move(t.request), t.round, box->now(), out);
            else box->machine.begin(on, std::move(t.request), std::move(what), box->now(), out);
        },
        [s, id = x.id] { answer_now(s->chunk, s->done, 200, ended_meanwhile(id)); });
    return [weak = std::weak_ptr(box), on] {
        const auto box = weak.lock();
        if (!box) return;
        box->run([box = box.get(), on](actions& out) {
            box->drop_stream(on);
            box->machine.gone(on, out);
        });
    };
}

cancel_fn mcp_gateway::too_many(exchange& x) {
    return x.refuse(429, x.id, rpc_code::internal_error, "too many requests of " + x.who.user + " are under way; try again later");
}

cancel_fn mcp_gateway::subscribe(exchange x) {
    actions first;
    const stream_id on = next_++;
    const auto offer = offered(x.who.rights);
    auto opened = subscription::open(on, x.id, x.params, x.settings->limits, [&](const std::string& uri) { return offer->resource_server(uri) != nullptr; }, first);
    if (auto* e = std::get_if<mcp::rpc_error>(&opened)) return x.answer(200, error_message(x.id, *e));
    const std::uint64_t number = next_++;
    auto box = std::make_shared<listen_box>(weak_from_this(), options_.servers, *options_.runtime, mcp_owner{number, x.who.user, x.who.rights, {}},
                                            x.settings->limits, std::move(std::get<subscription>(opened)));
    if (!admit(*x.settings, x.who.user, [&] { listens_.emplace(number, box); })) return too_many(x);
    const auto s = x.stream();
    box->run(
        [box = box.get(), on, s, first = std::move(first)](actions& out) mutable {
            box->add_stream(on, std::move(*s));
            out = std::move(first);
        },
        [s, id = x.id] { answer_now(s->chunk, s->done, 503, error_message(id, {rpc_code::internal_error, "the host is stopping", {}})); });
    return [weak = std::weak_ptr(box)] {
        if (const auto box = weak.lock()) box->run([](actions& out) { out.push_back(act::over{}); });
    };
}

cancel_fn mcp_gateway::legacy(exchange x) {
    const json about = id_of_unread(x.message);
    // A client that says it speaks something nobody knows is told so, in its own era or not.
    if (x.headers.version && !mcp::is_legacy(*x.headers.version) && !mcp::is_modern(*x.headers.version))
        return x.refuse(400, about, rpc_code::invalid_request, "MCP-Protocol-Version '" + *x.headers.version + "' is not supported");
    if (x.session.empty()) {
        if (x.method == "initialize" && !about.is_null()) return initialize(std::move(x));
        if (x.method == "ping" && !about.is_null()) return x.answer(200, result_message(about, "{}"));
        if (!x.message.is_object() && !x.message.is_array()) return x.refuse(400, nullptr, rpc_code::invalid_request, "a message is a JSON object");
        return x.refuse(400, about, rpc_code::invalid_request, "no session: begin with initialize, or send the _meta of protocol version " + std::string(mcp::modern_version));
    }
    const auto box = session(x.session, x.who.user);
    if (!box) return x.answer(404, no_session(about));
    const stream_id on = next_++;
    const auto s = x.stream();
    box->run(
        [box = box.get(), on, s, offer = offered(x.who.rights), message = std::move(x.message)](actions& out) mutable {
            box->add_stream(on, std::move(*s));
            box->machine.post(on, std::move(message), *offer, box->now(), out);
        },
        [s, about] { answer_now(s->chunk, s->done, 404, no_session(about)); });
    return [weak = std::weak_ptr(box), on] { cut(weak.lock(), on); };
}

/// The stream ends here; what it carried goes on and can be resumed.
void mcp_gateway::cut(const std::shared_ptr<session_box>& box, stream_id on) {
    if (!box) return;
    box->run([box = box.get(), on](actions&) {
        box->drop_stream(on);
        box->machine.gone(on, box->now());
    });
}

cancel_fn mcp_gateway::initialize(exchange x) {
    const json about = id_of_unread(x.message);
    auto m = mcp::decode_value(std::move(x.message));
    auto* r = m ? std::get_if<mcp::rpc_request>(&*m) : nullptr;
    if (!r) return x.refuse(400, about, rpc_code::invalid_request, m ? "initialize is a request" : m.error().message);
    const std::string id = random_hex(session_id_bytes);
    auto box = std::make_shared<session_box>(weak_from_this(), options_.servers, *options_.runtime, mcp_owner{next_++, x.who.user, x.who.rights, id},
                                             x.settings->limits, x.settings->limits, x.stdio, std::move(r->params), options_.runtime->now());
    {
        std::lock_guard lock(mutex_);
        auto& mine = sessions_of_[x.who.user];
        if (sessions_.size() >= x.settings->max_sessions || mine >= x.settings->max_sessions_per_user) box = nullptr;
        else sessions_.emplace(id, box), ++mine;
    }
    if (!box) return x.refuse(503, r->id, rpc_code::internal_error, "too many sessions are open; end some, or try again later");
    arm_tick();
    const stream_id on = next_++;
    const auto s = x.stream();
    box->run(
        [box = box.get(), on, s, id, about = r->id, instructions = x.settings->rules.instructions](actions& out) {
            box->add_stream(on, std::move(*s));
            box->machine.welcome(on, about, id, instructions, out);
        },
        [s, about = r->id] { answer_now(s->chunk, s->done, 503, error_message(about, {rpc_code::internal_error, "the host is stopping", {}})); });
    return nullptr;
}

std::shared_ptr<mcp_gateway::session_box> mcp_gateway::session(const std::string& id, const std::string& user) const {
    std::lock_guard lock(mutex_);
    const auto it = sessions_.find(id);
    return it == sessions_.end() || it->second->owner.user != user ? nullptr : it->second;  // somebody else's: as if it were not there
}

cancel_fn mcp_gateway::listen(const identity& who, json params, chunk_fn chunk, reply done) {
    const auto box = session(string_or(params, "session"), who.user);
    if (!box) return answer_now(chunk, done, 404, no_session(nullptr));
    const stream_id on = next_++;
    const auto s = std::make_shared<mcp_box_base::stream>(mcp_box_base::stream{std::move(chunk), std::move(done)});
    box->run(
        [box = box.get(), on, s, last = string_or(params, "last_event_id")](actions& out) {
            box->add_stream(on, std::move(*s));
            box->machine.listen(on, last, box->now(), out);
        },
        [s] { answer_now(s->chunk, s->done, 404, no_session(nullptr)); });
    return [weak = std::weak_ptr(box), on] { cut(weak.lock(), on); };
}

void mcp_gateway::close(const identity& who, const json& params, reply done) {
    const auto box = session(string_or(params, "session"), who.user);
    if (!box) return done(fail(errc::not_found, "there is no such session"));
    const auto answer = std::make_shared<reply>(std::move(done));
    box->run(
        [box = box.get(), answer](actions& out) {
            box->machine.close(out);
            (*answer)(json::object());
        },
        [answer] { (*answer)(json::object()); });  // somebody else has closed it
}

template <class Insert>
bool mcp_gateway::admit(const mcp_settings& s, const std::string& user, Insert insert) {
    {
        std::lock_guard lock(mutex_);
        auto& mine = requests_of_[user];
        if (mine >= s.max_requests_per_user) return false;
        ++mine;
        insert();
    }
    arm_tick();
    return true;
}

void mcp_gateway::over(const mcp_owner& who) {
    std::shared_ptr<mcp_box_base> last;  // destroyed outside the lock
    bool watched = false;
    {
        std::lock_guard lock(mutex_);
        const auto release = [&](auto& counts) {
            const auto it = counts.find(who.user);
            if (it != counts.end() && --it->second == 0) counts.erase(it);
        };
        if (const auto it = calls_.find(who.number); it != calls_.end()) {
            last = std::move(it->second);
            calls_.erase(it);
            release(requests_of_);
        } else if (const auto l = listens_.find(who.number); l != listens_.end()) {
            last = std::move(l->second);
            listens_.erase(l);
            release(requests_of_);
        } else if (const auto s = sessions_.find(who.session); s != sessions_.end() && s->second->owner.number == who.number) {
            last = std::move(s->second);
            sessions_.erase(s);
            release(sessions_of_);
        }
        watched = watches_.erase(who.number) > 0;
    }
    if (watched) follow_watches();
}

std::vector<std::shared_ptr<mcp_box_base>> mcp_gateway::boxes() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<mcp_box_base>> out;
    out.reserve(calls_.size() + listens_.size() + sessions_.size());
    for (const auto& [n, b] : calls_) out.push_back(b);
    for (const auto& [n, b] : listens_) out.push_back(b);
    for (const auto& [id, b] : sessions_) out.push_back(b);
    return out;
}

void mcp_gateway::arm_tick() {
    {
        std::lock_guard lock(mutex_);
        if (ticking_ || stopped_) return;
        ticking_ = true;
    }
    auto timer = options_.runtime->after(tick_interval, [weak = weak_from_this()] {
        if (auto self = weak.lock()) self->tick();
    });
    timer.detach();
}

void mcp_gateway::tick() {
    const auto all = boxes();
    for (const auto& b : all) b->tick();
    {
        std::lock_guard lock(mutex_);
        ticking_ = false;
        if (calls_.empty() && sessions_.empty()) return;
    }
    arm_tick();
}

void mcp_gateway::stop() {
    if (stopped_.exchange(true)) return;
    options_.servers->on_catalogue_changed(nullptr);
    options_.servers->on_server_notice(nullptr);
    std::vector<std::shared_ptr<listen_box>> listens;
    std::vector<std::shared_ptr<session_box>> sessions;
    {
        std::lock_guard lock(mutex_);
        for (const auto& [n, b] : listens_) listens.push_back(b);
        for (const auto& [id, b] : sessions_) sessions.push_back(b);
    }
    for (const auto& b : listens) b->run([b = b.get()](actions& out) { b->machine.close(out); });
    for (const auto& b : sessions) b->run([b = b.get()](actions& out) { b->machine.close(out); });
    // Modern requests under way end with their servers.
}

json mcp_gateway::status() {
    const auto admin = offered(role::admin);
    json collisions = json::array();
    static constexpr const char* kinds[] = {"tool", "prompt", "resource", "resource template"};
    for (const auto& c : admin->collisions())
        collisions.push_back({{"kind", kinds[static_cast<std::size_t>(c.kind)]}, {"name", c.name}, {"served_by", c.served_by}, {"hidden_of", c.hidden_of}});
    std::lock_guard lock(mutex_);
    return {{"enabled", settings_->enabled}, {"stdio", settings_->stdio}, {"sessions", sessions_.size()}, {"requests", calls_.size()}, {"subscriptions", listens_.size()},
            {"tools", admin->size(list_kind::tools)}, {"prompts", admin->size(list_kind::prompts)}, {"resources", admin->size(list_kind::resources)},
            {"resource_templates", admin->size(list_kind::templates)}, {"collisions", std::move(collisions)}, {"pins_known", pins_known_}};
}

}  // namespace holdfast::api
