#include "transport-http/link.hpp"

#include <algorithm>

#include "holdfast/json.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::transport_http {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds after_the_answer{2'000};  // for the server to end the stream, so that the connection can be kept
constexpr milliseconds longest_goodbye{5'000};
constexpr std::size_t max_session_bytes = 1024;

bool good(int status) { return status >= 200 && status < 300; }

bool visible(std::string_view id) {
    return !id.empty() && id.size() <= max_session_bytes && std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

milliseconds asked_pause(const net::headers& h) {
    const auto after = net::find_header(h, "retry-after");
    return after.empty() ? milliseconds(0) : net::parse_retry_after(after, std::chrono::system_clock::now()).value_or(milliseconds(0));
}

sdk::status of_status(int http, const std::string& origin, milliseconds retry_after = milliseconds(0)) {
    sdk::status s;
    s.peer_status = http;
    s.retry_after = retry_after;
    const std::string number = " (HTTP " + std::to_string(http) + ")";
    if (http == 401 || http == 403) {
        s.code = HF_E_AUTH;
        s.message = origin + " refused the credentials" + number + ": set \"auth\": {\"type\": \"oauth\"} in this server's configuration, or \"headers\", for example \"Authorization\".";
    } else if (http == 429) {
        s.code = HF_E_RATE_LIMITED;
        s.retryable = true;
        s.message = origin + " limits the rate of requests" + number + ".";
    } else if (http >= 500 || http == 408) {
        s.code = HF_E_UNAVAILABLE;
        s.retryable = true;
        s.message = origin + " could not answer" + number + ".";
    } else if (http >= 300 && http < 400) {
        s.code = HF_E_PEER;
        s.message = origin + " redirects elsewhere" + number + ": set \"url\" to the final address.";
    } else {
        s.code = HF_E_PEER;
        s.message = origin + " refused the message" + number + (http == 404 ? ": is \"url\" the MCP endpoint?" : ".");
    }
    return s;
}

sdk::status of_result(const net::result& r) {
    const bool timeout = r.what == net::outcome::timed_out || r.what == net::outcome::idle;
    sdk::status s{timeout ? HF_E_TIMEOUT : HF_E_TRANSPORT, r.message + "."};
    if (r.what == net::outcome::too_large) s.code = HF_E_PROTOCOL;
    if (r.what == net::outcome::invalid) s.code = HF_E_INVALID;
    s.retryable = timeout || r.what == net::outcome::refused || r.what == net::outcome::lost;
    return s;
}

bool never_sent(net::outcome o) { return o == net::outcome::refused || o == net::outcome::unresolved || o == net::outcome::tls; }

}  // namespace

void link::open() {
    if (closed_) return;
    if (server_.sse) return open_older();
    // The query may hold a key.
    sink_.opened(sdk::json_object({{"url", std::string_view(server_.url).substr(0, server_.url.find_first_of("?#"))}}));
}

net::request link::request_to_server(const char* method) const {
    net::request r;
    r.method = method;
    r.url = server_.url;
    r.headers = server_.headers;
    if (account_)
        if (std::string mine = account_->authorization(); !mine.empty()) r.headers.push_back({"Authorization", std::move(mine)});
    r.timeouts.connect = server_.connect_timeout;
    r.max_body_bytes = 0;  // messages are bounded one by one
    return r;
}

void link::add_session(net::headers& h) const {
    if (!version_.empty()) h.push_back({"MCP-Protocol-Version", version_});
    if (!session_.empty()) h.push_back({"Mcp-Session-Id", session_});
}

void link::deliver(std::string text, outgoing o) {
    if (closing_ || closed_) {
        load.fetch_sub(1);
        return;
    }
    if (older_) return older_->deliver(std::move(text), std::move(o));
    auto x = std::make_shared<exchange>();
    x->out = std::move(o);
    x->text = std::move(text);
    if (holding_) {
        held_.push_back(std::move(x));
        return;
    }
    begin(x);
}

void link::begin(const exchange_ptr& x) {
    exchanges_.emplace(x.get(), x);
    if (!x->out.modern && x->out.method == "initialize") {  // a new session, whatever was before
        session_.clear();
        version_.clear();
        if (listener_) client_.cancel(listener_->transfer);
        listener_.reset();
        listen_last_id_.clear();
    }
    if (!x->out.modern && x->out.method == "notifications/initialized") holding_ = true;
    if (!account_) return post(x);
    account_->freshen([self = shared_from_this(), x] {
        if (!x->over && !self->closed_) self->post(x);
    });
}

void link::post(const exchange_ptr& x) {
    net::request r = request_to_server("POST");
    r.headers.push_back({"Content-Type", "application/json"});
    r.headers.push_back({"Accept", "application/json, text/event-stream"});
    if (x->out.modern) {
        r.headers.insert(r.headers.end(), x->out.headers.begin(), x->out.headers.end());
        if (params_.knows(x->out.tool)) {
            const net::headers more = params_.of(x->out.tool, x->text);
            r.headers.insert(r.headers.end(), more.begin(), more.end());
        }
    } else {
        add_session(r.headers);
        x->with_session = !session_.empty();
    }
    if (account_) {
        x->sent_with = account_->authorization();
        r.body = x->text;  // perhaps once more, with other credentials
    } else {
        r.body = x->out.method == "initialize" ? x->text : std::move(x->text);  // perhaps once more, the older way
    }
    if (x->out.kind != message_kind::request) r.timeouts.total = delivery_time;
    transmit(x, std::move(r));
}

void link::transmit(const exchange_ptr& x, net::request r) {
    x->status = 0;
    x->events = false;
    x->body.clear();
    x->sse = net::sse_parser(settings_.max_message_bytes);
    const auto self = shared_from_this();
    x->transfer = client_.send(std::move(r), {[self, x](int status, const net::headers& h) { self->on_headers(*x, status, h); },
                                              [self, x](std::string_view bytes) { self->on_data(x, bytes); },
                                              [self, x](const net::result& done) { self->on_done(x, done); }});
    if (x->transfer != 0) return;
    fail(x, {HF_E_OVERLOADED, "too many requests are under way.", true});
    if (holding_ && x->out.method == "notifications/initialized") release_held();
}

void link::on_headers(exchange& x, int status, const net::headers& h) {
    if (x.over) return;
    any_answer_ = true;
    x.status = status;
    x.retry_after = asked_pause(h);
    x.events = net::media_type(net::find_header(h, "content-type")) == "text/event-stream";
    if (account_ && (status == 401 || status == 403)) x.challenge = oauth::read_challenge(h);
    if (x.out.method == "initialize")
        if (const auto id = net::find_header(h, "mcp-session-id"); visible(id)) x.session = id;
}

void link::on_data(const exchange_ptr& x, std::string_view bytes) {
    if (x->over || (good(x->status) && x->out.kind != message_kind::request)) return;
    if (good(x->status) && x->events) {
        const bool fits = x->sse.feed(bytes, [&](const net::sse_event& e) {
            if (!x->over && (e.event.empty() || e.event == "message")) hear(x, e.data, false);
        });
        if (const auto& id = x->sse.last_event_id(); !id.empty() && id != x->last_event_id) {
            x->last_event_id = id;
            x->resumes = 0;  // it went on
        }
        if (fits || x->over) return;
    } else {
        if (bytes.size() <= settings_.max_message_bytes - x->body.size()) {
            x->body += bytes;
            return;
        }
    }
    const auto transfer = x->transfer;
    fail(x, {HF_E_PROTOCOL, server_.origin + " sent a message that is longer than max_message_bytes (" + std::to_string(settings_.max_message_bytes) + ")."});
    client_.cancel(transfer);
}

void link::hear(const exchange_ptr& x, const std::string& text, bool whole) {
    const incoming in = read_incoming(text);
    if (!in.valid) return sink_.log(server_.origin + " sent something that is not a JSON-RPC message; it was ignored");
    const bool answer = in.id == x->out.id && (in.response || whole);
    if (answer && x->out.method == "initialize" && !x->out.modern) {
        session_ = x->session;
        if (net::valid_header_value(in.initialized_version)) version_ = in.initialized_version;
    }
    if (answer && x->out.method == "tools/list" && x->out.modern) params_.learn(text);
    if (answer) end(x);
    // What a server asks or tells before its answer is about the request whose stream it is on.
    if (!in.response && x->out.kind == message_kind::request) return sink_.message_of(x->out.id, text);
    sink_.message(text);
}

void link::end(const exchange_ptr& x) {
    if (std::exchange(x->over, true)) return;
    exchanges_.erase(x.get());
    load.fetch_sub(1);
    if (x->events && x->transfer) client_.after(after_the_answer, [&client = client_, t = x->transfer] { client.cancel(t); });
}

void link::fail(const exchange_ptr& x, const sdk::status& why) {
    if (x->over) return;
    end(x);
    if (x->out.kind == message_kind::request) sink_.request_failed(x->out.id, why);
    else sink_.log((x->out.method.empty() ? std::string("a response") : x->out.method) + " was not delivered: " + why.message);
}

void link::on_done(const exchange_ptr& x, const net::result& r) {
    if (!x->over && wants_credentials(*x)) return authorize(x, r);
    if (!x->over) {
        if (x->status != 0 && !good(x->status)) on_refusal(x, r);
        else if (r.what != net::outcome::ok) on_loss(x, r);
        else if (x->out.kind != message_kind::request) end(x);
        else if (x->events) on_loss(x, r);
        else {
            for (const auto& one : split_body(x->body))
                if (!closed_) hear(x, one, true);
            fail(x, {HF_E_PROTOCOL, server_.origin + " accepted the request (HTTP " + std::to_string(x->status) + ") but sent no answer to it.", false, x->status});
        }
    }
    settle(x);
}

void link::settle(const exchange_ptr& x) {
    if (!holding_ || x->out.method != "notifications/initialized" || closed_) return;
    if (good(x->status) && !closing_) listen();
    release_held();
}

// A refusal for want of credentials came before anything was done; a stream that is resumed is another matter.
bool link::wants_credentials(const exchange& x) const {
    if (!account_ || closing_ || x.resumed || x.credential_tries >= max_credential_tries) return false;
    return x.status == 401 || (x.status == 403 && x.challenge.error == "insufficient_scope");
}

void link::authorize(const exchange_ptr& x, const net::result& r) {
    ++x->credential_tries;
    x->transfer = 0;
    account_->refused(x->sent_with, {x->challenge, oauth::reach_of(r.address)}, [self = shared_from_this(), x](const sdk::status& s) {
        if (self->closed_) return;
        if (s.ok() && !x->over) return self->post(x);
        sdk::status why = s;
        why.message = self->server_.origin + ": " + why.message;
        why.peer_status = x->status;
        self->fail(x, why);
        self->settle(x);
    });
}

void link::release_held() {
    holding_ = false;
    while (!held_.empty() && !holding_ && !closed_) {
        const auto next = std::move(held_.front());
        held_.pop_front();
        begin(next);
    }
}

void link::on_refusal(const exchange_ptr& x, const net::result&) {
    if (x->status == 404 && x->with_session) {
        const sdk::status expired{HF_E_TRANSPORT, server_.origin + " no longer knows the session (HTTP 404).", true, 404};
        fail(x, expired);
        session_.clear();
        return shut(expired);
    }
    // Renewed, and refused again: whatever the body says, it is about the credentials.
    if (account_ && x->status == 401)
        return fail(x, {HF_E_AUTH, server_.origin + " does not accept the token that was granted for it" +
                                       (x->challenge.error.empty() ? "" : " (" + x->challenge.error + ")") + ": was it granted for another audience?", false, 401});
    if (fall_back(x)) return;
    if (x->out.kind == message_kind::request && !x->resumed)
        if (const auto answer = error_response(x->body, x->out.id, x->status)) {
            end(x);
            return sink_.message(*answer);
        }
    fail(x, of_status(x->status, server_.origin, x->retry_after));
}

void link::on_loss(const exchange_ptr& x, const net::result& r) {
    if (x->out.kind == message_kind::request && (r.what == net::outcome::ok || r.what == net::outcome::lost || x->resumed) && resume(x)) return;
    sdk::status why = of_result(r);
    if (r.what == net::outcome::ok) why = {HF_E_TRANSPORT, server_.origin + " ended the stream before the answer came.", true};
    const bool first = !any_answer_ && never_sent(r.what);
    fail(x, why);
    if (first) shut(why);
}

bool link::resume(const exchange_ptr& x) {
    if (x->out.modern || x->last_event_id.empty() || x->resumes >= max_resumes) return false;
    ++x->resumes;
    const milliseconds wait = std::min(longest_asked_retry, milliseconds(x->sse.retry_ms().value_or(static_cast<std::uint32_t>(first_reconnect.count()))));
    x->transfer = 0;
    return client_.after(wait, [self = shared_from_this(), x] {
        if (x->over || self->closed_) return;
        net::request again = self->request_to_server("GET");
        again.headers.push_back({"Accept", "text/event-stream"});
        self->add_session(again.headers);
        again.headers.push_back({"Last-Event-ID", x->last_event_id});
        x->resumed = true;
        self->transmit(x, std::move(again));
    });
}

void link::abandon(const std::string& id) {
    if (older_) older_->abandon(id);
    for (const auto& [at, x] : exchanges_) {
        if (x->out.kind != message_kind::request || x->out.id != id) continue;
        const auto gone = x;
        if (gone->transfer) client_.cancel(gone->transfer);
        gone->transfer = 0;
        return end(gone);
    }
    const auto it = std::find_if(held_.begin(), held_.end(), [&](const exchange_ptr& x) { return x->out.kind == message_kind::request && x->out.id == id; });
    if (it == held_.end()) return;
    held_.erase(it);
    load.fetch_sub(1);
}

// What a legacy server says of its own accord. It may offer no such stream; then there is none.
void link::listen() {
    if (!account_) return open_listener();
    account_->freshen([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->open_listener();
    });
}

void link::open_listener() {
    if (closing_ || closed_ || listener_) return;
    auto l = listener_ = std::make_shared<listener>();
    l->sse = net::sse_parser(settings_.max_message_bytes);
    net::request r = request_to_server("GET");
    r.headers.push_back({"Accept", "text/event-stream"});
    add_session(r.headers);
    if (!listen_last_id_.empty()) r.headers.push_back({"Last-Event-ID", listen_last_id_});
    if (account_) l->sent_with = account_->authorization();
    const auto self = shared_from_this();
    const auto on_headers = [l](int status, const net::headers& h) {
        l->status = status;
        l->challenge = oauth::read_challenge(h);
        l->events = net::media_type(net::find_header(h, "content-type")) == "text/event-stream";
    };
    const auto on_data = [self, l](std::string_view bytes) {
        if (self->listener_ != l || !good(l->status) || !l->events) return;
        const bool fits = l->sse.feed(bytes, [&](const net::sse_event& e) {
            l->heard = true;
            if (self->listener_ == l && read_incoming(e.data).valid) self->sink_.message(e.data);
        });
        if (!l->sse.last_event_id().empty()) self->listen_last_id_ = l->sse.last_event_id();
        if (l->sse.retry_ms()) self->listen_wait_ = std::min(longest_asked_retry, milliseconds(*l->sse.retry_ms()));
        if (!fits) self->client_.cancel(l->transfer);
    };
    const auto on_done = [self, l](const net::result& r) {
        if (self->listener_ != l) return;
        self->listener_.reset();
        if (self->account_ && l->status == 401) {
            return self->account_->refused(l->sent_with, {l->challenge, oauth::reach_of(r.address)}, [self](const sdk::status& s) {
                if (s.ok()) self->listen_again(false);
            });
        }
        const bool none = l->status >= 300 && l->status < 500 && l->status != 408 && l->status != 429;
        if (none || (good(l->status) && !l->events)) return;  // 405 and its like: the server offers none
        self->listen_again(l->heard);
    };
    l->transfer = client_.send(std::move(r), {on_headers, on_data, on_done});
    if (l->transfer == 0) listener_.reset();
}

void link::listen_again(bool heard) {
    if (closing_ || closed_) return;
    const milliseconds wait = listen_wait_;
    listen_wait_ = heard ? first_reconnect : std::min(longest_reconnect, std::max(listen_wait_, milliseconds(1)) * 2);
    client_.after(wait, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->listen();
    });
}

void link::quiet() {
    for (const auto& [at, x] : exchanges_) {
        x->over = true;
        if (x->transfer) client_.cancel(x->transfer);
    }
    load.fetch_sub(exchanges_.size() + held_.size());
    exchanges_.clear();
    held_.clear();
    if (listener_) client_.cancel(listener_->transfer);
    listener_.reset();
    if (older_) older_->close();
}

void link::close(sdk::time_point deadline) {
    if (closing_ || closed_) return;
    closing_ = true;
    quiet();
    if (session_.empty()) return shut({});
    net::request r = request_to_server("DELETE");
    add_session(r.headers);
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - std::chrono::steady_clock::now());
    r.timeouts.total = std::clamp(left, milliseconds(1), longest_goodbye);
    const auto self = shared_from_this();
    if (!client_.send(std::move(r), {nullptr, nullptr, [self](const net::result&) { self->shut({}); }})) shut({});
}

void link::shut(const sdk::status& why) {
    if (closed_) return;
    const auto keep = shared_from_this();
    const auto ended = std::move(ended_);
    drop(why);
    if (ended) ended();
}

void link::drop(const sdk::status& why) {
    if (std::exchange(closed_, true)) return;
    accepting = false;
    quiet();
    sink_.closed(closing_ ? sdk::status{} : why);
}

sdk::status status_of_refusal(int http, const std::string& origin) { return of_status(http, origin); }
sdk::status status_of_loss(const net::result& r) { return of_result(r); }

}  // namespace holdfast::transport_http
