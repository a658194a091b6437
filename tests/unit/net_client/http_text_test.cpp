#include "net-client/http_text.hpp"

#include <gtest/gtest.h>

#include "net-client/url.hpp"

namespace holdfast::net {
namespace {

using std::chrono::milliseconds;

TEST(http_text, knows_what_can_be_a_header) {
    EXPECT_TRUE(valid_header_name("X-Key"));
    for (const char* bad : {"", "a b", "a:b", "a\n", "gr\xC3\xBC"}) EXPECT_FALSE(valid_header_name(bad)) << bad;
    EXPECT_TRUE(valid_header_value("a\tb \xC3\xBC"));
    for (const char* bad : {"a\r\nEvil: 1", "a\n", "\x7F"}) EXPECT_FALSE(valid_header_value(bad));
    EXPECT_FALSE(valid_header_value(std::string_view("a\0b", 3)));
}

TEST(http_text, reads_retry_after_as_seconds_and_as_date) {
    const auto now = std::chrono::system_clock::from_time_t(784111777);  // Sun, 06 Nov 1994 08:49:37 GMT
    EXPECT_EQ(parse_retry_after("3", now), milliseconds(3000));
    EXPECT_EQ(parse_retry_after(" 0.5 ", now), milliseconds(500));
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), milliseconds(10'000));
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), milliseconds(0));
    for (const char* bad : {"", "soon", "-1", "nan", "1e30"}) EXPECT_FALSE(parse_retry_after(bad, now)) << bad;
}

TEST(http_text, encodes_base64) {
    EXPECT_EQ(base64(""), "");
    EXPECT_EQ(base64("f"), "Zg==");
    EXPECT_EQ(base64("fo"), "Zm8=");
    EXPECT_EQ(base64("foo"), "Zm9v");
    EXPECT_EQ(base64("Hello, \xE4\xB8\x96\xE7\x95\x8C"), "SGVsbG8sIOS4lueVjA==");
}

TEST(http_text, measures_depth_outside_of_strings) {
    EXPECT_TRUE(json_depth_within(R"({"a":"[[[[[\"[[["})", 1));
    EXPECT_TRUE(json_depth_within("[[]]", 2));
    EXPECT_FALSE(json_depth_within("[[[]]]", 2));
    EXPECT_FALSE(json_depth_within(std::string(1'000'000, '['), 64));
}

TEST(http_text, cuts_at_a_character) {
    EXPECT_EQ(excerpt(" a\nb ", 10), "a b");
    EXPECT_EQ(excerpt("ab\xC3\xBC", 3), "ab…");
}

TEST(url, takes_absolute_http_only) {
    for (const char* bad : {"", "localhost:80", "ftp://x/", "file:///etc/passwd", "http://", "http://a b/", "http://x\n/", "//x/"}) EXPECT_FALSE(parse_url(bad)) << bad;
    const auto u = parse_url("HTTP://Example.COM:8080/v1?key=secret");
    ASSERT_TRUE(u);
    EXPECT_EQ(u->host, "example.com");
    EXPECT_EQ(u->port, 8080);
    EXPECT_EQ(u->origin, "http://example.com:8080");
    EXPECT_TRUE(parse_url("https://u:p@x/")->has_credentials);
    EXPECT_EQ(parse_url("https://x/")->port, 443);
    EXPECT_EQ(parse_url("http://[::1]:1/")->host, "::1");
    EXPECT_EQ(parse_url("https://x/a/../b%2F?c#d")->path, "/b%2F");
    EXPECT_EQ(parse_url("https://x")->path, "/");
    EXPECT_EQ(resolve_url("https://x/a/b?q", "c"), "https://x/a/c");
    EXPECT_EQ(resolve_url("https://x/a/b", "/c"), "https://x/c");
    EXPECT_EQ(resolve_url("https://x/a", "//y/c"), "https://y/c");
    for (const char* bad : {"ftp://y/", "javascript:alert(1)", "http://a b/"}) EXPECT_FALSE(resolve_url("https://x/", bad)) << bad;
    EXPECT_FALSE(resolve_url("x", "/c"));
}

TEST(url, knows_this_machine) {
    for (const char* here : {"localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"}) EXPECT_TRUE(is_loopback(here)) << here;
    for (const char* there : {"127.0.0.1.example.com", "example.com", "10.0.0.1", "127.example", "notlocalhost", "128.0.0.1"}) EXPECT_FALSE(is_loopback(there)) << there;
}

}  // namespace
}  // namespace holdfast::net
