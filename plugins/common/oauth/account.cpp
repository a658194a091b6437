#include "oauth/account.hpp"

#include "net-client/url.hpp"
#include "oauth/proof_key.hpp"

namespace holdfast::oauth {

// One flow under way, with or without a person.
struct account::attempt {
    explicit attempt(flow_inputs in) : steps(std::move(in)) {}
    flow steps;
    std::shared_ptr<login_page> page;
    std::string url;  // once it is known
    login_page::show answer;
    std::vector<std::function<void(const std::string&)>> shown;
    std::vector<then> ended;
    bool over = false;
};

account::account(const surroundings& around, std::string name, std::string server_url, net::headers server_headers, settings own)
    : around_(around), name_(std::move(name)), server_url_(std::move(server_url)), server_headers_(std::move(server_headers)), own_(std::move(own)) {}

// What another generation of the plugin wrote counts too; so this is called again before anything is renewed.
void account::load() {
    if (unsaved_) return keep_granted();
    loaded_ = true;
    credentials c = around_.file()->load();
    clients_ = std::move(c.clients);
    const auto it = c.grants.find(name_);
    granted_.reset();
    if (it == c.grants.end()) return;
    // Granted for another server, or to another client: as if it were not there.
    const grant& g = it->second;
    if (g.server_url != server_url_ || (!own_.client_id.empty() && g.client.client_id != own_.client_id)) return;
    if (!own_.issuer.empty() && g.issuer != own_.issuer) return;
    granted_ = std::move(it->second);
    // A secret in the configuration is never older than a kept one.
    if (!own_.client_id.empty()) granted_->client.client_secret = own_.client_secret;
}

void account::keep(const std::function<void(credentials&)>& f) {
    around_.file()->change([&](credentials& c) {
        f(c);
        if (!own_.client_secret.empty())  // stays where the operator put it
            if (const auto it = c.grants.find(name_); it != c.grants.end()) it->second.client.client_secret.clear();
    });
}

// A full disk must not cost a token that is there: it goes on from memory, and the next look at the file tries again.
void account::keep_granted() {
    try {
        keep([&](credentials& c) { c.grants[name_] = *granted_; });
        unsaved_ = false;
    } catch (const sdk::plugin_error& e) {
        if (e.status().code != HF_E_IO && e.status().code != HF_E_READ_ONLY) throw;
        unsaved_ = true;
    }
}

std::string account::authorization() const { return granted_ && !granted_->access_token.empty() ? "Bearer " + granted_->access_token : std::string(); }

sdk::status account::needs_person(const std::string& why) const {
    return {HF_E_AUTH, why + ": a person has to log in; run `holdfast server login " + name_ + "`."};
}

void account::freshen(std::function<void()> go) {
    try {
        if (!loaded_) load();
    } catch (const sdk::plugin_error&) {  // refused() says so when it matters
    }
    const auto now = around_.now();
    if (!granted_ || !expiring(*granted_, now) || now < renew_after_ || !renewable()) return go();
    renew([go = std::move(go)](const sdk::status&) { go(); });  // what still counts is the server's to say
}

void account::refused(const std::string& sent, oauth::refused r, then t) {
    const bool insufficient = r.said.error == "insufficient_scope";
    known_ = std::move(r);
    const std::string have = authorization();
    if (!have.empty() && have != sent) return t({});  // renewed while it was under way
    if (insufficient) {
        if (granted_ && includes(granted_->scopes, known_->said.scopes))
            return t({HF_E_AUTH, "the server refuses although all it asks for (" + joined(known_->said.scopes) + ") was granted."});
        unite(missed_, known_->said.scopes);
        if (missed_.size() > max_scopes) missed_.resize(max_scopes);
        if (!alone()) return t(needs_person("the server wants more permissions (" + joined(known_->said.scopes) + ")"));
    }
    if (!renewable()) {
        const std::string why = have.empty() ? "the server wants credentials" : "the server does not accept the credentials any more";
        return t(needs_person(why + (known_->said.error.empty() ? "" : " (" + known_->said.error + ")")));
    }
    renew(std::move(t));
}

void account::renew(then t) {
    if (waiting_.size() >= max_waiting) return t({HF_E_OVERLOADED, "too many requests wait for credentials.", true});
    waiting_.push_back(std::move(t));
    if (std::exchange(renewing_, true)) return;
    const std::string before = authorization();
    try {
        load();
    } catch (const sdk::plugin_error& e) {
        return renewed(e.status());
    }
    if (!authorization().empty() && authorization() != before && !expiring(*granted_, around_.now())) return renewed({});
    if (granted_ && !granted_->refresh_token.empty()) return refresh();
    if (!alone()) return renewed(needs_person("the credentials cannot be renewed"));
    const auto a = std::make_shared<attempt>(inputs({}));
    a->ended.push_back([self = shared_from_this()](const sdk::status& s) { self->renewed(s); });
    run(a, a->steps.start());
}

void account::renewed(const sdk::status& s) {
    renewing_ = false;
    renew_after_ = s.ok() ? wall_time{} : around_.now() + renewal_pause;
    std::vector<then> all;
    all.swap(waiting_);
    for (auto& t : all) t(s);
}

void account::refresh() {
    net::request r = refresh_request(*granted_);
    if (const auto why = refusal(r.url, server_url_, granted_->server_reach); !why.empty()) return renewed(needs_person("the credentials cannot be renewed"));
    r.timeouts.total = fetch_time;
    r.max_body_bytes = max_document_bytes;
    r.may_connect = [server = granted_->server_reach](std::string_view address) { return may_reach(server, reach_of(address)); };
    perform(std::move(r), [self = shared_from_this(), sent = granted_->refresh_token](const answer& a) { self->on_refreshed(sent, a); });
}

void account::on_refreshed(const std::string& sent, const answer& a) {
    // A person has logged in meanwhile: what this answer says is of credentials that are no longer used.
    if (granted_ && granted_->refresh_token != sent) return renewed({});
    if (a.result.what != net::outcome::ok) return renewed({HF_E_UNAVAILABLE, "the credentials could not be renewed: " + a.result.message + ".", true});
    if (!granted_) return renewed(needs_person("the credentials were removed"));
    const token_answer t = read_token_answer(a.result.status, a.body);
    if (t.access_token.empty() && !t.ended) return renewed(not_renewed(t));  // the refresh token is perhaps as good as before
    grant g = *granted_;
    if (t.ended) g.access_token.clear(), g.refresh_token.clear();
    else accept(g, t, around_.now());
    granted_ = g;  // first of all: the old refresh token may be of no use any more
    try {
        keep_granted();
    } catch (const sdk::plugin_error& e) {
        return renewed(e.status());
    }
    renewed(t.ended ? not_renewed(t) : sdk::status{});
}

sdk::status account::not_renewed(const token_answer& t) const {
    const std::string what = "the credentials could not be renewed (" + t.error + ")";
    if (!t.definite) return {HF_E_UNAVAILABLE, what + ".", true};
    if (!t.ended && !own_.client_id.empty()) return {HF_E_AUTH, what + ": check \"client_id\" and \"client_secret\" in this server's \"auth\"."};
    return needs_person(what);
}

flow_inputs account::inputs(std::string redirect_uri) const {
    return {own_, server_url_, server_headers_, known_, granted_, clients_, std::move(redirect_uri), unguessable(), unguessable(), missed_};
}

void account::login(std::function<void(const std::string&)> shown, then t) {
    if (alone()) return t({HF_E_UNSUPPORTED, "this server's credentials need no person (\"grant\": \"client_credentials\")."});
    if (login_) {
        if (login_->url.empty()) login_->shown.push_back(std::move(shown));
        else shown(login_->url);
        login_->ended.push_back(std::move(t));
        return;
    }
    try {
        load();
        // The port of the last login first: some servers take a registered address literally.
        std::uint16_t port = own_.redirect_port;
        const std::string before = granted_ ? granted_->issuer : std::string();
        const auto visited = [weak = weak_from_this(), client = around_.client](std::string query, login_page::show answer) {
            const bool taken = client->post([weak, query = std::move(query), answer] {
                const auto self = weak.lock();
                const auto a = self ? self->login_ : nullptr;
                auto next = a && !a->answer ? a->steps.on_redirect(query) : std::nullopt;
                if (!next) return answer(false, "This address belongs to no login that is under way.");
                a->answer = answer;
                self->run(a, std::move(*next));
            });
            if (!taken) answer(false, "The host is too busy.");
        };
        std::shared_ptr<login_page> page;
        if (const auto it = clients_.find(before); port == 0 && it != clients_.end()) {
            const auto u = net::parse_url(it->second.redirect_uri);
            try {
                if (u) page = login_page::open(static_cast<std::uint16_t>(u->port), visited);
            } catch (const sdk::plugin_error&) {  // taken by now: another port, another registration
            }
        }
        if (!page) page = login_page::open(port, visited);
        around_.serve(page);
        login_ = std::make_shared<attempt>(inputs(page->redirect_uri()));
        login_->page = std::move(page);
        login_->shown.push_back(std::move(shown));
        login_->ended.push_back(std::move(t));
    } catch (const sdk::plugin_error& e) {
        return t(e.status());
    }
    around_.client->after(login_time, [weak = weak_from_this(), a = std::weak_ptr(login_)] {
        const auto self = weak.lock();
        const auto late = a.lock();
        if (self && late) self->finish(late, {HF_E_TIMEOUT, "nobody logged in within ten minutes."});
    });
    const auto a = login_;
    run(a, a->steps.start());
}

void account::run(std::shared_ptr<attempt> a, next_step s) {
    if (a->over) return;
    if (auto* f = std::get_if<step::fetch>(&s)) {
        return perform(std::move(f->what), [self = shared_from_this(), a](const answer& got) {
            if (!a->over) self->run(a, a->steps.on_answer(got, self->around_.now()));
        });
    }
    if (const auto* v = std::get_if<step::visit>(&s)) {
        a->url = v->url;
        for (const auto& tell : std::exchange(a->shown, {})) tell(v->url);
        return;
    }
    if (const auto* f = std::get_if<step::failed>(&s)) return finish(a, f->why);
    auto& done = std::get<step::done>(s);
    granted_ = done.got;
    std::erase_if(missed_, [&](const std::string& one) { return includes(granted_->scopes, {one}); });  // some may have come meanwhile
    try {
        keep([&](credentials& c) {
            c.grants[name_] = done.got;
            if (done.registered) c.clients[done.registered->first] = done.registered->second;
        });
    } catch (const sdk::plugin_error& e) {
        unsaved_ = true;
        sdk::status why = e.status();
        why.message = "the login is good until the host restarts: " + why.message;
        return finish(a, why);
    }
    unsaved_ = false;
    finish(a, {});
}

void account::finish(const std::shared_ptr<attempt>& a, const sdk::status& s) {
    if (std::exchange(a->over, true)) return;
    if (login_ == a) login_.reset();
    if (s.code == HF_E_AUTH && clients_.count(a->steps.issuer()) > 0) {
        // Perhaps the server has forgotten the client: register again next time.
        try {
            keep([&](credentials& c) { c.clients.erase(a->steps.issuer()); });
        } catch (const sdk::plugin_error&) {
        }
    }
    if (a->answer) a->answer(s.ok(), s.ok() ? std::string_view("You can close this window.") : std::string_view(s.message));
    if (a->page) a->page->close();
    for (const auto& t : std::exchange(a->ended, {})) t(s);
}

sdk::status account::logout() {
    abort({HF_E_CANCELLED, "logged out."});
    try {
        if (!loaded_) load();
        const std::string issuer = granted_ ? granted_->issuer : std::string();
        keep([&](credentials& c) {
            c.grants.erase(name_);
            c.clients.erase(issuer);
        });
    } catch (const sdk::plugin_error& e) {
        return e.status();
    }
    granted_.reset();
    known_.reset();
    missed_.clear();
    unsaved_ = false;
    return {};
}

void account::abort(const sdk::status& why) {
    if (const auto a = login_) finish(a, why);
}

void account::perform(net::request r, std::function<void(const answer&)> on) {
    const auto a = std::make_shared<answer>();  // owners: the three callbacks
    const auto done = [a, on](const net::result& result) {
        a->result = result;
        on(*a);
    };
    if (around_.client->send(std::move(r), {[a](int, const net::headers& h) { a->headers = h; }, [a](std::string_view bytes) { a->body += bytes; }, done})) return;
    a->result = {net::outcome::failed, 0, "too many requests are under way"};
    on(*a);
}

}  // namespace holdfast::oauth
