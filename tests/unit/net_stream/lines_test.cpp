#include "net-stream/lines.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {
using holdfast::net::as_line;
using holdfast::net::line_splitter;

struct heard {
    std::vector<std::string> lines;
    std::vector<std::size_t> too_long;
};
heard split(const std::string& text, std::size_t piece, std::size_t limit) {
    heard h;
    line_splitter s(limit);
    for (std::size_t at = 0; at < text.size(); at += piece)
        s.feed(std::string_view(text).substr(at, piece), [&](std::string_view l) { h.lines.emplace_back(l); }, [&](std::size_t n) { h.too_long.push_back(n); });
    return h;
}

TEST(lines, any_split_of_the_bytes_gives_the_same) {
    const std::string text = "one\r\n\ntwo\n" + std::string(50, 'x') + "\nthree\n12345678901\n1234567890\nrest";
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        const heard h = split(text, piece, 10);
        EXPECT_EQ(h.lines, (std::vector<std::string>{"one", "two", "three", "1234567890"})) << piece;
        EXPECT_EQ(h.too_long, (std::vector<std::size_t>{50, 11})) << piece;
    }
}

TEST(lines, an_endless_line_is_not_kept) {
    line_splitter s(1000);
    const std::string piece(700, 'x');
    for (int i = 0; i < 10'000; ++i) {
        s.feed(piece, [](std::string_view) { FAIL(); }, [](std::size_t) { FAIL(); });
        ASSERT_LE(s.held(), 1000u);
    }
}

TEST(lines, a_message_is_one_line) { EXPECT_EQ(as_line("{\n\"a\":\r\n1}"), "{ \"a\":  1}\n"); }
}  // namespace
