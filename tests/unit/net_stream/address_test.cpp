#include "net-stream/address.hpp"

#include <gtest/gtest.h>

namespace {
using holdfast::net::parse_stream_address;

TEST(stream_address, sockets) {
    const auto a = parse_stream_address("tcp://Example.COM:7000", false);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->host, "example.com");
    EXPECT_EQ(a->port, 7000);
    EXPECT_FALSE(a->secure);
    EXPECT_EQ(a->origin, "tcp://example.com:7000");
    const auto t = parse_stream_address("tls://[::1]:443/", false);
    ASSERT_TRUE(t);
    EXPECT_EQ(t->host, "::1");
    EXPECT_TRUE(t->secure);
    EXPECT_EQ(t->origin, "tls://[::1]:443");
    for (const char* url : {"unix:/run/x y.sock", "unix:///run/x y.sock"}) {
        const auto u = parse_stream_address(url, false);
        ASSERT_TRUE(u) << url;
        EXPECT_EQ(u->unix_path, "/run/x y.sock");
        EXPECT_EQ(u->origin, "unix:/run/x y.sock");
    }
}

TEST(stream_address, web) {
    const auto a = parse_stream_address("ws://h/mcp?key=secret#part", true);
    ASSERT_TRUE(a);
    EXPECT_EQ(a->port, 80);
    EXPECT_EQ(a->path, "/mcp?key=secret");
    EXPECT_EQ(a->origin, "ws://h") << "the query may hold a key";
    const auto s = parse_stream_address("wss://h:8443?x", true);
    ASSERT_TRUE(s);
    EXPECT_TRUE(s->secure);
    EXPECT_EQ(s->path, "/?x");
    EXPECT_EQ(s->port, 8443);
}

TEST(stream_address, refuses_what_leads_nowhere) {
    for (const char* url : {"", "tcp://", "tcp://h", "tcp://h:", "tcp://h:0", "tcp://h:65536", "tcp://h:7x", "tcp://:7", "tcp://u:p@h:7", "tcp://h:7/path", "tcp://a:b:7",
                            "tcp://[::1", "tcp://[::1]7", "tcp://[::1]:", "tcp://h :7", "tcp://h:7\r\nX: y", "unix:relative", "unix:", "ws://h", "http://h:1", "h:1"})
        EXPECT_FALSE(parse_stream_address(url, false)) << url;
    for (const char* url : {"ws://", "ws:///x", "ws://u@h/", "ws://h/a b", "ws://h/\r\nX: y", "tcp://h:1", "unix:/x", "http://h", "wss://h:x"}) EXPECT_FALSE(parse_stream_address(url, true)) << url;
    EXPECT_TRUE(parse_stream_address("unix:/" + std::string(106, 'x'), false));
    EXPECT_FALSE(parse_stream_address("unix:/" + std::string(107, 'x'), false)) << "longer than the system takes";
    EXPECT_FALSE(parse_stream_address(std::string("unix:/a\0b", 9), false));
}
}  // namespace
