#include "transport-http/sse_link.hpp"

#include <algorithm>

#include "net-client/http_text.hpp"
#include "net-client/url.hpp"
#include "transport-http/link.hpp"

namespace holdfast::transport_http {
namespace {
using std::chrono::milliseconds;
bool good(int status) { return status >= 200 && status < 300; }
}  // namespace

void sse_link::open() {
    listen();
    if (closed_) return;
    client_.after(std::min(server_.connect_timeout, longest_wait_for_endpoint), [weak = weak_from_this()] {
        const auto late = weak.lock();
        if (late && late->endpoint_.empty()) late->fail({HF_E_TIMEOUT, late->server_.origin + " did not name its endpoint in time.", true});
    });
}

bool sse_link::renew(int status, credentials& with, const net::result& r, std::function<void(const sdk::status&)> then) {
    if (!hooks_.account || closed_ || with.tries >= max_credential_tries) return false;
    if (status != 401 && !(status == 403 && with.challenge.error == "insufficient_scope")) return false;
    ++with.tries;
    hooks_.account->refused(with.sent, {with.challenge, oauth::reach_of(r.address)}, [self = shared_from_this(), status, then = std::move(then)](sdk::status s) {
        if (self->closed_) return;
        if (!s.ok()) {
            s.message = self->server_.origin + ": " + s.message;
            s.peer_status = status;
        }
        then(s);
    });
    return true;
}

void sse_link::listen() {
    net::request r = hooks_.request("GET");
    r.headers.push_back({"Accept", "text/event-stream"});
    with_.sent = net::find_header(r.headers, "authorization");
    status_ = 0;
    const auto self = shared_from_this();
    transfer_ = client_.send(std::move(r), {[self](int status, const net::headers& h) {
                                                self->status_ = status;
                                                self->with_.challenge = oauth::read_challenge(h);
                                                self->events_ = net::media_type(net::find_header(h, "content-type")) == "text/event-stream";
                                                if (!self->closed_ && (!good(status) || !self->events_)) self->client_.cancel(self->transfer_);
                                            },
                                            [self](std::string_view bytes) {
                                                if (self->closed_ || !good(self->status_) || !self->events_) return;
                                                const bool fits = self->stream_.feed(bytes, [&self](const net::sse_event& e) { self->hear(e); });
                                                if (!fits) self->fail({HF_E_PROTOCOL, self->server_.origin + " sent a message that is longer than max_message_bytes (" +
                                                                                          std::to_string(self->settings_.max_message_bytes) + ")."});
                                            },
                                            [self](const net::result& done) {
                                                if (self->closed_) return;
                                                if (self->renew(self->status_, self->with_, done, [self](const sdk::status& s) { return s.ok() ? self->listen() : self->fail(s); })) return;
                                                if (self->status_ != 0 && !good(self->status_)) return self->fail(status_of_refusal(self->status_, self->server_.origin));
                                                if (self->status_ != 0 && !self->events_) return self->fail({HF_E_PROTOCOL, self->server_.origin + " answered with something that is no event stream."});
                                                if (done.what != net::outcome::ok) return self->fail(status_of_loss(done));
                                                self->fail({HF_E_TRANSPORT, self->server_.origin + " ended the event stream.", true});
                                            }});
    if (transfer_ == 0) fail({HF_E_OVERLOADED, "too many requests are under way.", true});
}

void sse_link::hear(const net::sse_event& e) {
    if (closed_) return;
    if (endpoint_.empty()) {
        if (e.event != "endpoint") return fail({HF_E_PROTOCOL, server_.origin + " began its event stream with something else than its endpoint."});
        return learn_endpoint(e.data);
    }
    if (!e.event.empty() && e.event != "message") return;
    if (!read_incoming(e.data).valid) return sink_.log(server_.origin + " sent something that is not a JSON-RPC message; it was ignored");
    sink_.message(e.data);
}

// Messages hold what the operator trusts this server with, and the headers its secrets: they go nowhere else.
void sse_link::learn_endpoint(const std::string& reference) {
    const auto url = net::resolve_url(server_.url, reference);
    const auto parts = url ? net::parse_url(*url) : std::nullopt;
    const auto own = net::parse_url(server_.url);
    if (!parts || parts->has_credentials || parts->scheme != own->scheme || parts->host != own->host || parts->port != own->port)
        return fail({HF_E_PROTOCOL, server_.origin + " named an endpoint at another origin (" + (parts ? parts->origin : "no URL") + "): it is not used."});
    endpoint_ = *url;
    hooks_.opened();
    send_waiting();
}

void sse_link::deliver(std::string text, outgoing o) {
    if (closed_) return hooks_.taken();
    auto m = std::make_shared<message>();
    m->text = std::move(text);
    m->out = std::move(o);
    // The newest era cannot be spoken here: told as a server of Streamable HTTP would that does not know it either.
    if (m->out.modern) {
        sink_.request_failed(m->out.id, {HF_E_PEER, server_.origin + " speaks HTTP with SSE of 2024-11-05 only.", false, 405});
        return hooks_.taken();
    }
    waiting_.push_back(std::move(m));
    send_waiting();
}

void sse_link::send_waiting() {
    while (!closed_ && !endpoint_.empty() && !holding_ && !waiting_.empty()) {
        const auto next = std::move(waiting_.front());
        waiting_.pop_front();
        post(next);
    }
}

void sse_link::post(const message_ptr& m) {
    holding_ = m->out.method == "notifications/initialized";
    under_way_.push_back(m);
    if (!hooks_.account) return transmit(m);
    hooks_.account->freshen([self = shared_from_this(), m] {
        if (!self->closed_ && !m->over) self->transmit(m);
    });
}

void sse_link::transmit(const message_ptr& m) {
    net::request r = hooks_.request("POST");
    r.url = endpoint_;
    r.headers.push_back({"Content-Type", "application/json"});
    m->with.sent = net::find_header(r.headers, "authorization");
    if (hooks_.account) r.body = m->text;  // perhaps once more, with other credentials
    else r.body = std::move(m->text);
    r.max_body_bytes = settings_.max_message_bytes;
    m->status = 0;
    const auto self = shared_from_this();
    m->transfer = client_.send(std::move(r), {[m](int status, const net::headers& h) {
                                                  m->status = status;
                                                  m->with.challenge = oauth::read_challenge(h);
                                              },
                                              nullptr, [self, m](const net::result& r) { self->on_posted(m, r); }});
    if (m->transfer == 0) on_posted(m, {net::outcome::failed, 0, "too many requests are under way"});
}

void sse_link::on_posted(const message_ptr& m, const net::result& r) {
    if (closed_ || m->over) return;
    const auto again = [self = shared_from_this(), m](const sdk::status& s) {
        if (s.ok()) return self->transmit(m);
        self->settle(m, s);
    };
    if (renew(m->status, m->with, r, again)) return;
    settle(m, r.what == net::outcome::ok && good(m->status) ? sdk::status{}
              : m->status != 0 && !good(m->status)          ? status_of_refusal(m->status, server_.origin)
                                                            : status_of_loss(r));
}

void sse_link::settle(const message_ptr& m, const sdk::status& why) {
    if (std::exchange(m->over, true)) return;
    under_way_.erase(std::remove(under_way_.begin(), under_way_.end(), m), under_way_.end());
    if (m->out.method == "notifications/initialized") holding_ = false;
    hooks_.taken();
    if (!why.ok()) {
        if (m->out.kind == message_kind::request) sink_.request_failed(m->out.id, why);
        else sink_.log((m->out.method.empty() ? std::string("a response") : m->out.method) + " was not delivered: " + why.message);
    }
    send_waiting();
}

// What has been delivered is not taken back: the answer is ignored when it comes. What waits is never sent.
void sse_link::abandon(const std::string& id) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(), [&](const message_ptr& m) { return m->out.kind == message_kind::request && m->out.id == id; });
    if (it == waiting_.end()) return;
    waiting_.erase(it);
    hooks_.taken();
}

void sse_link::close() {
    if (std::exchange(closed_, true)) return;
    if (transfer_) client_.cancel(transfer_);
    for (const auto& m : under_way_)
        if (m->transfer) client_.cancel(m->transfer);
    const std::size_t left = under_way_.size() + waiting_.size();
    under_way_.clear();
    waiting_.clear();
    for (std::size_t i = 0; i < left; ++i) hooks_.taken();
    hooks_ = {};
}

void sse_link::fail(const sdk::status& why) {
    if (closed_) return;
    const auto keep = shared_from_this();
    const auto over = hooks_.over;
    close();
    over(why);
}

}  // namespace holdfast::transport_http
