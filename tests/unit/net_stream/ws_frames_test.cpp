#include "transport-websocket/ws_frames.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "transport-websocket/ws_handshake.hpp"

namespace {
using namespace holdfast::transport_websocket;

/// A frame of a server: not masked.
std::string from_server(unsigned first, std::string_view payload) {
    std::string out{static_cast<char>(first)};
    const std::size_t n = payload.size();
    const int size = n < 126 ? 0 : n < 65536 ? 2 : 8;
    out += static_cast<char>(size == 0 ? n : size == 2 ? 126 : 127);
    for (int i = size - 1; i >= 0; --i) out += static_cast<char>(n >> (8 * i) & 0xFF);
    return out + std::string(payload);
}
constexpr unsigned fin = 0x80;

struct session {
    std::vector<std::string> said;  // "text …", "ping …", "close 1000 …"
    std::optional<frame_fault> fault;
    frame_reader reader;
    explicit session(std::size_t limit = 100'000) : reader(limit) {}
    session& feed(std::string_view bytes, std::size_t piece = 1 << 20) {
        const frame_handlers on{[this](std::string_view t) { said.push_back("text " + std::string(t)); }, [this](std::string_view t) { said.push_back("ping " + std::string(t)); },
                                [this](std::string_view t) { said.push_back("pong " + std::string(t)); },
                                [this](std::uint16_t c, std::string_view r) { said.push_back("close " + std::to_string(c) + " " + std::string(r)); }};
        for (std::size_t at = 0; at < bytes.size() && !fault; at += piece) fault = reader.feed(bytes.substr(at, piece), on);
        return *this;
    }
};
using strings = std::vector<std::string>;

TEST(ws_frames, any_split_of_the_bytes_gives_the_same) {
    const std::string bytes = from_server(fin | 1, "a") + from_server(1, "b") + from_server(fin | 9, "now") + from_server(0, "c") + from_server(fin | 0, "d") +
                              from_server(fin | 1, std::string(300, 'e')) + from_server(fin | 10, "") + from_server(fin | 1, std::string(70'000, 'f')) +
                              from_server(fin | 8, close_payload(1001, "bye"));
    const strings expected{"text a", "ping now", "text bcd", "text " + std::string(300, 'e'), "pong ", "text " + std::string(70'000, 'f'), "close 1001 bye"};
    for (const std::size_t piece : {1, 2, 3, 5, 7, 64, 1000, 100'000}) {
        session s;
        s.feed(bytes, piece);
        EXPECT_FALSE(s.fault) << (s.fault ? s.fault->why : "");
        EXPECT_EQ(s.said, expected) << piece;
    }
}

TEST(ws_frames, every_broken_rule_has_its_code) {
    const auto code = [](const std::string& bytes) {
        session s(1000);
        s.feed(bytes);
        return s.fault ? s.fault->code : 0;
    };
    EXPECT_EQ(code(from_server(fin | 0x40 | 1, "x")), 1002) << "reserved bit";
    EXPECT_EQ(code(from_server(fin | 3, "x")), 1002) << "unknown kind";
    EXPECT_EQ(code(from_server(fin | 11, "x")), 1002) << "unknown control kind";
    EXPECT_EQ(code(from_server(fin | 0, "x")), 1002) << "continues nothing";
    EXPECT_EQ(code(from_server(1, "x") + from_server(fin | 1, "y")), 1002) << "a message inside another";
    EXPECT_EQ(code(from_server(9, "x")), 1002) << "a ping in pieces";
    EXPECT_EQ(code(from_server(fin | 9, std::string(126, 'x'))), 1002) << "a long ping";
    EXPECT_EQ(code(encode_frame(opcode::text, "x", {1, 2, 3, 4})), 1002) << "masked";
    EXPECT_EQ(code(std::string("\x81\x7e\x00\x01x", 5)), 1002) << "a length in two bytes that fits one";
    EXPECT_EQ(code(std::string("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", 11)), 1002);
    EXPECT_EQ(code(std::string("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10)), 1002) << "the highest bit";
    EXPECT_EQ(code(from_server(fin | 2, "x")), 1003) << "binary";
    EXPECT_EQ(code(from_server(fin | 1, "\xff")), 1007) << "not UTF-8";
    EXPECT_EQ(code(from_server(fin | 1, std::string(1001, 'x'))), 1009) << "too long";
    EXPECT_EQ(code(std::string("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 10)), 1009) << "too long, told before it comes";
    EXPECT_EQ(code(from_server(1, std::string(600, 'x')) + from_server(fin | 0, std::string(401, 'x'))), 1009) << "too long in pieces";
    EXPECT_EQ(code(from_server(1, std::string(600, 'x')) + from_server(fin | 0, std::string(400, 'x'))), 0);
    EXPECT_EQ(code(from_server(fin | 8, "x")), 1002) << "half a close code";
    for (const std::uint16_t bad : {0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535}) EXPECT_EQ(code(from_server(fin | 8, close_payload(bad, ""))), 1002) << bad;
    for (const std::uint16_t good : {1000, 1011, 3000, 4999}) EXPECT_EQ(code(from_server(fin | 8, close_payload(good, ""))), 0) << good;
    EXPECT_EQ(code(from_server(fin | 8, std::string("\x03\xe8\xff", 3))), 1007);
}

TEST(ws_frames, nothing_is_heard_after_a_goodbye) {
    session s;
    s.feed(from_server(fin | 8, "") + from_server(fin | 1, "x"));
    EXPECT_EQ(s.said, strings{"close 1005 "});
}

TEST(ws_frames, a_client_masks_what_it_sends) {
    const std::string f = encode_frame(opcode::text, "Hello", {0x37, 0xfa, 0x21, 0x3d});  // RFC 6455, 5.7
    EXPECT_EQ(f, std::string("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11));
    EXPECT_EQ(encode_frame(opcode::text, std::string(126, 'x'), {}).substr(0, 4), std::string("\x81\xfe\x00\x7e", 4));
    EXPECT_EQ(encode_frame(opcode::text, std::string(65536, 'x'), {}).substr(0, 10), std::string("\x81\xff\0\0\0\0\0\1\0\0", 10));
    EXPECT_LE(close_payload(1000, std::string(200, 'x')).size(), 125u);
    EXPECT_TRUE(valid_utf8(close_payload(1000, std::string(122, 'x') + "\xc3\xbc").substr(2))) << "not cut inside a character";
}

TEST(ws_frames, utf8) {
    for (const char* good : {"", "a", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) EXPECT_TRUE(valid_utf8(good)) << good;
    for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xe2\x28\xa1"}) EXPECT_FALSE(valid_utf8(bad));
}

TEST(ws_handshake, the_answer_is_judged) {
    const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";  // RFC 6455, 1.3
    EXPECT_EQ(accept_value(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const std::string status = "HTTP/1.1 101 Switching Protocols\r\n", up = "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n",
                      accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    const auto ok = read_upgrade_answer(status + up + accept + "\r\nmore", key);
    ASSERT_TRUE(ok && ok->accepted) << (ok ? ok->why : "no verdict");
    EXPECT_EQ(ok->size, (status + up + accept + "\r\n").size());
    const std::string whole = status + up + accept + "\r\n";
    for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(read_upgrade_answer(whole.substr(0, n), key)) << n;
    const auto why = [&](const std::string& text) {
        const auto v = read_upgrade_answer(text, key);
        return !v ? "more" : v->accepted ? "accepted" : v->why;
    };
    EXPECT_EQ(why("SSH-2.0-x\r\n"), "does not speak HTTP");
    EXPECT_EQ(why("HTTP/1.1 xyz\r\n\r\n"), "does not speak HTTP");
    EXPECT_EQ(why("HTTP/1.1 401 Unauthorized\r\n\r\n"), "refused the handshake (HTTP 401)");
    EXPECT_EQ(why(status + accept + "\r\n"), "did not agree to the upgrade");
    EXPECT_EQ(why(status + up + "Sec-WebSocket-Accept: x\r\n\r\n"), "answered another handshake");
    EXPECT_EQ(why(status + up + accept + "Sec-WebSocket-Protocol: graphql\r\n\r\n"), "chose a subprotocol that was not offered");
    EXPECT_EQ(why(status + up + accept + "Sec-WebSocket-Protocol: mcp\r\n\r\n"), "accepted");
    EXPECT_EQ(why(status + up + accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), "uses extensions that were not offered");
    EXPECT_EQ(why("HTTP/1.1 " + std::string(max_answer_bytes, '1')), "answered the handshake with a header that is too long");
}
}  // namespace
