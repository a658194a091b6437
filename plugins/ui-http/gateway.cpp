#include "ui-http/gateway.hpp"

#include "ui-http/mcp_exchange.hpp"
#include "ui-http/mcp_websocket.hpp"
#include "ui-http/omni.hpp"

namespace holdfast::ui_http {
namespace {
using namespace std::chrono_literals;
using web::http_request;
using web::http_response;

constexpr double message_burst = 4;  // times the rate
constexpr double exchanges_per_second = 1, exchange_burst = 10;  // attempts to sign in from one address
constexpr auto sweep_every = 10s;                                // logins and tokens of open WebSockets are checked again
constexpr auto stop_grace = 2s;
constexpr auto drained_grace = 250ms;                            // who is left has had its time to take the answer
constexpr std::chrono::milliseconds retry_elsewhere = 100ms;     // the next connection is another generation's
constexpr const char* cookie_prefix = "holdfast_session";

constexpr const char* content_security_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

http_response ok_json(std::string text) {
    http_response r = http_response::text(200, "application/json", std::move(text));
    r.headers.emplace_back("Cache-Control", "no-store");
    return r;
}
http_response refuse(const refusal& r) { return http_response::failure(r.status, r.code, r.message); }

http_response no_method(const char* allow) {
    http_response r = http_response::failure(405, "invalid_argument", std::string("this path is used with ") + allow);
    r.headers.emplace_back("Allow", allow);
    return r;
}
/// What every answer carries. `cors_origin`: an allowed origin other than this server, or empty.
http_response dressed(http_response r, const std::string& cors_origin) {
    r.headers.emplace_back("Content-Security-Policy", content_security_policy);
    r.headers.emplace_back("Referrer-Policy", "no-referrer");
    r.headers.emplace_back("X-Frame-Options", "DENY");
    r.headers.emplace_back("Cross-Origin-Opener-Policy", "same-origin");
    r.headers.emplace_back("Cross-Origin-Resource-Policy", "same-origin");
    if (!cors_origin.empty()) {
        r.headers.emplace_back("Access-Control-Allow-Origin", cors_origin);
        r.headers.emplace_back("Vary", "Origin");
    }
    return r;
}

bool begins_with(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

/// The body as an object; an empty body is {}.
std::optional<json> body_object(const http_request& request, std::string& why) {
    auto body = parse_json(request.body.empty() ? "{}" : request.body, &why);
    if (body && body->is_object()) return body;
    if (body) why = "expected a JSON object as the body";
    return std::nullopt;
}

/// Query parameters that a method takes, copied into its params.
json query_params(const http_request& request, std::initializer_list<const char*> strings, std::initializer_list<const char*> numbers) {
    json out = json::object();
    for (const char* key : strings)
        if (auto v = web::query_value(request.query, key)) out[key] = *v;
    for (const char* key : numbers)
        if (auto v = web::query_value(request.query, key)) {
            if (!v->empty() && v->size() < 18 && v->find_first_not_of("0123456789") == v->npos) out[key] = std::stoll(*v);
            else out[key] = *v;  // the method says what is wrong with it
        }
    return out;
}
}  // namespace

gateway::gateway(sdk::host& host, const settings& s)
    : host_(host),
      settings_(s),
      assets_(load_assets()),
      api_(std::make_shared<api_port>(host.api())),
      mcp_(api_, settings_.mcp),
      mcp_sse_(settings_.mcp.enabled && settings_.mcp.sse ? std::make_shared<mcp_sse>(api_, settings_.mcp.path) : nullptr),
      message_rate_(s.message_rate, message_burst * s.message_rate),
      exchange_rate_(exchanges_per_second, exchange_burst),
      grace_(stop_grace) {}

void gateway::listen() {
    web::server_options options;
    options.listener = host_.listeners().open(settings_.listen.host, settings_.listen.port);
    options.limits = settings_.limits;
    auto made = web::http_server::serve(options, *this);
    if (!made) throw sdk::plugin_error(HF_E_INTERNAL, made.error());
    server_ = std::move(*made);
    services_ = std::make_shared<ws_services>(ws_services{
        *api_, host_.events(),
        [this](const std::string& user) {
            const std::lock_guard lock(mutex_);
            return message_rate_.take(user, clock::now());
        },
        [weak = std::weak_ptr(server_)](std::function<void()> f) {
            if (const auto server = weak.lock()) server->post(std::move(f));
        }});
    if (!settings_.loopback())
        host_.log().warn("the web UI is reachable from other machines without TLS; put a reverse proxy in front of it", {{"url", url()}});
}

void gateway::run(sdk::worker_ctl& ctl) {
    server_->run([&] {
        ctl.beat();
        const std::int64_t now = sdk::to_ns(clock::now());
        std::int64_t due = next_sweep_ns_.load();
        if (now >= due && next_sweep_ns_.compare_exchange_strong(due, now + std::chrono::nanoseconds(sweep_every).count())) sweep();
        return !ctl.stop_requested();
    });
}

void gateway::quiesce(clock::time_point deadline) {
    if (!server_) return;
    leaving_ = true;
    server_->drain(deadline);
    grace_ = drained_grace;
}

void gateway::stop() {
    api_->close();  // what is under way is answered now, as cancelled
    if (server_) server_->stop(grace_);
    if (!api_->wait(stop_grace)) host_.log().warn("calls of the web UI did not end in time", {});
}

std::string gateway::url() const {
    if (!server_) return {};
    const std::string address = server_->address();
    const bool v6 = address.find(':') != std::string::npos;
    return "http://" + (v6 ? "[" + address + "]" : address) + ":" + std::to_string(server_->port()) + "/";
}

std::size_t gateway::clients() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(clients_.begin(), clients_.end(), [](const auto& c) { return !c.expired(); }));
}

void gateway::sweep() {
    logins_.drop_expired(clock::now());
    std::vector<std::shared_ptr<ws_client>> open;
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(clients_, [](const auto& c) { return c.expired(); });
        for (const auto& c : clients_)
            if (auto client = c.lock()) open.push_back(std::move(client));
    }
    for (const auto& client : open) client->check_login();
}

std::string gateway::cookie_of(const http_request& request) const {
    // Cookies know no ports: two hosts on one machine must not overwrite each other's, and a successor on another port
    // must recognise those of its predecessor.
    std::string found;
    web::for_each_cookie(request.header("cookie"), [&](std::string_view name, std::string_view value) {
        if (begins_with(name, cookie_prefix) && logins_.valid(value, clock::now())) found = value;
    });
    return found;
}

std::optional<gateway::caller> gateway::identify(const http_request& request) {
    if (!settings_.token_auth) return caller{{"local", "admin"}, proof::none_needed, {}};
    const auto header = request.header("authorization");
    if (request.count("authorization") == 1 && header.size() > 7 && begins_with(header, "Bearer ")) {
        const std::string token(header.substr(7));
        try {
            return caller{api_->authenticate(token), proof::token, token};
        } catch (const sdk::plugin_error&) {
            return std::nullopt;
        }
    }
    const std::string value = cookie_of(request);
    if (auto who = logins_.use(value, clock::now())) return caller{std::move(*who), proof::cookie, value};
    return std::nullopt;
}

std::string gateway::cors_origin(const http_request& request) const {
    return is_foreign_allowed_origin(request, settings_) ? std::string(request.header("origin")) : std::string();
}

bool gateway::still_allowed(const caller& c, bool used) {
    switch (c.how) {
        case proof::none_needed: return true;
        case proof::cookie: return used ? logins_.use(c.secret, clock::now()).has_value() : logins_.valid(c.secret, clock::now());
        case proof::token: break;
    }
    if (used) return true;  // checked at the handshake and at every sweep
    try {
        return api_->authenticate(c.secret).role == c.who.role;
    } catch (const sdk::plugin_error& e) {
        return e.status().code != HF_E_AUTH;
    }
}

void gateway::on_request(http_request request, web::responder respond) {
    if (mcp_.serves(request.path) || (mcp_sse_ && mcp_sse_->serves(request.path))) return mcp_request(std::move(request), std::move(respond));
    auto once = std::make_shared<web::responder>(std::move(respond));
    const reply_fn reply = [once, cors = cors_origin(request)](http_response r) { (*once)(dressed(std::move(r), cors)); };

    if (const auto no = check_host(request, settings_)) return reply(refuse(*no));
    if (const auto no = check_origin(request, settings_)) return reply(refuse(*no));
    if (request.path == "/healthz") return reply(ok_json(R"({"status":"ok"})"));
    if (const auto asset = assets_.find(request.path); asset != assets_.end()) return reply(serve_static(request, asset->second));
    if (request.method == "OPTIONS" && is_foreign_allowed_origin(request, settings_)) {
        http_response r;
        r.status = 204;
        r.headers = {{"Access-Control-Allow-Methods", "GET, POST"}, {"Access-Control-Allow-Headers", "authorization, content-type"}, {"Access-Control-Max-Age", "600"}};
        return reply(std::move(r));
    }
    // Logins have been handed over: one that is opened or closed here would not be, or would still be, one there.
    if (leaving_ && (request.path == "/auth/exchange" || request.path == "/auth/logout"))
        return reply(http_response::failure(503, "unavailable", "the web UI is being replaced or stopped; try again", retry_elsewhere.count()));
    if (request.path == "/auth/exchange") return exchange(request, reply);

    const auto who = identify(request);
    if (!who) {
        http_response r = http_response::failure(401, "unauthorized",
            "sign in: open the link that \"holdfast run\" prints, or send the token as \"Authorization: Bearer …\"");
        r.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"holdfast\"");
        return reply(std::move(r));
    }
    if (const auto no = check_forgery(request, who->how, false)) return reply(refuse(*no));
    route(request, *who, reply);
}

void gateway::mcp_request(http_request request, web::responder respond) {
    const std::string cors = cors_origin(request);
    const auto no = [&](int status, std::string_view why) { respond(mcp_endpoint::refusal(status, why, cors)); };
    if (const auto r = check_host(request, settings_)) return no(r->status, r->message);
    if (const auto r = check_origin(request, settings_)) return no(r->status, r->message);
    if (request.method == "OPTIONS" && is_foreign_allowed_origin(request, settings_)) {  // a browser asks without the token; nobody else need
        http_response r = mcp_endpoint::preflight();
        allow_origin(r, cors);
        return respond(std::move(r));
    }
    const auto who = identify(request);
    if (!who) {
        http_response r = mcp_endpoint::refusal(401, "send the host's token as \"Authorization: Bearer …\"", cors);
        r.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"holdfast\"");
        return respond(std::move(r));
    }
    if (const auto r = check_forgery(request, who->how, false)) return no(r->status, r->message);
    if (!mcp_.serves(request.path)) return mcp_sse_->on_request(std::move(request), std::move(respond), who->who, cors);
    mcp_.on_request(std::move(request), std::move(respond), who->who, cors);
}

void gateway::exchange(const http_request& request, reply_fn reply) {
    if (request.method != "POST") return reply(no_method("POST"));
    if (!web::is_json_type(request.header("content-type"))) return reply(refuse({415, "invalid_argument", "send the body as application/json"}));
    {
        const std::lock_guard lock(mutex_);
        if (const auto wait = exchange_rate_.take(request.peer, clock::now()); wait.count() > 0)
            return reply(http_response::failure(429, "rate_limited", "too many attempts to sign in; wait a moment", wait.count()));
    }
    std::string why;
    const auto body = body_object(request, why);
    if (!body) return reply(http_response::failure(400, "invalid_argument", why));
    const std::string token = string_or(*body, "token");
    person who{"local", "admin"};
    if (settings_.token_auth) {
        try {
            if (token.empty()) throw sdk::plugin_error(HF_E_AUTH, "no token");
            who = api_->authenticate(token);
        } catch (const sdk::plugin_error& e) {
            if (e.status().code != HF_E_AUTH) return reply(api_error_from(e.status(), {}).to_response());
            return reply(http_response::failure(401, "unauthorized", "this token is not valid; open the link that \"holdfast run\" prints"));
        }
    }
    const std::string value = logins_.open(who, clock::now());
    http_response r = ok_json(dump({{"user", who.user}, {"role", who.role}}));
    std::string cookie = std::string(cookie_prefix) + "_" + std::to_string(server_->port()) + "=" + value + "; Path=/; HttpOnly; SameSite=Strict";
    if (begins_with(request.header("origin"), "https://")) cookie += "; Secure";
    r.headers.emplace_back("Set-Cookie", std::move(cookie));
    reply(std::move(r));
}

void gateway::forward(std::string_view method, const json& params, const caller& c, reply_fn reply) {
    api_->call(method, dump(params), c.who, [reply = std::move(reply)](api_result r) {
        reply(r.ok ? ok_json(std::move(r.json_text)) : r.error.to_response());
    });
}

void gateway::route(const http_request& request, const caller& c, reply_fn reply) {
    const std::string& path = request.path;
    if (path == "/auth/whoami")
        return reply(ok_json(dump({{"user", c.who.user}, {"role", c.who.role}, {"mode", settings_.token_auth ? "token" : "none"}})));
    if (path == "/auth/logout") {
        if (request.method != "POST") return reply(no_method("POST"));
        if (c.how == proof::cookie) logins_.close(c.secret);
        return reply(ok_json("{}"));
    }
    if (path == "/ws") {
        http_response r = http_response::failure(426, "invalid_argument", "this path is a WebSocket");
        r.headers.emplace_back("Upgrade", "websocket");
        return reply(std::move(r));
    }
    if (begins_with(path, "/api/v1/mcp/tools/")) return omni_path(request, c, std::move(reply));
    if (begins_with(path, "/api/v1/")) return route_api(request, c, std::move(reply));
    reply(http_response::failure(404, "not_found", "there is nothing at this path; GET /api/v1/openapi.json lists the API"));
}

void gateway::route_api(const http_request& request, const caller& c, reply_fn reply) {
    const std::string rest = request.path.substr(std::string_view("/api/v1/").size());
    const bool get = request.method == "GET" || request.method == "HEAD", post = request.method == "POST";
    std::string why;
    if (begins_with(rest, "call/")) {
        if (!post) return reply(no_method("POST"));
        const auto body = body_object(request, why);
        if (!body) return reply(http_response::failure(400, "invalid_argument", why));
        return forward(rest.substr(5), *body, c, std::move(reply));
    }
    struct read_path {
        const char* path;
        const char* method;
        std::initializer_list<const char*> strings, numbers;
    };
    static const read_path reads[] = {
        {"host", "host.info", {}, {}},           {"tree", "host.tree", {}, {}},          {"health", "host.health", {}, {}},
        {"metrics", "host.metrics", {}, {}},     {"plugins", "plugin.list", {}, {}},     {"servers", "server.list", {}, {}},
        {"tools", "tool.list", {"server"}, {}},  {"llm", "llm.list", {}, {}},            {"sessions", "session.list", {"after"}, {"limit"}},
    };
    for (const auto& r : reads)
        if (get && rest == r.path) return forward(r.method, query_params(request, r.strings, r.numbers), c, std::move(reply));
    if (rest == "openapi.json") {
        if (!get) return reply(no_method("GET"));
        try {
            return reply(ok_json(api_->describe()));
        } catch (const sdk::plugin_error& e) {
            return reply(api_error_from(e.status(), {}).to_response());
        }
    }
    if (rest == "sessions" && post) {
        const auto body = body_object(request, why);
        if (!body) return reply(http_response::failure(400, "invalid_argument", why));
        return forward("session.create", *body, c, std::move(reply));
    }
    if (begins_with(rest, "sessions/")) {
        const std::string tail = rest.substr(9);
        const auto slash = tail.find('/');
        const std::string id = tail.substr(0, slash), what = slash == tail.npos ? "" : tail.substr(slash + 1);
        if (!id.empty() && what.empty() && get) return forward("session.get", {{"session_id", id}}, c, std::move(reply));
        if (!id.empty() && what == "messages" && get) {
            json params = query_params(request, {}, {"before", "limit"});
            params["session_id"] = id;
            return forward("session.history", params, c, std::move(reply));
        }
        if (!id.empty() && what == "messages" && post) {
            auto body = body_object(request, why);
            if (!body) return reply(http_response::failure(400, "invalid_argument", why));
            (*body)["session_id"] = id;
            return forward("session.send", *body, c, std::move(reply));
        }
    }
    reply(http_response::failure(404, "not_found", "there is no " + request.method + " at this path; GET /api/v1/openapi.json lists the API"));
}

void gateway::omni_path(const http_request& request, const caller& c, reply_fn reply) {
    const std::string what = request.path.substr(std::string_view("/api/v1/mcp/tools/").size());
    const bool get = request.method == "GET" || request.method == "HEAD";
    if (what == "servers" || what == "capabilities") {
        if (!get) return reply(no_method("GET"));
        api_->call("server.list", "{}", c.who, [api = api_, what, who = c.who, reply = std::move(reply)](api_result list) {
            if (!list.ok) return reply(list.error.to_response());
            const json rows = parse_json(list.json_text).value_or(json());
            if (what == "servers") return reply(ok_json(dump(omni::servers(rows))));
            api->call("tool.list", "{}", who, [rows, reply](api_result tools) {
                if (!tools.ok) return reply(tools.error.to_response());
                reply(ok_json(dump(omni::capabilities(rows, parse_json(tools.json_text).value_or(json())))));
            });
        });
        return;
    }
    if (what == "call") {
        if (request.method != "POST") return reply(no_method("POST"));
        std::string why;
        const auto body = body_object(request, why);
        const json params = body ? omni::call_params(*body, why) : json();
        if (params.is_null()) return reply(http_response::failure(400, "invalid_argument", why));
        api_->call("tool.call", dump(params), c.who, [params, reply = std::move(reply)](api_result r) {
            if (!r.ok) return reply(r.error.to_response());
            reply(ok_json(dump(omni::call_answer(params, parse_json(r.json_text).value_or(json())))));
        });
        return;
    }
    reply(http_response::failure(404, "not_found", "known here: GET servers, GET capabilities, POST call"));
}

web::upgrade_answer gateway::on_upgrade(const http_request& request) {
    web::upgrade_answer answer;
    const auto no = [&](http_response r) {
        answer.refusal = dressed(std::move(r), cors_origin(request));
        return answer;
    };
    if (const auto r = check_host(request, settings_)) return no(refuse(*r));
    if (const auto r = check_origin(request, settings_)) return no(refuse(*r));
    const auto who = identify(request);
    if (!who) return no(http_response::failure(401, "unauthorized", "sign in before opening a WebSocket"));
    if (const auto r = check_forgery(request, who->how, true)) return no(refuse(*r));
    if (settings_.mcp.enabled && settings_.mcp.websocket && request.path == settings_.mcp.path + "/ws") {
        if (request.header("sec-websocket-protocol").find(mcp_websocket::protocol) != std::string_view::npos) answer.protocol = mcp_websocket::protocol;
        answer.handler = std::make_shared<mcp_websocket>(api_, who->who, [this, c = *who] { return still_allowed(c, true); });
        return answer;
    }
    if (request.path != "/ws") return no(http_response::failure(404, "not_found", "the WebSocket is at /ws"));

    const bool ours = request.header("sec-websocket-protocol").find(ws_client::protocol) != std::string_view::npos;
    auto client = std::make_shared<ws_client>(services_, who->who, [this, c = *who](bool used) { return still_allowed(c, used); }, !ours);
    if (ours) answer.protocol = ws_client::protocol;
    {
        const std::lock_guard lock(mutex_);
        std::erase_if(clients_, [](const auto& c) { return c.expired(); });
        clients_.push_back(client);
    }
    answer.handler = std::move(client);
    return answer;
}

}  // namespace holdfast::ui_http
