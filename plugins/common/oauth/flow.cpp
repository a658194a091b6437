#include "oauth/flow.hpp"

#include <algorithm>

#include "net-client/http_text.hpp"
#include "net-client/url.hpp"
#include "oauth/proof_key.hpp"

namespace holdfast::oauth {
namespace {

// Asks for nothing that could be done twice, and is understood by both eras: either answers or refuses.
constexpr const char* probe_body = R"({"jsonrpc":"2.0","id":0,"method":"server/discover","params":{"_meta":{)"
    R"("io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}})";
constexpr const char* offline = "offline_access";

bool moved(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }
bool good(int status) { return status >= 200 && status < 300; }
std::string shown(const std::string& url) {
    const auto u = net::parse_url(url);
    return u ? u->origin : net::excerpt(url, 100);
}

}  // namespace

next_step flow::start() {
    if (in_.known) {
        candidates_ = resource_metadata_urls(in_.server_url, in_.known->said.resource_metadata);
        at_ = at::resource;
        return try_next();
    }
    net::request r;
    r.method = "POST";
    r.url = in_.server_url;
    r.headers = in_.server_headers;
    r.headers.push_back({"Content-Type", "application/json"});
    r.headers.push_back({"Accept", "application/json, text/event-stream"});
    r.headers.push_back({"MCP-Protocol-Version", "2026-07-28"});
    r.headers.push_back({"Mcp-Method", "server/discover"});
    r.body = probe_body;
    return ask(std::move(r));
}

next_step flow::ask(net::request r) {
    asked_ = r.url;
    r.timeouts.total = fetch_time;
    r.max_body_bytes = max_document_bytes;
    if (in_.known) {
        if (const auto why = refusal(r.url, in_.server_url, in_.known->server_reach); !why.empty())
            return failure(HF_E_AUTH, shown(r.url) + ", which " + shown(in_.server_url) + " leads to, is not asked: " + why + ".");
        r.may_connect = [server = in_.known->server_reach](std::string_view address) { return may_reach(server, reach_of(address)); };
    }
    return step::fetch{std::move(r)};
}

next_step flow::get(const std::string& url) {
    net::request r;
    r.url = url;
    r.headers = {{"Accept", "application/json"}, {"MCP-Protocol-Version", "2026-07-28"}};
    return ask(std::move(r));
}

next_step flow::try_next() {
    redirects_ = 0;
    if (!candidates_.empty()) {
        const std::string url = candidates_.front();
        candidates_.erase(candidates_.begin());
        return get(url);
    }
    if (!first_problem_.empty()) return failure(HF_E_AUTH, first_problem_ + ".");
    if (at_ == at::resource && in_.known->said.resource_metadata.empty()) {
        // Servers of 2025-03-26 are their own authorization server and say so nowhere.
        const auto u = net::parse_url(in_.server_url);
        resource_.resource = canonical_resource(in_.server_url);
        resource_.authorization_servers = {u ? u->origin : in_.server_url};
        return choose_server();
    }
    if (at_ == at::resource) return failure(HF_E_AUTH, shown(in_.server_url) + " names a document about its authorization that is not there.");
    return failure(HF_E_AUTH, net::excerpt(issuer_, 200) + " publishes no metadata: it cannot be used as an authorization server.");
}

next_step flow::on_answer(const answer& a, wall_time now) {
    if (at_ == at::probe) return on_probe(a);
    if (a.result.what != net::outcome::ok) {
        const bool hopeless = a.result.what == net::outcome::forbidden || a.result.what == net::outcome::invalid;
        return failure(hopeless ? HF_E_AUTH : HF_E_UNAVAILABLE, a.result.message + ".", !hopeless);
    }
    try {
        if (at_ == at::registering) {
            registered_ = read_registration(a.result.status, a.body, server_, in_.redirect_uri);
            client_ = registered_->client;
            return authorize();
        }
    } catch (const sdk::plugin_error& e) {
        return step::failed{e.status()};
    }
    if (at_ == at::token) return on_token(a, now);
    if (at_ == at::visiting) return failure(HF_E_INTERNAL, "an answer that nobody asked for.");
    return on_document(a, now);
}

next_step flow::on_probe(const answer& a) {
    if (a.result.status == 0) return failure(HF_E_UNAVAILABLE, a.result.message + ".", true);
    in_.known = refused{a.result.status == 401 || a.result.status == 403 ? read_challenge(a.headers) : challenge{}, reach_of(a.result.address)};
    candidates_ = resource_metadata_urls(in_.server_url, in_.known->said.resource_metadata);
    at_ = at::resource;
    return try_next();
}

next_step flow::on_document(const answer& a, wall_time now) {
    if (moved(a.result.status)) {
        const auto to = net::resolve_url(asked_, net::find_header(a.headers, "location"));
        if (to && same_origin(*to, asked_) && ++redirects_ <= max_redirects) return get(*to);
        if (first_problem_.empty()) first_problem_ = shown(asked_) + " redirects its metadata elsewhere";
        return try_next();
    }
    if (a.result.status >= 500) return failure(HF_E_UNAVAILABLE, shown(asked_) + " could not answer (HTTP " + std::to_string(a.result.status) + ").", true);
    if (!good(a.result.status)) return try_next();
    try {
        if (at_ == at::resource) {
            resource_ = read_resource_metadata(a.body, in_.server_url);
            first_problem_.clear();
            return choose_server();
        }
        server_ = read_server_metadata(a.body, issuer_);
        first_problem_.clear();
        return identify(now);
    } catch (const sdk::plugin_error& e) {
        if (e.status().code == HF_E_AUTH) return step::failed{e.status()};
        if (first_problem_.empty()) first_problem_ = e.status().message;
        return try_next();
    }
}

next_step flow::choose_server() {
    const auto& offered = resource_.authorization_servers;
    const auto is = [&](const std::string& issuer) { return std::find(offered.begin(), offered.end(), issuer) != offered.end(); };
    issuer_ = offered.front();
    if (in_.before && is(in_.before->issuer)) issuer_ = in_.before->issuer;
    if (!in_.own.issuer.empty()) {
        if (!is(in_.own.issuer)) return failure(HF_E_AUTH, shown(in_.server_url) + " no longer names " + in_.own.issuer + " (\"issuer\") as its authorization server.");
        issuer_ = in_.own.issuer;
    } else if (!in_.own.client_id.empty() && in_.before && in_.before->issuer != issuer_) {
        // What was registered at one server is nothing to show to another.
        return failure(HF_E_AUTH, shown(in_.server_url) + " now names another authorization server (" + net::excerpt(issuer_, 200) + ") than the one \"client_id\" was used with: check it, then log out and set \"issuer\".");
    }
    if (in_.before && in_.before->issuer != issuer_) in_.before.reset();
    candidates_ = server_metadata_urls(issuer_);
    at_ = at::server;
    return try_next();
}

std::vector<std::string> flow::wanted_scopes() const {
    std::vector<std::string> all = in_.own.scopes;
    if (all.empty()) all = !in_.known->said.scopes.empty() ? in_.known->said.scopes : resource_.scopes;
    else if (in_.known->said.error == "insufficient_scope") unite(all, in_.known->said.scopes);
    unite(all, in_.missed);
    if (in_.before) unite(all, in_.before->scopes);
    const bool lasting = in_.own.kind == settings::grant::authorization_code && includes(server_.scopes, {offline});
    if (!all.empty() && lasting) unite(all, {offline});
    return all;
}

next_step flow::identify(wall_time now) {
    scopes_ = wanted_scopes();
    if (in_.own.kind == settings::grant::client_credentials) {
        client_ = *choose_identity(in_.own, server_, {}, {}, now).known;
        fields body{{"grant_type", "client_credentials"}, {"resource", resource_.resource}};
        if (!scopes_.empty()) body.emplace_back("scope", joined(scopes_));
        at_ = at::token;
        return ask(token_request(server_.token_endpoint, client_, std::move(body)));
    }
    if (!server_.s256) return failure(HF_E_AUTH, net::excerpt(issuer_, 200) + " does not offer PKCE with S256: logging in there would not be safe.");
    auto choice = choose_identity(in_.own, server_, in_.made, in_.redirect_uri, now);
    if (choice.known) {
        client_ = std::move(*choice.known);
        return authorize();
    }
    at_ = at::registering;
    return ask(registration_request(server_, in_.redirect_uri, scopes_));
}

next_step flow::authorize() {
    const std::string& endpoint = server_.authorization_endpoint;
    if (endpoint.empty() || endpoint.find('#') != std::string::npos)
        return failure(HF_E_AUTH, net::excerpt(issuer_, 200) + " has no usable authorization endpoint.");
    if (const auto why = refusal(endpoint, in_.server_url, in_.known->server_reach); !why.empty())
        return failure(HF_E_AUTH, "the authorization endpoint of " + net::excerpt(issuer_, 200) + " cannot be shown to a person: " + why + ".");
    fields query{{"response_type", "code"}, {"client_id", client_.client_id}, {"redirect_uri", in_.redirect_uri}, {"state", in_.state},
                 {"code_challenge", s256(in_.verifier)}, {"code_challenge_method", "S256"}, {"resource", resource_.resource}};
    if (!scopes_.empty()) query.emplace_back("scope", joined(scopes_));
    if (includes(scopes_, {offline})) query.emplace_back("prompt", "consent");  // OpenID Connect gives no lasting access without
    at_ = at::visiting;
    return step::visit{endpoint + (endpoint.find('?') == std::string::npos ? "?" : "&") + form_encode(query)};
}

std::optional<next_step> flow::on_redirect(std::string_view text) {
    const auto query = form_decode(text);
    if (at_ != at::visiting || !query || sole(*query, "state") != in_.state) return std::nullopt;
    for (const char* name : {"iss", "code", "error"})
        if (repeated(*query, name)) return failure(HF_E_AUTH, "the authorization server's answer is ambiguous.");
    // Before anything else of it is believed (RFC 9207, 2.4); letter by letter.
    const auto iss = sole(*query, "iss");
    if (iss && *iss != server_.issuer) return failure(HF_E_AUTH, "the answer came from another authorization server than " + net::excerpt(server_.issuer, 200) + "; it was not used.");
    if (!iss && server_.iss_promised) return failure(HF_E_AUTH, "the answer does not say that it came from " + net::excerpt(server_.issuer, 200) + ", which promises to; it was not used.");
    const auto error = sole(*query, "error");
    if (error) {
        const std::string name = error_name(*error);
        return failure(HF_E_AUTH, "the login was refused" + (name.empty() ? std::string() : " (" + name + ")") + ".");
    }
    const auto code = sole(*query, "code");
    if (!code || code->empty()) return failure(HF_E_AUTH, "the authorization server's answer holds no code.");
    at_ = at::token;
    return ask(token_request(server_.token_endpoint, client_,
                             {{"grant_type", "authorization_code"}, {"code", *code}, {"redirect_uri", in_.redirect_uri},
                              {"code_verifier", in_.verifier}, {"resource", resource_.resource}}));
}

next_step flow::on_token(const answer& a, wall_time now) {
    const token_answer t = read_token_answer(a.result.status, a.body);
    if (t.access_token.empty())
        return failure(t.definite ? HF_E_AUTH : HF_E_UNAVAILABLE, net::excerpt(issuer_, 200) + " gave no token (" + t.error + ").", !t.definite);
    grant g;
    g.server_url = in_.server_url;
    g.issuer = issuer_;
    g.resource = resource_.resource;
    g.token_endpoint = server_.token_endpoint;
    g.client = client_;
    g.scopes = scopes_;
    g.server_reach = in_.known->server_reach;
    accept(g, t, now);
    step::done d{std::move(g), std::nullopt};
    if (registered_) d.registered.emplace(issuer_, *registered_);
    return d;
}

}  // namespace holdfast::oauth
