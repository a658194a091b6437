// Rule E3: what happens to a slow reader, and that memory is bounded under every policy.
#include "unit/events/support.hpp"

using namespace holdfast;
using namespace holdfast::events;
using namespace holdfast::events::testing;

namespace {
const bus_options small{.topic = {.capacity = 8}};
std::function<std::string(const event_body&)> parity() {
    return [](const event_body& e) { return e.payload_as<number>()->value % 2 ? "odd" : "even"; };
}
}  // namespace

TEST(E3, disconnect_closes_a_slow_reader_with_reason_and_last_number) {
    bus b(small);
    auto slow = b.subscribe("t"), quick = b.subscribe("t");
    publish_numbers(b, "t", 1, 2);
    EXPECT_EQ(drain(slow), "1 2");
    EXPECT_EQ(drain(quick), "1 2");
    for (int i = 3; i <= 20; ++i) {
        publish_numbers(b, "t", i, i);
        EXPECT_EQ(drain(quick), std::to_string(i));
    }
    EXPECT_EQ(drain(slow), "closed(overrun 2)");
    EXPECT_TRUE(slow.closed());
    EXPECT_EQ(drain(slow), "");
    EXPECT_EQ(b.stats().overruns, 1u);
    auto again = b.subscribe("t", {.from = 3});
    EXPECT_EQ(drain(again, 2), "gap(trimmed 3-12) 13");
}

TEST(E3, disconnect_spares_a_reader_exactly_one_ring_behind) {
    bus b(small);
    auto s = b.subscribe("t");
    publish_numbers(b, "t", 1, 8);
    EXPECT_EQ(drain(s), "1 2 3 4 5 6 7 8");
}

TEST(E3, drop_oldest_goes_on_after_an_explicit_gap) {
    bus b(small);
    auto s = b.subscribe("t", {.policy = overflow::drop_oldest});
    publish_numbers(b, "t", 1, 20);
    EXPECT_EQ(drain(s), "gap(overrun 1-12) 13 14 15 16 17 18 19 20");
}

TEST(E3, drop_oldest_in_the_middle_of_a_chunk_being_read) {
    bus b({.topic = {.capacity = 64}});
    auto s = b.subscribe("t", {.policy = overflow::drop_oldest});
    publish_numbers(b, "t", 1, 60);
    EXPECT_EQ(drain(s, 2), "1 2");
    publish_numbers(b, "t", 61, 70);
    EXPECT_EQ(drain(s, 2), "gap(overrun 3-6) 7");
}

TEST(E3, coalesce_delivers_the_newest_of_a_key_and_names_the_gaps) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .key = parity()});
    publish_numbers(b, "t", 1, 5);
    EXPECT_EQ(drain(s), "gap(coalesced 1-3) 4 5");
    publish_numbers(b, "t", 6, 6);
    EXPECT_EQ(drain(s), "6");
}

TEST(E3, coalesce_keeps_events_without_a_key_and_their_order) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .key = key_field("user")});
    b.publish("t", "typing", json{{"user", "ann"}});
    b.publish("t", "message", json::object());
    b.publish("t", "typing", json{{"user", "ann"}});
    b.publish("t", "typing", json{{"user", "bob"}});
    EXPECT_EQ(drain(s), "gap(coalesced 1-1) 2 3 4");
}

TEST(E3, coalesce_with_a_type_filter_and_small_reads) {
    bus b;
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .types = {"number"}, .key = parity()});
    for (int i = 1; i <= 3; ++i) {
        b.publish("t", "noise", number{0});
        b.publish("t", "number", number{i});
    }
    EXPECT_EQ(drain(s, 1), "gap(coalesced 2-2)");
    EXPECT_EQ(drain(s, 1), "4");
    EXPECT_EQ(drain(s, 1), "6");
    EXPECT_EQ(drain(s, 1), "");
}

TEST(E3, coalesce_beyond_the_ring_is_a_gap_too) {
    bus b(small);
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .key = [](const event_body& e) { return std::to_string(e.seq()); }});
    publish_numbers(b, "t", 1, 10);
    EXPECT_EQ(drain(s, 2), "gap(overrun 1-2) 3");
    publish_numbers(b, "t", 11, 30);
    EXPECT_EQ(drain(s), "4 5 6 7 8 9 10 gap(overrun 11-22) 23 24 25 26 27 28 29 30");
}

TEST(E3, coalesce_wakes_once_and_survives_an_epoch_change) {
    bus b;
    int wakes = 0;
    ASSERT_TRUE(b.open_topic("t", 1, 1));
    auto s = b.subscribe("t", {.policy = overflow::coalesce, .key = parity(), .wake = [&] { ++wakes; }});
    publish_numbers(b, "t", 1, 2);
    EXPECT_EQ(drain(s, 1), "1");
    publish_numbers(b, "t", 3, 3);
    EXPECT_EQ(wakes, 1);
    ASSERT_TRUE(b.open_topic("t", 2, 10));
    publish_numbers(b, "t", 10, 10);
    EXPECT_EQ(drain(s), "epoch_changed(reopened 10) 10");
}

TEST(E3, lossless_makes_the_publisher_wait) {
    bus b(small);
    wait_flag filled;
    auto s = b.subscribe("t", {.policy = overflow::lossless});
    std::atomic<int> published{0};
    std::thread publisher([&] {
        for (int i = 1; i <= 1000; ++i) {
            b.publish("t", "number", number{i});
            if (++published == 8) filled.set();
        }
    });
    ASSERT_TRUE(filled.wait());
    std::uint64_t expected = 1;
    while (expected <= 1000) {
        const batch got = s.next(3);
        ASSERT_EQ(got.note, nullptr);
        for (const event& e : got.events) ASSERT_EQ(e->seq(), expected++);
        EXPECT_LE(published.load(), static_cast<int>(expected) + 8);
    }
    publisher.join();
}

TEST(E3, lossless_waits_for_the_slowest_of_several) {
    bus b(small);
    auto one = b.subscribe("t", {.policy = overflow::lossless}), two = b.subscribe("t", {.policy = overflow::lossless});
    std::thread publisher([&] { publish_numbers(b, "t", 1, 500); });
    std::uint64_t n1 = 1, n2 = 1;
    while (n1 <= 500 || n2 <= 500) {
        for (const event& e : one.next(5).events) ASSERT_EQ(e->seq(), n1++);
        for (const event& e : two.next(2).events) ASSERT_EQ(e->seq(), n2++);
    }
    publisher.join();
}

TEST(E3, a_lossless_reader_that_leaves_or_a_closing_bus_releases_the_publisher) {
    for (const int how : {0, 1, 2}) {
        bus b(small);
        auto s = b.subscribe("t", {.policy = overflow::lossless});
        publish_numbers(b, "t", 1, 8);
        wait_flag published;
        std::uint64_t seq = 99;
        std::thread publisher([&] {
            seq = b.topic("t").publish("number", number{9});
            published.set();
        });
        if (how == 0) s.unsubscribe();
        if (how == 1) b.close();
        if (how == 2) b.drop_topic("t");
        EXPECT_TRUE(published.wait());
        publisher.join();
        // Closed: refused, whether it waited already or came later. Dropped: refused, or first of the topic's next life.
        const std::uint64_t expected[] = {9, 0, seq == 1u ? 1u : 0u};
        EXPECT_EQ(seq, expected[how]);
    }
}

TEST(E3, bytes_are_bounded_and_the_newest_event_is_always_kept) {
    constexpr std::size_t limit = 64 << 10;
    bus b({.topic = {.capacity = 1024, .max_bytes = limit}});
    auto idle = b.subscribe("t", {.policy = overflow::drop_oldest});
    for (int i = 0; i < 500; ++i) {
        b.publish("t", "big", std::make_shared<const std::string>(R"({"x":")" + std::string(1000, 'x') + "\"}"));
        ASSERT_LE(b.stats().retained_bytes, limit);
    }
    const auto kept = b.replay("t", 500 - 10);
    EXPECT_FALSE(kept.gap);
    b.publish("t", "huge", std::make_shared<const std::string>(R"({"x":")" + std::string(limit, 'x') + "\"}"));
    EXPECT_EQ(drain(idle), "gap(overrun 1-500) 501");
}

TEST(E3, freed_events_are_really_freed_with_an_idle_reader) {
    struct counted {
        std::shared_ptr<int> live;
        void append_fields(std::string&) const {}
        std::size_t bytes() const { return 0; }
    };
    const auto live = std::make_shared<int>(0);
    bus b({.topic = {.capacity = 128}});
    auto idle = b.subscribe("t");
    for (int i = 0; i < 10'000; ++i) b.publish("t", "x", counted{live});
    // The ring, the partly trimmed chunk before it, and the chunk the reader could hold.
    EXPECT_LE(live.use_count(), 128 + 2 * 64 + 1);
    b.trim_topic("t");
    EXPECT_LE(live.use_count(), 64 + 1);
    EXPECT_EQ(b.stats().retained_bytes, 0u);
}
