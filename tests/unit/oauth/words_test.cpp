// The words of OAuth: forms, challenges, PKCE, addresses, token answers, settings.
#include <gtest/gtest.h>

#include "oauth/challenge.hpp"
#include "oauth/client_identity.hpp"
#include "oauth/form.hpp"
#include "oauth/proof_key.hpp"
#include "oauth/reach.hpp"
#include "oauth/settings.hpp"
#include "oauth/token.hpp"

namespace {
using namespace holdfast::oauth;
namespace net = holdfast::net;
namespace sdk = holdfast::sdk;
using strings = std::vector<std::string>;
using namespace std::chrono_literals;

TEST(oauth_form, encodes_what_it_decodes) {
    const fields all{{"a b", "1+1=2&c"}, {"ü", ""}, {"~", "-._"}};
    EXPECT_EQ(form_encode(all), "a%20b=1%2B1%3D2%26c&%C3%BC=&~=-._");
    EXPECT_EQ(form_decode(form_encode(all)), all);
    EXPECT_EQ(*form_decode("&x=1+2&&y"), (fields{{"x", "1 2"}, {"y", ""}}));
    for (const char* bad : {"x=%", "x=%4", "x=%zz", "%4x=1"}) EXPECT_FALSE(form_decode(bad)) << bad;
    std::string many;
    for (std::size_t i = 0; i <= max_form_fields; ++i) many += "a=1&";
    EXPECT_FALSE(form_decode(many));
}

TEST(oauth_form, a_field_that_is_there_twice_is_none) {
    const auto f = *form_decode("code=1&state=2&code=3");
    EXPECT_FALSE(sole(f, "code"));
    EXPECT_TRUE(repeated(f, "code"));
    EXPECT_EQ(sole(f, "state"), "2");
    EXPECT_FALSE(sole(f, "iss"));
}

TEST(oauth_challenge, finds_the_bearer_among_others) {
    const auto c = read_challenge({{"www-authenticate", R"(Negotiate abc==, Basic realm="a, Bearer scope=\"no\"", bearer  realm=x ,)"
                                                        R"( scope="files:read files:write", error=insufficient_scope, resource_metadata = "https://a/\"b", Digest scope="other")"}});
    EXPECT_TRUE(c.bearer);
    EXPECT_EQ(c.scopes, (strings{"files:read", "files:write"}));
    EXPECT_EQ(c.error, "insufficient_scope");
    EXPECT_EQ(c.resource_metadata, "https://a/\"b");
}

TEST(oauth_challenge, takes_the_first_bearer_of_several_headers) {
    const auto c = read_challenge({{"www-authenticate", "Basic realm=x"}, {"WWW-Authenticate", "Bearer error=\"invalid_token\""}, {"www-authenticate", "Bearer scope=later"}});
    EXPECT_TRUE(c.bearer);
    EXPECT_EQ(c.error, "invalid_token");
    EXPECT_TRUE(c.scopes.empty());
}

TEST(oauth_challenge, survives_nonsense) {
    for (const char* bad : {"", "=", ",,,", "Bearer", "Bearer =", "Bearer scope=\"", "Bearer scope=\"a\\", "\x01\x02", "Bearer error=\"<script>\""}) {
        const auto c = read_challenge({{"www-authenticate", bad}});
        EXPECT_TRUE(c.error.empty()) << bad;
    }
    EXPECT_FALSE(read_challenge({{"www-authenticate", std::string(max_challenge_bytes, ' ') + "Bearer"}}).bearer);
    EXPECT_TRUE(read_challenge({{"www-authenticate", "Bearer scope=\"a \x7F b\""}}).scopes == (strings{"a", "b"}));
}

TEST(oauth_proof_key, matches_the_example_of_the_standard) {
    EXPECT_EQ(s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");  // RFC 7636, appendix B
    EXPECT_EQ(unguessable().size(), 43u);
    EXPECT_NE(unguessable(), unguessable());
}

TEST(oauth_reach, tells_addresses_apart) {
    const std::pair<reach, strings> table[] = {
        {reach::machine, {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}},
        {reach::site, {"10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:c0a8:101::1"}},
        {reach::link, {"169.254.169.254", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254"}},
        {reach::nowhere, {"0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::7f00:1", "", "localhost", "127.1", "0x7f.0.0.1", "256.1.1.1"}},
        {reach::everywhere, {"8.8.8.8", "172.32.0.1", "192.169.0.1", "100.128.0.1", "2606:4700::1111"}},
    };
    for (const auto& [kind, addresses] : table)
        for (const auto& a : addresses) EXPECT_EQ(reach_of(a), kind) << a;
}

TEST(oauth_reach, nothing_inside_is_reached_from_outside) {
    for (const auto from : {reach::everywhere, reach::site, reach::machine, reach::link, reach::nowhere})
        for (const auto to : {reach::everywhere, reach::site, reach::machine, reach::link, reach::nowhere})
            EXPECT_EQ(may_reach(from, to), to == reach::everywhere || (from == to && to != reach::nowhere));
}

TEST(oauth_reach, refuses_urls_before_they_are_asked) {
    const std::string server = "https://mcp.example.com/mcp";
    for (const char* bad : {"http://as.example.com/", "https://127.0.0.1/", "http://localhost:8080/", "https://10.0.0.1/", "https://[::1]/", "https://[fd00::1]/", "https://2130706433/",
                            "https://0x7f000001/", "https://169.254.169.254/latest", "https://u:p@as.example.com/", "file:///etc/passwd", "javascript:alert(1)", ""})
        EXPECT_NE(refusal(bad, server, reach::everywhere), "") << bad;
    for (const char* ambiguous : {"https:/as.example.com/", "https:as.example.com", "https:///as.example.com/", "https://as.example.com\\@127.0.0.1/", "https://as.ex\xC3\xA4mple.com/", "https:/\x80"})
        EXPECT_NE(refusal(ambiguous, server, reach::everywhere), "") << ambiguous;
    EXPECT_EQ(refusal("https://as.example.com/x", server, reach::everywhere), "");
    EXPECT_EQ(refusal("HTTPS://As.example.com/x?y=z%20", server, reach::everywhere), "");
    EXPECT_EQ(refusal("http://127.0.0.1:9/x", "http://127.0.0.1:8/mcp", reach::machine), "");
    EXPECT_NE(refusal("https://10.0.0.1/x", "http://127.0.0.1:8/mcp", reach::machine), "");
    EXPECT_EQ(refusal("http://10.0.0.1:80/x", "http://10.0.0.1/mcp", reach::site), "") << "its own origin";
    EXPECT_NE(refusal("http://10.0.0.1:81/x", "http://10.0.0.1/mcp", reach::site), "") << "not https";
}

TEST(oauth_token, reads_answers_and_refusals) {
    auto a = read_token_answer(200, R"({"access_token":"t","token_type":"bearer","expires_in":100,"refresh_token":"r","scope":"a b"})");
    EXPECT_EQ(a.access_token, "t");
    EXPECT_EQ(a.lives, 100s);
    EXPECT_EQ(a.scopes, (strings{"a", "b"}));
    for (const char* bad : {"", "[]", "{}", R"({"access_token":1})", R"({"access_token":"a b"})", R"({"access_token":"a\r\nX: y"})", "<html>down for maintenance</html>"}) {
        a = read_token_answer(200, bad);
        EXPECT_TRUE(a.access_token.empty() && !a.error.empty()) << bad;
        EXPECT_FALSE(a.definite || a.ended) << bad << ": not what a token endpoint says";
    }
    a = read_token_answer(200, R"({"access_token":"t","token_type":"DPoP"})");
    EXPECT_TRUE(a.access_token.empty() && a.definite && !a.ended);
    a = read_token_answer(400, R"({"error":"invalid_grant","error_description":"refresh token r-123 is gone"})");
    EXPECT_TRUE(a.definite && a.ended);
    EXPECT_EQ(a.error, "invalid_grant") << "descriptions may repeat secrets";
    EXPECT_EQ(read_token_answer(400, R"({"error":"r-123 <b>"})").error, "HTTP 400");
    for (const int passing : {400, 401, 403, 404, 408, 429, 500, 503}) EXPECT_FALSE(read_token_answer(passing, "<html>").definite) << passing << " of something in between";
    for (const int passing : {408, 429, 500, 503}) EXPECT_FALSE(read_token_answer(passing, R"({"error":"invalid_grant"})").ended) << passing;
    for (const char* other : {"invalid_client", "unauthorized_client", "invalid_scope"}) {
        a = read_token_answer(401, std::string(R"({"error":")") + other + R"("})");
        EXPECT_TRUE(a.definite && !a.ended && a.error == other) << other << " says nothing about the grant";
    }
    EXPECT_TRUE(read_token_answer(200, R"({"error":"invalid_grant"})").ended) << "some say it with 200";
    EXPECT_EQ(read_token_answer(200, R"({"access_token":"t","expires_in":1e300})").lives, longest_life);
    EXPECT_FALSE(read_token_answer(200, R"({"access_token":"t","expires_in":-1})").lives);
}

TEST(oauth_token, is_replaced_before_it_expires) {
    const wall_time now(1'000'000s);
    grant g;
    token_answer a;
    a.access_token = "t";
    a.lives = 3600s;
    accept(g, a, now);
    EXPECT_FALSE(expiring(g, now + 3600s - longest_head_start - 1s));
    EXPECT_TRUE(expiring(g, now + 3600s - longest_head_start));
    a.lives = 100s;
    accept(g, a, now);
    EXPECT_FALSE(expiring(g, now + 89s));
    EXPECT_TRUE(expiring(g, now + 90s));
    a.lives.reset();
    accept(g, a, now);
    EXPECT_FALSE(expiring(g, now + 24h * 3650)) << "until it is refused";
}

TEST(oauth_token, a_refresh_token_stays_until_another_comes) {
    grant g;
    g.refresh_token = "old";
    token_answer a;
    a.access_token = "t";
    accept(g, a, {});
    EXPECT_EQ(g.refresh_token, "old");
    a.refresh_token = "new";
    accept(g, a, {});
    EXPECT_EQ(g.refresh_token, "new");
}

TEST(oauth_token, the_client_proves_itself_as_agreed) {
    const identity c{"id:1", "s&t", auth_method::basic};
    auto r = token_request("https://as/t", c, {{"grant_type", "x"}});
    EXPECT_EQ(net::find_header(r.headers, "authorization"), "Basic aWQlM0ExOnMlMjZ0");  // id%3A1:s%26t
    EXPECT_EQ(r.body, "grant_type=x");
    r = token_request("https://as/t", {"id", "s", auth_method::post}, {{"grant_type", "x"}});
    EXPECT_EQ(r.body, "grant_type=x&client_id=id&client_secret=s");
    r = token_request("https://as/t", {"id", "s", auth_method::none}, {{"grant_type", "x"}});
    EXPECT_EQ(r.body, "grant_type=x&client_id=id");
}

TEST(oauth_settings, says_what_is_wrong) {
    const auto why = [](const char* text) {
        try {
            (void)read_auth(text);
            return std::string("accepted");
        } catch (const sdk::plugin_error& e) {
            EXPECT_EQ(e.status().code, HF_E_INVALID);
            return e.status().message;
        }
    };
    EXPECT_EQ(why(R"({"type":"oauth"})"), "accepted");
    EXPECT_EQ(why(R"({"type":"oauth","client_id":"a","client_secret":"b","scopes":["x"],"redirect_port":1234,"issuer":"https://as","action":"login"})"), "accepted");
    EXPECT_NE(why(R"({"type":"basic"})").find("headers"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","clientid":"a"})").find("clientid"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","scopes":["a b"]})").find("scopes"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","redirect_port":70000})").find("redirect_port"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","client_secret":"hush"})").find("client_id"), std::string::npos);
    EXPECT_EQ(why(R"({"type":"oauth","client_secret":"hush"})").find("hush"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","client_metadata_url":"http://a/b"})").find("https"), std::string::npos);
    EXPECT_NE(why(R"({"type":"oauth","grant":"client_credentials"})").find("client_secret"), std::string::npos);
    EXPECT_NE(why("[]"), "accepted");
}

TEST(oauth_client, chooses_by_the_order_of_the_specification) {
    server_metadata m;
    m.issuer = "https://as";
    m.registration_endpoint = "https://as/r";
    m.id_documents = true;
    settings s;
    s.client_metadata_url = "https://me/doc";
    const registrations made{{"https://as", {{"made", "", auth_method::none}, "http://127.0.0.1:1/callback", wall_time(100s)}}};
    const auto chosen = [&](wall_time now = {}, const char* back = "http://127.0.0.1:1/callback") {
        const auto c = choose_identity(s, m, made, back, now);
        return c.known ? c.known->client_id : "register";
    };
    EXPECT_EQ(chosen(), "https://me/doc");
    s.client_id = "mine";
    EXPECT_EQ(chosen(), "mine");
    s.client_id.clear();
    m.id_documents = false;
    EXPECT_EQ(chosen(), "made");
    EXPECT_EQ(chosen(wall_time(100s)), "register") << "its secret has expired";
    EXPECT_EQ(chosen({}, "http://127.0.0.1:2/callback"), "register") << "made for another way back";
    m.issuer = "https://other";
    EXPECT_EQ(chosen(), "register") << "credentials belong to their issuer";
    m.registration_endpoint.clear();
    EXPECT_THROW(chosen(), sdk::plugin_error);
}

TEST(oauth_client, registers_as_a_native_application) {
    server_metadata m;
    m.issuer = "https://as";
    m.registration_endpoint = "https://as/r";
    const auto r = registration_request(m, "http://127.0.0.1:1/callback", {"a", "b"});
    for (const char* part : {R"("application_type":"native")", R"("refresh_token")", R"("redirect_uris":["http://127.0.0.1:1/callback"])", R"("token_endpoint_auth_method":"none")", R"("scope":"a b")"})
        EXPECT_NE(r.body.find(part), std::string::npos) << part << r.body;
    m.auth_methods = {"client_secret_post"};
    EXPECT_NE(registration_request(m, "x", {}).body.find(R"("token_endpoint_auth_method":"client_secret_post")"), std::string::npos);
    const auto got = read_registration(201, R"({"client_id":"c","client_secret":"s","client_secret_expires_at":50})", m, "x");
    EXPECT_EQ(got.client.method, auth_method::post);
    EXPECT_EQ(got.secret_expires_at, wall_time(50s));
    EXPECT_EQ(read_registration(201, R"({"client_id":"c"})", m, "x").client.method, auth_method::none);
    try {
        (void)read_registration(400, R"({"error":"invalid_redirect_uri","error_description":"no"})", m, "x");
        ADD_FAILURE();
    } catch (const sdk::plugin_error& e) {
        EXPECT_NE(e.status().message.find("redirect_port"), std::string::npos);
        EXPECT_NE(e.status().message.find("client_id"), std::string::npos);
    }
    EXPECT_THROW(read_registration(201, "{}", m, "x"), sdk::plugin_error);
}

}  // namespace
