#include <gtest/gtest.h>

#include "oauth/metadata.hpp"

namespace {
using namespace holdfast::oauth;
namespace sdk = holdfast::sdk;
using strings = std::vector<std::string>;

TEST(oauth_metadata, is_looked_for_where_the_specification_says) {
    EXPECT_EQ(resource_metadata_urls("https://a.example:8443/public/mcp?x=1", ""),
              (strings{"https://a.example:8443/.well-known/oauth-protected-resource/public/mcp", "https://a.example:8443/.well-known/oauth-protected-resource"}));
    EXPECT_EQ(resource_metadata_urls("https://a.example/", ""), (strings{"https://a.example/.well-known/oauth-protected-resource"}));
    EXPECT_EQ(resource_metadata_urls("https://a.example/mcp", "https://a.example/doc"), (strings{"https://a.example/doc"})) << "named: nowhere else";
    EXPECT_EQ(server_metadata_urls("https://as.example/tenant1"),
              (strings{"https://as.example/.well-known/oauth-authorization-server/tenant1", "https://as.example/.well-known/openid-configuration/tenant1",
                       "https://as.example/tenant1/.well-known/openid-configuration"}));
    EXPECT_EQ(server_metadata_urls("https://as.example"),
              (strings{"https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration"}));
    EXPECT_TRUE(server_metadata_urls("https://as.example/?x").empty());
    EXPECT_TRUE(server_metadata_urls("not a url").empty());
}

TEST(oauth_metadata, a_resource_covers_what_is_below_it) {
    for (const char* good : {"https://a.example/mcp", "https://A.example/mcp/", "https://a.example", "https://a.example/", "https://a.example:443/mcp"})
        EXPECT_TRUE(covers(good, "https://a.example/mcp")) << good;
    for (const char* bad : {"https://evil.example/mcp", "http://a.example/mcp", "https://a.example:444/mcp", "https://a.example/mc", "https://a.example/mcp/x", "https://a.example/mcp?x",
                            "https://a.example/mcp#x", "https://u@a.example/mcp", "", "a.example"})
        EXPECT_FALSE(covers(bad, "https://a.example/mcp")) << bad;
    EXPECT_EQ(canonical_resource("https://a.example/?x=1"), "https://a.example");
    EXPECT_EQ(canonical_resource("https://a.example/mcp/#f"), "https://a.example/mcp/");
}

TEST(oauth_metadata, of_another_resource_is_refused) {
    const std::string url = "https://a.example/mcp";
    const auto m = read_resource_metadata(R"({"resource":"https://a.example/mcp","authorization_servers":["https://as",7],"scopes_supported":["a","b c","d"]})", url);
    EXPECT_EQ(m.authorization_servers, (strings{"https://as"}));
    EXPECT_EQ(m.scopes, (strings{"a", "d"}));
    for (const char* bad : {R"({"resource":"https://evil.example/mcp","authorization_servers":["https://as"]})", R"({"authorization_servers":["https://as"]})",
                            R"({"resource":"https://a.example/mcp"})", R"({"resource":"https://a.example/mcp","authorization_servers":[]})",
                            R"({"resource":"https://a.example/mcp","authorization_servers":"https://as"})", "[]", "", "{"})
        EXPECT_THROW(read_resource_metadata(bad, url), sdk::plugin_error) << bad;
    EXPECT_THROW(read_resource_metadata(std::string(100'000, '['), url), sdk::plugin_error);
}

TEST(oauth_metadata, the_issuer_is_compared_letter_by_letter) {
    const auto text = [](const std::string& issuer) { return R"({"issuer":")" + issuer + R"(","token_endpoint":"https://as.example/t","code_challenge_methods_supported":["plain","S256"]})"; };
    const auto m = read_server_metadata(text("https://as.example"), "https://as.example");
    EXPECT_TRUE(m.s256);
    EXPECT_FALSE(m.iss_promised);
    for (const char* other : {"https://as.example/", "https://AS.example", "https://as.example:443", "https://honest.example", ""})
        EXPECT_THROW(read_server_metadata(text(other), "https://as.example"), sdk::plugin_error) << other;
    EXPECT_THROW(read_server_metadata(R"({"issuer":"https://as.example"})", "https://as.example"), sdk::plugin_error) << "no token endpoint";
    EXPECT_FALSE(read_server_metadata(R"({"issuer":"i","token_endpoint":"t","authorization_response_iss_parameter_supported":"true","code_challenge_methods_supported":"S256"})", "i").s256);
}

}  // namespace
