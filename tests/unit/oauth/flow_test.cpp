// The way to a token against a scripted world: no network, no clock.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "net-client/http_client.hpp"
#include "oauth/flow.hpp"
#include "oauth/form.hpp"
#include "oauth/proof_key.hpp"

namespace {
using namespace holdfast::oauth;
namespace net = holdfast::net;
using nlohmann::json;
using strings = std::vector<std::string>;

const std::string mcp = "https://mcp.example/mcp", as = "https://as.example";
const std::string resource_doc = "https://mcp.example/.well-known/oauth-protected-resource/mcp", server_doc = as + "/.well-known/oauth-authorization-server";

struct world {
    flow_inputs in{{}, mcp, {{"X-Key", "k"}}, refused{{true, "", {}, ""}, reach::everywhere}, {}, {}, "http://127.0.0.1:5/callback", "the-state", "the-verifier"};
    std::map<std::string, std::pair<int, std::string>> pages;
    std::map<std::string, net::headers> page_headers;
    std::vector<net::request> asked;
    net::result network;            // for pages that are not there: outcome other than ok
    std::optional<flow> f;

    world() {
        resource({{"resource", mcp}, {"authorization_servers", {as}}});
        server(json::object());
        pages[as + "/token"] = {200, R"({"access_token":"T","token_type":"Bearer","expires_in":60,"refresh_token":"R"})"};
        pages[as + "/register"] = {201, R"({"client_id":"made"})"};
    }
    void resource(json o) { pages[resource_doc] = {200, o.dump()}; }
    void server(const json& more) {
        json o = {{"issuer", as}, {"authorization_endpoint", as + "/authorize"}, {"token_endpoint", as + "/token"}, {"registration_endpoint", as + "/register"},
                  {"code_challenge_methods_supported", {"S256"}}};
        o.merge_patch(more);
        pages[server_doc] = {200, o.dump()};
    }
    next_step drive(next_step s) {
        while (auto* fetch = std::get_if<step::fetch>(&s)) {
            asked.push_back(fetch->what);
            answer a;
            a.result.address = "203.0.113.1";
            const auto it = pages.find(fetch->what.url);
            if (it != pages.end()) {
                a.result.status = it->second.first;
                a.body = it->second.second;
                a.headers = page_headers[fetch->what.url];
            } else if (network.what != net::outcome::ok) {
                a.result = network;
            } else {
                a.result.status = 404;
            }
            s = f->on_answer(a, wall_time(std::chrono::seconds(1000)));
            if (asked.size() > 50) {
                ADD_FAILURE() << "no end";
                break;
            }
        }
        return s;
    }
    next_step start() {
        f.emplace(in);
        return drive(f->start());
    }
    fields query(const next_step& s) {
        const auto* v = std::get_if<step::visit>(&s);
        EXPECT_TRUE(v) << why(s);
        return v ? *form_decode(v->url.substr(v->url.find('?') + 1)) : fields();
    }
    next_step come_back(const std::string& query) {
        auto s = f->on_redirect(query);
        EXPECT_TRUE(s) << "ignored";
        return s ? drive(std::move(*s)) : next_step(step::failed{});
    }
    static std::string why(const next_step& s) {
        const auto* f = std::get_if<step::failed>(&s);
        return f ? f->why.message : "";
    }
    strings urls() const {
        strings out;
        for (const auto& r : asked) out.push_back(r.url);
        return out;
    }
};

TEST(oauth_flow, goes_all_the_way) {
    world w;
    w.in.known.reset();
    w.pages[mcp] = {401, ""};
    w.page_headers[mcp] = {{"www-authenticate", "Bearer scope=\"a b\""}};
    const auto q = w.query(w.start());
    EXPECT_EQ(sole(q, "response_type"), "code");
    EXPECT_EQ(sole(q, "client_id"), "made");
    EXPECT_EQ(sole(q, "redirect_uri"), "http://127.0.0.1:5/callback");
    EXPECT_EQ(sole(q, "state"), "the-state");
    EXPECT_EQ(sole(q, "code_challenge"), s256("the-verifier"));
    EXPECT_EQ(sole(q, "code_challenge_method"), "S256");
    EXPECT_EQ(sole(q, "resource"), mcp);
    EXPECT_EQ(sole(q, "scope"), "a b");
    EXPECT_FALSE(w.f->on_redirect("code=C&state=other")) << "a stranger's visit ends nothing";
    EXPECT_FALSE(w.f->on_redirect("code=C"));
    const auto end = w.come_back("code=C&state=the-state");
    const auto* done = std::get_if<step::done>(&end);
    ASSERT_TRUE(done) << world::why(end);
    EXPECT_EQ(done->got.access_token, "T");
    EXPECT_EQ(done->got.refresh_token, "R");
    EXPECT_EQ(done->got.issuer, as);
    EXPECT_EQ(done->got.resource, mcp);
    EXPECT_EQ(done->got.scopes, (strings{"a", "b"}));
    EXPECT_EQ(done->registered->first, as);
    EXPECT_EQ(w.urls(), (strings{mcp, resource_doc, server_doc, as + "/register", as + "/token"}));
    const auto body = *form_decode(w.asked.back().body);
    EXPECT_EQ(sole(body, "grant_type"), "authorization_code");
    EXPECT_EQ(sole(body, "code"), "C");
    EXPECT_EQ(sole(body, "code_verifier"), "the-verifier");
    EXPECT_EQ(sole(body, "resource"), mcp);
    EXPECT_EQ(sole(body, "redirect_uri"), "http://127.0.0.1:5/callback");
    for (std::size_t i = 1; i < w.asked.size(); ++i) {
        EXPECT_TRUE(net::find_header(w.asked[i].headers, "x-key").empty()) << "the server's own header at " << w.asked[i].url;
        EXPECT_TRUE(w.asked[i].may_connect && !w.asked[i].may_connect("127.0.0.1") && w.asked[i].may_connect("8.8.8.8"));
        EXPECT_GT(w.asked[i].timeouts.total.count(), 0);
        EXPECT_EQ(w.asked[i].max_body_bytes, max_document_bytes);
    }
}

TEST(oauth_flow, the_issuer_of_an_answer_is_checked_first) {
    struct row {
        bool promised;
        const char* iss;
        bool accepted;
    };
    for (const row& r : {row{true, "https://as.example", true}, row{true, nullptr, false}, row{true, "https://evil.example", false}, row{true, "https://as.example/", false},
                         row{true, "https://AS.example", false}, row{true, "", false}, row{false, nullptr, true}, row{false, "https://as.example", true},
                         row{false, "https://evil.example", false}}) {
        for (const char* with : {"code=C", "error=access_denied"}) {
            world w;
            w.server({{"authorization_response_iss_parameter_supported", r.promised}});
            w.start();
            const auto end = w.come_back(std::string(with) + "&state=the-state" + (r.iss ? "&iss=" + form_encode(r.iss) : ""));
            const bool code = std::string(with) == "code=C";
            EXPECT_EQ(std::holds_alternative<step::done>(end), r.accepted && code) << r.promised << (r.iss ? r.iss : "-");
            EXPECT_EQ(w.urls().back() == as + "/token", r.accepted && code) << "no code goes anywhere before";
            if (!code) {
                EXPECT_EQ(world::why(end).find("access_denied") != std::string::npos, r.accepted) << "an error of a stranger is not shown";
            }
        }
    }
}

TEST(oauth_flow, an_ambiguous_answer_is_refused) {
    for (const char* query : {"state=the-state&code=A&code=B", "state=the-state&code=A&iss=https://as.example&iss=https://evil.example", "state=the-state", "state=the-state&code="}) {
        world w;
        w.start();
        EXPECT_TRUE(std::holds_alternative<step::failed>(w.come_back(query))) << query;
        EXPECT_NE(w.urls().back(), as + "/token");
    }
}

TEST(oauth_flow, metadata_of_another_resource_stops_it) {
    world w;
    w.resource({{"resource", "https://evil.example/mcp"}, {"authorization_servers", {as}}});
    const auto end = w.start();
    EXPECT_NE(world::why(end).find("another resource"), std::string::npos);
    EXPECT_EQ(w.urls(), (strings{resource_doc, "https://mcp.example/.well-known/oauth-protected-resource"})) << "the authorization server was never asked";
}

TEST(oauth_flow, metadata_of_another_issuer_stops_it) {
    world w;
    w.server({{"issuer", "https://honest.example"}});
    const auto end = w.start();
    EXPECT_NE(world::why(end).find("another issuer"), std::string::npos) << world::why(end);
    for (const auto& url : w.urls()) EXPECT_EQ(url.find("/register"), std::string::npos);
}

TEST(oauth_flow, nothing_inside_the_network_is_asked_for_a_public_server) {
    for (const char* inside : {"http://127.0.0.1:8080", "https://10.0.0.7", "https://169.254.169.254", "http://as.example"}) {
        world w;
        w.resource({{"resource", mcp}, {"authorization_servers", {inside}}});
        EXPECT_NE(world::why(w.start()).find("is not asked"), std::string::npos) << inside;
        EXPECT_EQ(w.asked.size(), 1u) << inside;
        world named;
        named.in.known->said.resource_metadata = std::string(inside) + "/doc";
        EXPECT_NE(world::why(named.start()).find("is not asked"), std::string::npos) << inside;
        EXPECT_TRUE(named.asked.empty());
        for (const char* endpoint : {"token_endpoint", "registration_endpoint", "authorization_endpoint"}) {
            world e;
            e.server({{endpoint, std::string(inside) + "/x"}});
            auto s = e.start();
            if (std::holds_alternative<step::visit>(s)) s = e.come_back("code=C&state=the-state");
            EXPECT_TRUE(std::holds_alternative<step::failed>(s)) << endpoint;
            for (const auto& url : e.urls()) EXPECT_FALSE(url.starts_with(inside)) << url;
        }
    }
}

TEST(oauth_flow, a_name_that_leads_inside_ends_it_for_good) {
    world w;
    w.pages.erase(server_doc);
    w.network = {net::outcome::forbidden, 0, "https://as.example is at an address that must not be asked"};
    const auto end = w.start();
    EXPECT_FALSE(std::get<step::failed>(end).why.retryable);
    w.network = {net::outcome::timed_out, 0, "https://as.example did not answer in time"};
    EXPECT_TRUE(std::get<step::failed>(w.start()).why.retryable);
}

TEST(oauth_flow, redirects_of_metadata_stay_at_home_and_are_few) {
    world w;
    w.pages[resource_doc] = {302, ""};
    w.page_headers[resource_doc] = {{"location", "/moved"}};
    w.pages["https://mcp.example/moved"] = {200, json{{"resource", mcp}, {"authorization_servers", {as}}}.dump()};
    EXPECT_TRUE(std::holds_alternative<step::visit>(w.start()));
    w.page_headers[resource_doc] = {{"location", "https://evil.example/doc"}};
    w.pages["https://evil.example/doc"] = w.pages["https://mcp.example/moved"];
    w.asked.clear();
    EXPECT_TRUE(std::holds_alternative<step::failed>(w.start()));
    for (const auto& url : w.urls()) EXPECT_FALSE(url.starts_with("https://evil")) << url;
    w.page_headers[resource_doc] = {{"location", resource_doc}};
    w.asked.clear();
    EXPECT_TRUE(std::holds_alternative<step::failed>(w.start()));
    EXPECT_LE(w.asked.size(), static_cast<std::size_t>(max_redirects) + 3);
}

TEST(oauth_flow, discovery_goes_on_to_the_next_place) {
    world w;
    w.pages["https://mcp.example/.well-known/oauth-protected-resource"] = {200, json{{"resource", "https://mcp.example"}, {"authorization_servers", {as + "/t1"}}}.dump()};
    w.pages.erase(resource_doc);
    const auto doc = json::parse(w.pages[server_doc].second);
    w.pages.erase(server_doc);
    auto t1 = doc;
    t1["issuer"] = as + "/t1";
    w.pages[as + "/.well-known/oauth-authorization-server/t1"] = {200, "<html>not found</html>"};
    w.pages[as + "/t1/.well-known/openid-configuration"] = {200, t1.dump()};
    EXPECT_EQ(sole(w.query(w.start()), "resource"), "https://mcp.example");
    EXPECT_EQ(w.asked.size(), 6u);
}

TEST(oauth_flow, a_server_without_metadata_is_its_own_authorization_server) {
    world w;
    w.pages.erase(resource_doc);
    w.pages["https://mcp.example/.well-known/oauth-authorization-server"] = {200, json{{"issuer", "https://mcp.example"}, {"authorization_endpoint", "https://mcp.example/a"}, {"token_endpoint", "https://mcp.example/t"},
                                                                                       {"registration_endpoint", as + "/register"}, {"code_challenge_methods_supported", {"S256"}}}.dump()};
    EXPECT_EQ(sole(w.query(w.start()), "resource"), mcp);
    w.in.known->said.resource_metadata = "https://mcp.example/doc";
    EXPECT_TRUE(std::holds_alternative<step::failed>(w.start())) << "it promised a document";
}

TEST(oauth_flow, without_pkce_nobody_logs_in) {
    world w;
    for (const json& methods : {json(), json::array({"plain"}), json::array()}) {
        w.server({{"code_challenge_methods_supported", methods}});
        EXPECT_NE(world::why(w.start()).find("PKCE"), std::string::npos) << methods;
    }
}

TEST(oauth_flow, asks_for_the_scopes_the_specification_says) {
    const auto scope = [](auto change) {
        world w;
        change(w);
        return sole(w.query(w.start()), "scope").value_or("-");
    };
    const auto supported = [](world& w) { w.resource({{"resource", mcp}, {"authorization_servers", {as}}, {"scopes_supported", {"r", "s"}}}); };
    EXPECT_EQ(scope([](world&) {}), "-");
    EXPECT_EQ(scope(supported), "r s");
    EXPECT_EQ(scope([&](world& w) { supported(w), w.in.known->said.scopes = {"c"}; }), "c");
    EXPECT_EQ(scope([&](world& w) { w.in.own.scopes = {"mine"}, w.in.known->said.scopes = {"c"}; }), "mine");
    EXPECT_EQ(scope([&](world& w) { w.in.own.scopes = {"mine"}, w.in.known->said.scopes = {"c"}, w.in.known->said.error = "insufficient_scope"; }), "mine c");
    EXPECT_EQ(scope([&](world& w) {
                  w.in.known->said.scopes = {"write"};
                  w.in.before.emplace();
                  w.in.before->issuer = as;
                  w.in.before->scopes = {"read"};
              }),
              "write read")
        << "step-up keeps what was granted";
    EXPECT_EQ(scope([&](world& w) { w.in.known->said.scopes = {"c"}, w.in.missed = {"m", "c"}; }), "c m") << "what another challenge asked for";
    EXPECT_EQ(scope([&](world& w) { w.in.own.scopes = {"mine"}, w.in.missed = {"m"}; }), "mine m");
    EXPECT_EQ(scope([&](world& w) {
                  w.in.known->said.scopes = {"write"};
                  w.in.before.emplace();
                  w.in.before->issuer = "https://other.example";
                  w.in.before->scopes = {"read"};
              }),
              "write")
        << "another issuer's scopes mean nothing here";
    EXPECT_EQ(scope([&](world& w) { supported(w), w.server({{"scopes_supported", {"offline_access"}}}); }), "r s offline_access");
    EXPECT_EQ(scope([&](world& w) { w.server({{"scopes_supported", {"offline_access"}}}); }), "-");
}

TEST(oauth_flow, a_registered_client_goes_to_its_own_issuer_only) {
    world w;
    w.in.own.client_id = "mine";
    w.in.before.emplace();
    w.in.before->issuer = "https://old.example";
    EXPECT_NE(world::why(w.start()).find("another authorization server"), std::string::npos);
    w.in.own.issuer = as;
    EXPECT_EQ(sole(w.query(w.start()), "client_id"), "mine") << "the operator said so";
    w.in.own.issuer = "https://old.example";
    EXPECT_NE(world::why(w.start()).find("no longer names"), std::string::npos);
    world d;  // a client made on the spot is simply made again
    d.in.before.emplace();
    d.in.before->issuer = "https://old.example";
    d.in.made["https://old.example"] = {{"old", "", auth_method::none}, "http://127.0.0.1:5/callback", {}};
    EXPECT_EQ(sole(d.query(d.start()), "client_id"), "made");
}

TEST(oauth_flow, a_refused_registration_says_what_to_set) {
    world w;
    w.pages[as + "/register"] = {403, R"({"error":"access_denied"})"};
    EXPECT_NE(world::why(w.start()).find("\"client_id\""), std::string::npos);
    w.server({{"registration_endpoint", nullptr}});
    EXPECT_NE(world::why(w.start()).find("\"client_id\""), std::string::npos);
}

TEST(oauth_flow, client_credentials_need_no_person) {
    world w;
    w.in.own.kind = settings::grant::client_credentials;
    w.in.own.client_id = "me";
    w.in.own.client_secret = "hush";
    w.in.known->said.scopes = {"a"};
    w.server({{"authorization_endpoint", nullptr}, {"token_endpoint_auth_methods_supported", {"client_secret_post"}}});
    const auto end = w.start();
    ASSERT_TRUE(std::holds_alternative<step::done>(end)) << world::why(end);
    EXPECT_EQ(*form_decode(w.asked.back().body),
              (fields{{"grant_type", "client_credentials"}, {"resource", mcp}, {"scope", "a"}, {"client_id", "me"}, {"client_secret", "hush"}}));
}

TEST(oauth_flow, what_an_authorization_server_says_is_not_repeated) {
    world w;
    w.start();
    w.pages[as + "/token"] = {400, R"({"error":"invalid_grant","error_description":"code C of the-verifier"})"};
    const auto why = world::why(w.come_back("code=C&state=the-state"));
    EXPECT_NE(why.find("invalid_grant"), std::string::npos);
    EXPECT_EQ(why.find("verifier"), std::string::npos);
}

}  // namespace
