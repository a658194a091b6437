#include <gtest/gtest.h>

#include "ui-tui/line_editor.hpp"
#include "ui-tui/terminal.hpp"

namespace holdfast::tui {
namespace {

std::string typed_line(std::string_view keys) {
    line_editor e;
    auto out = e.feed(std::string(keys) + "\r");
    return out.size() == 1 && out[0].what == typed::kind::line ? out[0].text : "(none)";
}

TEST(LineEditor, edits_in_the_middle) {
    EXPECT_EQ(typed_line("helo\x1b[Dl"), "hello");
    EXPECT_EQ(typed_line("ab\x1b[H\x1b[3~"), "b");
    EXPECT_EQ(typed_line("one two\x17three"), "one three");
    EXPECT_EQ(typed_line("gone\x15here"), "here");
    EXPECT_EQ(typed_line("abc\x01\x0b"), "");
}

TEST(LineEditor, treats_a_code_point_as_one_character_however_it_arrives) {
    EXPECT_EQ(typed_line("grün\x7f\x7f\x7f"), "g");
    line_editor e;
    for (char c : std::string("né\r")) {
        auto out = e.feed(std::string_view(&c, 1));
        if (!out.empty()) {
            EXPECT_EQ(out[0].text, "né");
        }
    }
    EXPECT_EQ(e.text(), "");
}

TEST(LineEditor, escape_sequences_may_be_split_and_unknown_ones_are_passed_over) {
    line_editor e;
    e.feed("ab\x1b");
    e.feed("[");
    e.feed("D");
    e.feed("\x1b[1;5Cx");
    EXPECT_EQ(e.feed("\r")[0].text, "axb");
}

TEST(LineEditor, history_goes_up_and_back_to_the_draft) {
    line_editor e;
    e.set_history({"first", "second"});
    e.feed("draft\x1b[A");
    EXPECT_EQ(e.text(), "second");
    e.feed("\x1b[A\x1b[A");
    EXPECT_EQ(e.text(), "first");
    e.feed("\x1b[B\x1b[B");
    EXPECT_EQ(e.text(), "draft");
}

TEST(LineEditor, control_c_and_control_d) {
    line_editor e;
    EXPECT_EQ(e.feed("abc\x03")[0].what, typed::kind::interrupt);
    EXPECT_EQ(e.text(), "");
    EXPECT_EQ(e.feed("\x04")[0].what, typed::kind::end);
    e.feed("ab\x01");
    EXPECT_TRUE(e.feed("\x04").empty()) << "deletes when there is something to delete";
    EXPECT_EQ(e.text(), "b");
}

TEST(LineEditor, an_escape_is_a_key_once_nothing_follows) {
    line_editor e;
    EXPECT_TRUE(e.feed("\x1b").empty());
    ASSERT_EQ(e.pause().size(), 1u);
    EXPECT_TRUE(e.pause().empty()) << "once";
    e.feed("ab\x1b");
    e.feed("[D");
    EXPECT_TRUE(e.pause().empty()) << "that was the arrow";
    e.feed("c");
    EXPECT_EQ(e.text(), "acb");
    e.feed("\x1b[");
    EXPECT_TRUE(e.pause().empty()) << "half an arrow is no Esc";
}

TEST(LineEditor, the_row_shows_the_part_around_the_cursor) {
    line_editor e;
    e.feed(std::string(200, 'x') + "END");
    std::size_t cursor = 0;
    const std::string row = e.row("> ", 40, cursor);
    EXPECT_LE(row.size(), 40u);
    EXPECT_LT(cursor, 40u);
    EXPECT_NE(row.find("END"), std::string::npos);
}

TEST(LineEditor, never_grows_beyond_its_bound) {
    line_editor e;
    for (int i = 0; i < 70; ++i) e.feed(std::string(4096, 'x'));
    EXPECT_LE(e.text().size(), max_line_bytes);
}

TEST(Printable, shows_control_characters_instead_of_obeying_them) {
    EXPECT_EQ(printable("a\x1b[2Jb", true), "a\xEF\xBF\xBD[2Jb");
    EXPECT_EQ(printable("a\xC2\x9B" "b", true), "a\xEF\xBF\xBD" "b");
    EXPECT_EQ(printable("a\nb\r", true), "a\nb\xEF\xBF\xBD");
    EXPECT_EQ(printable("grün", false), "grün");
}

}  // namespace
}  // namespace holdfast::tui
