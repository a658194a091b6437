#include <gtest/gtest.h>

#include "net-server/http_text.hpp"
#include "net-server/static_file.hpp"
#include "net-server/token_bucket.hpp"

using namespace holdfast::web;
using namespace std::chrono_literals;

TEST(http_text, listen_addresses) {
    const auto v4 = parse_listen("127.0.0.1:7777");
    ASSERT_TRUE(v4);
    EXPECT_EQ(v4->host, "127.0.0.1");
    EXPECT_EQ(v4->port, 7777);
    const auto v6 = parse_listen("[::1]:0");
    ASSERT_TRUE(v6);
    EXPECT_EQ(v6->host, "::1");
    EXPECT_EQ(v6->port, 0);
    for (const char* bad : {"", "7777", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", "[::1]", "[::1", "a b:1", "::1:80"})
        EXPECT_FALSE(parse_listen(bad)) << bad;
}

TEST(http_text, authorities) {
    const auto a = parse_authority("LocalHost.:80");
    ASSERT_TRUE(a);
    EXPECT_EQ(a->host, "localhost");
    EXPECT_EQ(a->port, "80");
    for (const char* bad : {"", ":80", "a:b", "a:80:80", "[nonsense]:1", "[::1]x", "user@host", "a/b", "host:123456"})
        EXPECT_FALSE(parse_authority(bad)) << bad;
}

TEST(http_text, loopback_means_loopback_only) {
    for (const char* yes : {"localhost", "127.0.0.1", "127.9.9.9", "::1"}) EXPECT_TRUE(is_loopback_host(yes)) << yes;
    for (const char* no : {"0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "127.1", ""})
        EXPECT_FALSE(is_loopback_host(no)) << no;
}

TEST(http_text, percent_and_query) {
    EXPECT_EQ(percent_decode("/a%20b%2Fc"), "/a b/c");
    for (const char* bad : {"%", "%2", "%zz", "a%00b"}) EXPECT_FALSE(percent_decode(bad)) << bad;
    EXPECT_EQ(query_value("a=1&b=x+y%21&c", "b"), "x y!");
    EXPECT_EQ(query_value("a=1&c", "c"), "");
    EXPECT_FALSE(query_value("a=1", "b"));
}

TEST(http_text, json_depth_ignores_brackets_in_strings) {
    EXPECT_TRUE(json_depth_within(R"({"a":"[[[[[[\"[[["})", 2));
    EXPECT_FALSE(json_depth_within(std::string(65, '['), 64));
    EXPECT_TRUE(json_depth_within(std::string(64, '['), 64));
    EXPECT_TRUE(json_depth_within("]]]][", 1));
}

TEST(http_text, json_quote_survives_any_bytes) {
    EXPECT_EQ(json_quote("a\"\\\n"), R"("a\"\\\u000a")");
    EXPECT_EQ(json_quote("\xC3\xA4"), "\"\xC3\xA4\"");
    EXPECT_EQ(json_quote("\xC3"), "\"\xEF\xBF\xBD\"");
    EXPECT_EQ(json_quote("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

TEST(http_text, cookies_and_types) {
    std::string seen;
    for_each_cookie("a=1; b=2=3;c; d=", [&](auto k, auto v) { seen.append(k).append("=").append(v).append("|"); });
    EXPECT_EQ(seen, "a=1|b=2=3|d=|");
    EXPECT_TRUE(is_json_type("Application/JSON ; charset=utf-8"));
    for (const char* no : {"", "text/plain", "application/jsonp", "application/x-www-form-urlencoded"}) EXPECT_FALSE(is_json_type(no)) << no;
    EXPECT_TRUE(equal_constant_time("abc", "abc"));
    EXPECT_FALSE(equal_constant_time("abc", "abd"));
    EXPECT_FALSE(equal_constant_time("abc", "ab"));
}

TEST(token_bucket, allows_the_burst_then_the_rate) {
    token_bucket bucket(10, 3);
    const token_bucket::clock::time_point t0{};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(bucket.take("u", t0), 0ms);
    EXPECT_EQ(bucket.take("u", t0), 100ms);
    EXPECT_EQ(bucket.take("other", t0), 0ms) << "users do not pay for each other";
    EXPECT_EQ(bucket.take("u", t0 + 100ms), 0ms);
    EXPECT_GT(bucket.take("u", t0 + 100ms), 0ms);
    EXPECT_EQ(bucket.take("u", t0 + 10s), 0ms);
}

TEST(token_bucket, remembers_a_bounded_number_of_users) {
    token_bucket bucket(1, 2, 10);
    const token_bucket::clock::time_point t0{};
    for (int i = 0; i < 10; ++i) EXPECT_EQ(bucket.take(std::to_string(i), t0), 0ms);
    EXPECT_GT(bucket.take("one more", t0), 0ms);
    EXPECT_EQ(bucket.take("one more", t0 + 5s), 0ms) << "rested users are forgotten";
    EXPECT_LE(bucket.keys(), 10u);
}

TEST(static_file, revalidates_by_etag) {
    const static_file f{"text/css", "\"abc\"", std::make_shared<const std::string>("body{}")};
    http_request r;
    r.method = "GET";
    EXPECT_EQ(serve_static(r, f).status, 200);
    EXPECT_EQ(*serve_static(r, f).body, "body{}");
    r.headers = {{"if-none-match", "\"x\", W/\"abc\""}};
    EXPECT_EQ(serve_static(r, f).status, 304);
    r.headers = {{"if-none-match", "\"x\""}};
    EXPECT_EQ(serve_static(r, f).status, 200);
    r.method = "POST";
    EXPECT_EQ(serve_static(r, f).status, 405);
}
