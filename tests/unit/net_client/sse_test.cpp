#include "net-client/sse.hpp"

#include <gtest/gtest.h>

namespace {

using holdfast::net::sse_event;
using holdfast::net::sse_parser;

struct seen {
    std::vector<std::string> events;  // event|id|data
    std::string last_id;
    bool ok = true;
    bool operator==(const seen&) const = default;
};
void PrintTo(const seen& s, std::ostream* o) {
    for (const auto& e : s.events) *o << '[' << e << ']';
    *o << " id=" << s.last_id << (s.ok ? "" : " failed");
}

seen parse(const std::vector<std::string_view>& pieces, std::size_t limit = sse_parser::default_limit) {
    sse_parser p(limit);
    seen out;
    for (const auto piece : pieces)
        out.ok = p.feed(piece, [&](const sse_event& e) { out.events.push_back(e.event + "|" + e.id + "|" + e.data); }) && out.ok;
    out.last_id = p.last_event_id();
    return out;
}

std::string with_line_ends(std::string text, const std::string& end) {
    for (std::size_t i = 0; (i = text.find('\n', i)) != std::string::npos; i += end.size()) text.replace(i, 1, end);
    return text;
}

const std::string sample =
    "\xEF\xBB\xBF: OPENROUTER PROCESSING\n\ndata:no space\n\nevent: named\nid: 7\ndata:  two spaces\ndata\ndata: third\n\n"
    "retry: 1500\nunknown: x\ndata: gr\xC3\xBC\xC3\x9F\xE2\x82\xAC\n\nid\ndata: reset id\n\n: comment\ndata: {\"a\":1}\n\n";

const std::vector<std::string> expected{"||no space", "named|7| two spaces\n\nthird", "|7|gr\xC3\xBC\xC3\x9F\xE2\x82\xAC", "||reset id", "||{\"a\":1}"};

TEST(sse, reads_every_line_end_in_one_piece) {
    for (const char* end : {"\n", "\r\n", "\r"}) EXPECT_EQ(parse({with_line_ends(sample, end)}).events, expected);
}

TEST(sse, is_the_same_however_the_bytes_are_split_in_two_or_three) {
    for (const char* end : {"\n", "\r\n", "\r"}) {
        const std::string text = with_line_ends(sample, end);
        const seen whole = parse({text});
        const std::string_view v = text;
        for (std::size_t i = 0; i <= v.size(); ++i) {
            ASSERT_EQ(parse({v.substr(0, i), v.substr(i)}), whole) << "split at " << i;
            for (std::size_t j = i; j <= v.size(); ++j) ASSERT_EQ(parse({v.substr(0, i), v.substr(i, j - i), v.substr(j)}), whole) << i << " and " << j;
        }
    }
}

TEST(sse, is_the_same_byte_by_byte) {
    for (const char* end : {"\n", "\r\n", "\r"}) {
        const std::string text = with_line_ends(sample, end);
        std::vector<std::string_view> bytes;
        for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(std::string_view(text).substr(i, 1));
        EXPECT_EQ(parse(bytes), parse({text}));
    }
}

TEST(sse, mixes_line_ends) { EXPECT_EQ(parse({"data: a\r\n\rdata: b\n\r\ndata: c\r\r"}).events, (std::vector<std::string>{"||a", "||b", "||c"})); }

TEST(sse, counts_the_id_of_an_event_without_data) {
    const seen s = parse({"id: prime\ndata:\n\n"});
    EXPECT_TRUE(s.events.empty());
    EXPECT_EQ(s.last_id, "prime");
}

TEST(sse, keeps_an_id_only_once_its_event_is_complete) { EXPECT_EQ(parse({"id: 1\ndata: a\n\nid: 2\ndata: b\n"}).last_id, "1"); }

TEST(sse, ignores_an_id_with_nul_and_a_retry_that_is_no_number) {
    sse_parser p;
    EXPECT_TRUE(p.feed(std::string_view("id: a\0b\nretry: 12x\ndata: x\n\n", 28), nullptr));
    EXPECT_EQ(p.last_event_id(), "");
    EXPECT_FALSE(p.retry_ms());
    EXPECT_TRUE(p.feed("retry: 20\n", nullptr));
    EXPECT_EQ(p.retry_ms(), 20u);
}

TEST(sse, drops_an_unfinished_event_unless_told_to_finish) {
    EXPECT_TRUE(parse({"data: [DONE]"}).events.empty());
    sse_parser p;
    std::vector<std::string> got;
    const auto take = [&](const sse_event& e) { got.push_back(e.data); };
    EXPECT_TRUE(p.feed("data: [DONE]", take));
    EXPECT_TRUE(p.finish(take));
    EXPECT_TRUE(p.finish(take));
    EXPECT_EQ(got, (std::vector<std::string>{"[DONE]"}));
}

TEST(sse, fails_at_a_line_that_is_too_long_and_stays_failed) {
    const seen s = parse({"data: ok\n\n", "data: 0123456789", "0123456789", "\n\ndata: later\n\n"}, 20);
    EXPECT_FALSE(s.ok);
    EXPECT_EQ(s.events, (std::vector<std::string>{"||ok"}));
}

TEST(sse, fails_at_an_event_that_is_too_long_made_of_short_lines) {
    std::string text;
    for (int i = 0; i < 10; ++i) text += "data: 0123456\n";
    EXPECT_FALSE(parse({text}, 40).ok);
    EXPECT_TRUE(parse({"data: 0123456\n\ndata: 0123456\n\ndata: 0123456\n\ndata: 0123456\n\n"}, 40).ok) << "the limit is per event";
}

TEST(sse, tells_how_often_the_server_only_said_that_it_lives) {
    sse_parser p;
    EXPECT_TRUE(p.feed(":\n:ping\n", nullptr));
    EXPECT_EQ(p.comments(), 2u);
}

}  // namespace
