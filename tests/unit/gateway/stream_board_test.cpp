#include <gtest/gtest.h>
// after gtest
#include <rapidcheck/gtest.h>

#include "gateway_fixture.hpp"
#include "mcp/gateway/stream_board.hpp"

namespace holdfast::mcp::gateway::test {
namespace {

const steady_time start{std::chrono::hours(1)};

// Whatever happens to connections, a client that resumes with the last id it saw gets every message of the stream exactly
// once and in order, as long as the budget holds them.
RC_GTEST_PROP(stream_board, resuming_neither_loses_nor_repeats, ()) {
    stream_board b({}, true, true);
    actions out;
    stream_id next = 1, here = next++;
    const auto n = b.open_post(here, 1);
    std::vector<int> seen;
    std::string last = std::to_string(n) + "-0";
    bool attached = true, ended = false;
    int sent = 0;
    const auto read = [&] {
        for (const auto& a : out) {
            if (const auto* e = std::get_if<act::emit>(&a); e && e->on == here) {
                last = e->event;
                if (!e->text.empty()) seen.push_back(std::stoi(e->text));
            }
            if (const auto* e = std::get_if<act::end>(&a); e && e->on == here) attached = false, ended = true;
        }
        out.clear();
    };
    b.ensure_open(n, start, out);
    read();
    for (const int step : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3))) {
        if (step == 0) b.send(n, std::to_string(sent++), start, out);
        if (step == 1 && attached) b.gone(here, start), attached = false;
        if (step == 2 && !attached) here = next++, attached = b.attach(here, last, start, out);
        read();
    }
    b.answer(n, std::to_string(sent++), start, out);
    read();
    if (!ended) here = next++, RC_ASSERT(b.attach(here, last, start, out)), read();
    RC_ASSERT(ended);
    RC_ASSERT(seen.size() == static_cast<std::size_t>(sent));
    for (int i = 0; i < sent; ++i) RC_ASSERT(seen[static_cast<std::size_t>(i)] == i);
}
RC_GTEST_PROP(stream_board, never_keeps_more_than_its_budget, ()) {
    limits l;
    l.max_replay_bytes = 1'000;
    l.max_streams = 4;
    stream_board b(l, true, false);
    actions out;
    stream_id next = 1;
    std::vector<stream_board::number> open;
    for (const int size : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 600))) {
        open.push_back(b.open_post(next, 1));
        b.ensure_open(open.back(), start, out);
        b.gone(next++, start);
        if (!open.empty()) b.send(open[static_cast<std::size_t>(size) % open.size()], std::string(static_cast<std::size_t>(size), 'x'), start, out);
        if (size % 3 == 0 && !open.empty()) b.answer(open.back(), "a", start, out), open.pop_back();
        RC_ASSERT(b.bytes() <= l.max_replay_bytes);
    }
}
TEST(stream_board, the_finished_make_room_for_any_number_under_way) {
    limits l;
    l.max_streams = 4;
    stream_board b(l, true, false);
    actions out;
    const auto finished = b.open_post(1, 1);
    b.ensure_open(finished, start, out);
    b.answer(finished, "answer", start, out);
    EXPECT_TRUE(b.attach(2, std::to_string(finished) + "-0", start, out)) << "kept for whoever comes back";
    b.gone(2, start);
    for (stream_id on = 10; on < 20; ++on) EXPECT_NE(b.open_post(on, 1), 0u);
    EXPECT_FALSE(b.attach(3, std::to_string(finished) + "-0", start, out));
}
TEST(stream_board, a_listener_without_an_id_hears_what_nobody_has_heard) {
    stream_board b({}, true, true);
    actions out;
    const auto heard = [&] {
        std::vector<std::string> texts;
        for (const auto& a : out)
            if (const auto* e = std::get_if<act::emit>(&a); e && !e->text.empty()) texts.push_back(e->text);
        out.clear();
        return texts;
    };
    ASSERT_TRUE(b.attach(1, "", start, out));
    b.send(stream_board::standalone, "first", start, out);
    EXPECT_EQ(heard(), std::vector<std::string>{"first"});
    b.gone(1, start);
    b.send(stream_board::standalone, "second", start, out);
    ASSERT_TRUE(b.attach(2, "", start, out));
    const auto* primed = std::get_if<act::emit>(&out.at(1));
    ASSERT_TRUE(primed);
    EXPECT_EQ(primed->event, "0-1") << "whoever is cut off right here resumes after what was heard";
    EXPECT_EQ(heard(), std::vector<std::string>{"second"});
    ASSERT_TRUE(b.attach(3, "", start, out));
    EXPECT_TRUE(heard().empty());
    ASSERT_TRUE(b.attach(4, "0-0", start, out));
}
TEST(stream_board, finished_streams_are_forgotten_after_a_while) {
    stream_board b({}, true, true);
    actions out;
    const auto n = b.open_post(1, 1);
    b.ensure_open(n, start, out);
    b.answer(n, "answer", start, out);
    EXPECT_GT(b.bytes(), 0u);
    b.tick(start + limits().replay_keep, out);
    EXPECT_EQ(b.bytes(), 0u);
}
TEST(stream_board, a_second_listener_takes_the_place_of_the_first) {
    stream_board b({}, true, true);
    actions out;
    ASSERT_TRUE(b.attach(1, "", start, out));
    out.clear();
    ASSERT_TRUE(b.attach(2, "", start, out));
    EXPECT_EQ(all<act::end>(out).at(0).on, 1u);
    EXPECT_EQ(all<act::head>(out).at(0).on, 2u);
}
TEST(stream_board, a_stream_that_is_no_more_is_not_replaced_by_the_one_somebody_else_reads) {
    stream_board b({}, true, true);
    actions out;
    ASSERT_TRUE(b.attach(1, "", start, out));
    b.send(stream_board::standalone, "news", start, out);
    const auto n = b.open_post(2, 1);
    b.send(n, "progress", start, out);
    b.skip(n, start, out);
    EXPECT_EQ(all<act::end>(out).at(0).on, 2u);
    out.clear();
    for (const auto& id : {std::to_string(n) + "-1", std::string("99-1"), std::string("1-")}) EXPECT_FALSE(b.attach(3, id, start, out)) << id;
    EXPECT_TRUE(out.empty());
    b.send(stream_board::standalone, "more", start, out);
    EXPECT_EQ(all<act::emit>(out).at(0).on, 1u);
    EXPECT_EQ(b.bytes(), 8u) << "the progress is forgotten";
}
TEST(stream_board, an_event_id_that_is_none_gets_the_standalone_stream) {
    for (const char* id : {"x-1", "-", "1-x", "18446744073709551616-1"}) {
        stream_board b({}, true, true);
        actions out;
        EXPECT_TRUE(b.attach(1, id, start, out));
        EXPECT_TRUE(b.attached(stream_board::standalone)) << id;
    }
}
TEST(stream_board, without_resuming_there_are_no_ids_and_nothing_is_kept) {
    stream_board b({}, false, true);
    actions out;
    const auto n = b.open_post(1, 1);
    b.send(n, "1", start, out);
    for (const auto& e : all<act::emit>(out)) EXPECT_TRUE(e.event.empty());
    EXPECT_EQ(b.bytes(), 0u);
}

}  // namespace
}  // namespace holdfast::mcp::gateway::test
