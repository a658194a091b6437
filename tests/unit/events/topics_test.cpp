// Topics: durable numbering, seeding, dropping, patterns, closing.
#include "unit/events/support.hpp"

using namespace holdfast;
using namespace holdfast::events;
using namespace holdfast::events::testing;

TEST(topics, a_seeded_topic_continues_after_the_last_durable_event) {
    bus b;
    const auto t = b.open_topic("session:a", 3, 42);
    ASSERT_TRUE(t);
    EXPECT_EQ(t->next_seq(), 42u);
    EXPECT_EQ(t->publish("x", number{1}), 42u);
    EXPECT_EQ(b.current("session:a"), (position{3, 42}));
    auto s = b.subscribe("session:a", {.from = 40, .epoch = 3});
    EXPECT_EQ(drain(s), "gap(trimmed 40-41) 42");
}

TEST(topics, publish_at_accepts_only_the_next_number) {
    bus b;
    ASSERT_TRUE(b.open_topic("t", 1, 5));
    const auto r = b.publish_at("t", 5, "x", number{1}, 1234);
    ASSERT_TRUE(r);
    EXPECT_EQ(*r, 5u);
    EXPECT_EQ(b.replay("t", 5).events.at(0)->timestamp_ms(), 1234);
    for (const std::uint64_t wrong : {5u, 7u}) {
        const auto refused = b.publish_at("t", wrong, "x", number{1});
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, errc::stale);
    }
    EXPECT_EQ(b.publish_at("t", 0, "x", number{1}).error().code, errc::invalid_argument);
    EXPECT_EQ(b.next_seq("t"), 6u);
}

TEST(topics, dropping_closes_readers_after_their_backlog) {
    bus b;
    int wakes = 0;
    auto s = b.subscribe("t", {.wake = [&] { ++wakes; }});
    publish_numbers(b, "t", 1, 2);
    const auto at = b.drop_topic("t");
    ASSERT_TRUE(at);
    EXPECT_EQ(at->seq, 2u);
    EXPECT_EQ(drain(s), "1 2 closed(topic_dropped 2)");
    EXPECT_EQ(b.drop_topic("t").error().code, errc::not_found);
    EXPECT_EQ(b.stats().topics, 0u);
    EXPECT_EQ(b.stats().published, 2u);
}

TEST(topics, dropping_wakes_an_idle_reader) {
    bus b;
    int wakes = 0;
    auto s = b.subscribe("t", {.wake = [&] { ++wakes; }});
    ASSERT_TRUE(b.drop_topic("t"));
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(drain(s), "closed(topic_dropped 0)");
}

TEST(topics, numbering_is_never_ambiguous_across_a_drop) {
    bus b;
    b.publish("t", "x", number{1});
    const auto first = *b.current("t");
    const topic_handle old = b.topic("t");
    ASSERT_TRUE(b.drop_topic("t"));
    EXPECT_EQ(old.publish("x", number{2}), 0u);
    EXPECT_EQ(b.publish("t", "x", number{2}), 1u);
    EXPECT_NE(b.current("t")->epoch, first.epoch);
    ASSERT_TRUE(b.drop_topic("t"));
    ASSERT_TRUE(b.open_topic("t", first.epoch, first.seq + 1));
    EXPECT_EQ(b.publish("t", "x", number{3}), 2u);
}

TEST(topics, trimming_frees_events_and_keeps_the_numbering) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::drop_oldest});
    publish_numbers(b, "t", 1, 100);
    EXPECT_TRUE(b.trim_topic("t"));
    EXPECT_FALSE(b.trim_topic("unknown"));
    EXPECT_EQ(b.stats().retained_bytes, 0u);
    publish_numbers(b, "t", 101, 101);
    EXPECT_EQ(drain(s), "gap(overrun 1-100) 101");
}

TEST(topics, one_trimmed_that_nobody_is_near_is_but_its_numbers) {
    bus b({.max_topics = 1});
    publish_numbers(b, "t", 1, 100);
    const position at = *b.current("t");
    EXPECT_TRUE(b.trim_topic("t"));
    EXPECT_TRUE(b.trim_topic("t"));
    EXPECT_EQ(b.current("t"), at);
    EXPECT_EQ(b.next_seq("t"), 101u);
    EXPECT_EQ(b.topics(), (std::vector<std::string>{"t"}));
    EXPECT_EQ(b.stats().topics, 1u);
    EXPECT_EQ(b.stats().published, 100u);
    const auto r = b.replay("t", 40);
    ASSERT_TRUE(r.gap);
    EXPECT_EQ(r.gap->from, 40u);
    EXPECT_EQ(r.gap->to, 100u);
    EXPECT_EQ(r.current, at);
    EXPECT_FALSE(b.replay("t", 101).gap);
    EXPECT_EQ(b.publish("other", "x", number{1}), 0u) << "it counts as a topic";

    // Who was there before goes on without a gap; who missed something is told.
    auto current = b.subscribe("t", {.from = 101, .epoch = at.epoch});
    auto late = b.subscribe("t", {.from = 100, .epoch = at.epoch});
    EXPECT_EQ(current.attached_at(), at);
    publish_numbers(b, "t", 101, 102);
    EXPECT_EQ(drain(current), "101 102");
    EXPECT_EQ(drain(late), "gap(trimmed 100-100) 101 102");
    EXPECT_EQ(b.stats().published, 102u);
}

TEST(topics, one_that_somebody_is_near_does_not_go_to_rest) {
    bus b;
    publish_numbers(b, "watched", 1, 3);
    publish_numbers(b, "held", 1, 3);
    publish_numbers(b, "free", 1, 3);
    auto s = b.subscribe("watched");
    const topic_handle h = b.topic("held");
    auto pattern = b.subscribe("f*");
    for (const char* name : {"watched", "held", "free"}) EXPECT_TRUE(b.trim_topic(name));
    publish_numbers(b, "watched", 4, 4);
    EXPECT_EQ(h.publish("x", number{4}), 4u);
    publish_numbers(b, "free", 4, 4);
    EXPECT_EQ(drain(s), "4");
    EXPECT_EQ(b.replay("held", 4).events.size(), 1u);
    EXPECT_EQ(drain(pattern), "4");
}

TEST(topics, one_at_rest_is_opened_dropped_and_watched_like_others) {
    bus b;
    publish_numbers(b, "t", 1, 3);
    const position at = *b.current("t");
    b.trim_topic("t");
    auto all = b.subscribe("*");
    auto opened = b.open_topic("t", at.epoch, 4);
    ASSERT_TRUE(opened);
    EXPECT_EQ(*opened->publish_at(4, "x", number{4}), 4u);
    EXPECT_EQ(drain(all), "4");
    all.unsubscribe();
    all = {};
    *opened = {};
    b.trim_topic("t");
    const auto dropped = b.drop_topic("t");
    ASSERT_TRUE(dropped);
    EXPECT_EQ(dropped->seq, 4u);
    EXPECT_FALSE(b.current("t"));
    b.trim_topic("t");
    ASSERT_TRUE(b.open_topic("t", at.epoch + 1, 1));
    b.trim_topic("t");
    ASSERT_TRUE(b.open_topic("t", at.epoch + 2, 7)) << "another history";
    EXPECT_EQ(*b.current("t"), (position{at.epoch + 2, 6}));
    b.trim_topic("t");
    b.close();
    EXPECT_EQ(b.publish("t", "x", number{1}), 0u);
}

TEST(topics, trimming_spares_what_a_lossless_reader_needs) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::lossless});
    publish_numbers(b, "t", 1, 20);
    s.next(5);
    s.next(1);  // 1…5 consumed
    b.trim_topic("t");
    EXPECT_EQ(b.replay("t", 1).gap->to, 5u);
    EXPECT_EQ(b.replay("t", 6).events.size(), 15u);
}

TEST(topics, limits_can_be_changed_while_in_use) {
    bus b;
    publish_numbers(b, "t", 1, 100);
    b.set_limits("t", {.capacity = 3});
    auto r = b.replay("t", 1);
    EXPECT_EQ(r.gap->to, 97u);
    b.set_limits("t", {.capacity = 0, .max_bytes = 0});  // at least one event
    publish_numbers(b, "t", 101, 102);
    EXPECT_EQ(b.replay("t", 102).events.size(), 1u);
}

TEST(topics, their_number_is_bounded_and_patterns_are_no_names) {
    bus b({.max_topics = 2});
    EXPECT_EQ(b.publish("a", "x", number{1}), 1u);
    EXPECT_EQ(b.publish("b", "x", number{1}), 1u);
    EXPECT_EQ(b.publish("c", "x", number{1}), 0u);
    EXPECT_EQ(b.open_topic("c", 1, 1).error().code, errc::overloaded);
    EXPECT_EQ(b.publish("a*", "x", number{1}), 0u);
    EXPECT_EQ(b.open_topic("a*", 1, 1).error().code, errc::invalid_argument);
    EXPECT_EQ(b.publish_at("c", 1, "x", number{1}).error().code, errc::unavailable);
    auto s = b.subscribe("c");
    EXPECT_EQ(drain(s), "closed(refused 0)");
    EXPECT_EQ(b.stats().refused, 3u);
    EXPECT_EQ(b.topics(), (std::vector<std::string>{"a", "b"}));
}

TEST(patterns, deliver_each_event_with_its_own_topic_and_number) {
    bus b;
    publish_numbers(b, "session:old", 1, 2);
    int wakes = 0;
    auto s = b.subscribe("session:*", {.wake = [&] { ++wakes; }});
    EXPECT_EQ(drain(s), "");
    b.publish("session:old", "x", number{1});
    b.publish("server:x", "x", number{1});
    b.publish("session:new", "x", number{1});  // created later
    b.publish("session:new", "x", number{2});
    EXPECT_EQ(wakes, 1);
    std::map<std::string, std::vector<std::uint64_t>> got;
    for (const auto& i : s.poll(100)) got[i.ev->topic()].push_back(i.ev->seq());
    EXPECT_EQ(got, (std::map<std::string, std::vector<std::uint64_t>>{{"session:old", {3}}, {"session:new", {1, 2}}}));
    b.publish("session:third", "x", number{1});
    EXPECT_EQ(wakes, 2);
}

TEST(patterns, a_busy_topic_does_not_starve_the_others) {
    bus b;
    auto s = b.subscribe("*");
    publish_numbers(b, "busy", 1, 100);
    publish_numbers(b, "quiet", 1, 1);
    EXPECT_EQ(s.next(5).events[0]->topic(), "busy");
    EXPECT_EQ(s.next(5).events[0]->topic(), "quiet");
    EXPECT_EQ(s.next(5).events[0]->seq(), 6u);
}

TEST(patterns, go_on_when_a_topic_is_dropped_and_say_so) {
    bus b;
    auto s = b.subscribe("session:*");
    publish_numbers(b, "session:a", 1, 1);
    ASSERT_TRUE(b.drop_topic("session:a"));
    publish_numbers(b, "session:a", 1, 1);  // another history of that name
    const auto items = s.poll(10);
    ASSERT_EQ(items.size(), 3u);
    std::vector<std::uint64_t> epochs;
    int notes = 0;
    for (const auto& i : items) {
        if (i.ev) epochs.push_back(i.ev->epoch());
        if (i.note) {
            ++notes;
            EXPECT_EQ(i.note->what, kind::epoch_changed);
            EXPECT_EQ(i.note->why, reason::topic_dropped);
            EXPECT_EQ(i.note->topic, "session:a");
        }
    }
    EXPECT_EQ(notes, 1);
    ASSERT_EQ(epochs.size(), 2u);
    EXPECT_NE(epochs[0], epochs[1]);
}

TEST(patterns, overrun_in_one_topic_closes_the_subscription_naming_it) {
    bus b({.topic = {.capacity = 8}});
    auto s = b.subscribe("session:*");
    publish_numbers(b, "session:a", 1, 20);
    const auto items = s.poll(10);
    ASSERT_EQ(items.size(), 1u);
    EXPECT_EQ(items[0].note->what, kind::closed);
    EXPECT_EQ(items[0].note->topic, "session:a");
    EXPECT_TRUE(s.closed());
}

TEST(patterns, unsubscribed_ones_hear_of_no_new_topic) {
    bus b;
    int wakes = 0;
    auto s = b.subscribe("*", {.wake = [&] { ++wakes; }});
    s.unsubscribe();
    publish_numbers(b, "t", 1, 1);
    EXPECT_EQ(wakes, 0);
}

TEST(closing, drains_then_tells_everyone_and_refuses) {
    auto b = std::make_unique<bus>();
    int wakes = 0;
    auto one = b->subscribe("t", {.wake = [&] { ++wakes; }});
    auto all = b->subscribe("*", {.wake = [&] { ++wakes; }});
    auto none = b->subscribe("nothing:*", {.wake = [&] { ++wakes; }});
    publish_numbers(*b, "t", 1, 1);
    const topic_handle t = b->topic("t");
    b->close();
    EXPECT_EQ(wakes, 3);
    EXPECT_EQ(b->publish("t", "x", number{1}), 0u);
    auto late = b->subscribe("late"), late_pattern = b->subscribe("late:*");
    b.reset();
    EXPECT_EQ(t.publish("x", number{1}), 0u);
    EXPECT_EQ(drain(one), "1 closed(bus_closed 1)");
    EXPECT_EQ(drain(all), "1 closed(bus_closed 0)");
    EXPECT_EQ(drain(none), "closed(bus_closed 0)");
    EXPECT_EQ(drain(late), "closed(bus_closed 0)");
    EXPECT_EQ(drain(late_pattern), "closed(bus_closed 0)");
}

TEST(closing, events_outlive_the_bus) {
    event kept;
    {
        bus b;
        auto s = b.subscribe("t");
        b.publish("t", "x", json{{"a", 1}});
        kept = s.poll(1).at(0).ev;
    }
    EXPECT_EQ(json::parse(kept->text()).at("topic"), "t");
}
