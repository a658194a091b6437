// Rules E1, E2 and E4 (E3 is in policies_test.cpp).
#include "unit/events/support.hpp"

using namespace holdfast;
using namespace holdfast::events;
using namespace holdfast::events::testing;

TEST(E1, numbers_start_at_one_per_topic) {
    bus b;
    EXPECT_EQ(b.publish("session:a", "x", json::object()), 1u);
    EXPECT_EQ(b.publish("session:a", "x", json::object()), 2u);
    EXPECT_EQ(b.publish("session:b", "x", json::object()), 1u);
    EXPECT_EQ(b.next_seq("session:a"), 3u);
    EXPECT_EQ(b.next_seq("session:unknown"), 1u);
}

TEST(E1, an_event_carries_topic_number_epoch_type_and_time) {
    manual_clock clock;
    bus b({.first_epoch = 7, .clock = &clock});
    auto s = b.subscribe("server:files");
    b.publish("server:files", "mcp_status_change", json{{"to", "healthy"}, {"seq", "not the envelope's"}});
    const auto items = s.poll(10);
    ASSERT_EQ(items.size(), 1u);
    const event_body& e = *items[0].ev;
    const auto ms = std::chrono::duration_cast<milliseconds>(clock.wall().time_since_epoch()).count();
    EXPECT_EQ(e.topic(), "server:files");
    EXPECT_EQ(e.timestamp_ms(), ms);
    EXPECT_EQ(json::parse(e.text()), (json{{"topic", "server:files"}, {"seq", 1}, {"epoch", 7}, {"type", "mcp_status_change"},
                                           {"timestamp", rfc3339(clock.wall())}, {"to", "healthy"}}));
    EXPECT_EQ(e.payload_as<json>()->at("to"), "healthy");
    EXPECT_EQ(e.payload_as<number>(), nullptr);
}

TEST(E1, text_is_built_once_and_shared) {
    bus b;
    auto one = b.subscribe("t"), two = b.subscribe("t");
    b.publish("t", "x", std::make_shared<const std::string>(R"( {"a":1,"b":[2]} )"));
    const event e1 = one.poll(1).at(0).ev, e2 = two.poll(1).at(0).ev;
    EXPECT_EQ(&e1->text(), &e2->text());
    EXPECT_EQ(shared_text(e1).get(), &e2->text());
    EXPECT_EQ(json::parse(e1->text()).at("b"), json::array({2}));
}

TEST(E1, payloads_of_every_form_make_valid_json) {
    bus b;
    auto s = b.subscribe("quote\"d");
    b.publish("quote\"d", "ty\\pe", json::object());
    b.publish("quote\"d", "x", json("just text \xff"));
    b.publish("quote\"d", "x", std::make_shared<const std::string>("{ }"));
    b.publish("quote\"d", "x", object_text{});
    b.publish("quote\"d", "x", number{5});
    const auto items = s.poll(10);
    ASSERT_EQ(items.size(), 5u);
    for (const auto& i : items) EXPECT_EQ(json::parse(i.ev->text()).at("topic"), "quote\"d") << i.ev->text();
    EXPECT_TRUE(json::parse(items[1].ev->text()).contains("value"));
    EXPECT_EQ(json::parse(items[4].ev->text()).at("value"), 5);
}

TEST(E1, a_type_filter_keeps_the_numbers) {
    bus b;
    auto s = b.subscribe("t", {.types = {"keep"}});
    b.publish("t", "drop", number{1});
    b.publish("t", "keep", number{2});
    b.publish("t", "drop", number{3});
    b.publish("t", "keep", number{4});
    EXPECT_EQ(drain(s), "2 4");
    EXPECT_EQ(drain(s), "");
}

TEST(E2, subscribe_tells_the_current_number_and_delivers_what_follows) {
    bus b;
    publish_numbers(b, "t", 1, 3);
    auto s = b.subscribe("t");
    EXPECT_EQ(s.attached_at().seq, 3u);
    publish_numbers(b, "t", 4, 5);
    EXPECT_EQ(drain(s), "4 5");
}

TEST(E2, subscribe_from_a_number_replays) {
    bus b;
    publish_numbers(b, "t", 1, 200);
    auto s = b.subscribe("t", {.from = 198});
    EXPECT_EQ(drain(s), "198 199 200");
    publish_numbers(b, "t", 201, 201);
    EXPECT_EQ(drain(s), "201");
}

TEST(E2, a_trimmed_past_is_a_gap_whatever_the_policy) {
    for (const overflow p : {overflow::disconnect, overflow::drop_oldest, overflow::coalesce, overflow::lossless}) {
        bus b({.topic = {.capacity = 4}});
        publish_numbers(b, "t", 1, 10);
        auto s = b.subscribe("t", {.from = 2, .policy = p});
        EXPECT_EQ(drain(s), "gap(trimmed 2-6) 7 8 9 10");
    }
}

TEST(E2, replay_yields_events_or_the_first_number_available) {
    bus b({.topic = {.capacity = 4}});
    publish_numbers(b, "t", 1, 3);
    auto r = b.replay("t", 2);
    EXPECT_FALSE(r.gap);
    ASSERT_EQ(r.events.size(), 2u);
    EXPECT_EQ(r.events[0]->seq(), 2u);
    EXPECT_EQ(r.current.seq, 3u);
    publish_numbers(b, "t", 4, 100);
    r = b.replay("t", 50, 2);
    ASSERT_TRUE(r.gap);
    EXPECT_EQ(r.gap->why, reason::trimmed);
    EXPECT_EQ(r.gap->to + 1, 97u);
    ASSERT_EQ(r.events.size(), 2u);
    EXPECT_EQ(r.events[0]->seq(), 97u);
    EXPECT_TRUE(b.replay("t", 101).events.empty());
    EXPECT_TRUE(b.replay("unknown", 1).events.empty());
}

TEST(E2, a_change_of_epoch_is_announced_before_anything_new) {
    bus b;
    ASSERT_TRUE(b.open_topic("t", 1, 1));
    auto s = b.subscribe("t");
    publish_numbers(b, "t", 1, 3);
    EXPECT_EQ(drain(s, 1), "1");
    ASSERT_TRUE(b.open_topic("t", 2, 3));
    publish_numbers(b, "t", 3, 4);
    const auto items = s.poll(10);
    ASSERT_EQ(items.size(), 3u);
    EXPECT_EQ(items[0].note->what, kind::epoch_changed);
    EXPECT_EQ(items[0].note->epoch, 2u);
    EXPECT_EQ(items[0].note->from, 3u);
    EXPECT_EQ(items[1].ev->seq(), 3u);
    EXPECT_EQ(items[1].ev->epoch(), 2u);
}

TEST(E2, attaching_with_a_number_of_another_epoch_forces_a_snapshot) {
    bus b;
    ASSERT_TRUE(b.open_topic("t", 5, 1));
    publish_numbers(b, "t", 1, 3);
    auto other_epoch = b.subscribe("t", {.from = 2, .epoch = 4});
    EXPECT_EQ(drain(other_epoch), "epoch_changed(reopened 4)");
    auto beyond = b.subscribe("t", {.from = 5});
    EXPECT_EQ(drain(beyond), "epoch_changed(reopened 4)");
    auto next = b.subscribe("t", {.from = 4, .epoch = 5});
    EXPECT_EQ(drain(next), "");
    publish_numbers(b, "t", 4, 4);
    EXPECT_EQ(drain(other_epoch), "4");
    EXPECT_EQ(drain(beyond), "4");
    EXPECT_EQ(drain(next), "4");
}

TEST(E4, no_wake_after_unsubscribe) {
    bus b;
    int wakes = 0;
    auto s = b.subscribe("t", {.wake = [&] { ++wakes; }});
    publish_numbers(b, "t", 1, 1);
    EXPECT_EQ(wakes, 1);
    drain(s);
    s.unsubscribe();
    publish_numbers(b, "t", 2, 3);
    EXPECT_EQ(wakes, 1);
    EXPECT_TRUE(s.closed());
    EXPECT_EQ(drain(s), "");
    EXPECT_EQ(b.stats().subscriptions, 1u);
    s = {};
    EXPECT_EQ(b.stats().subscriptions, 0u);
}

TEST(E4, wakes_once_until_a_drain_came_back_empty) {
    bus b;
    int wakes = 0;
    auto s = b.subscribe("t", {.wake = [&] { ++wakes; }});
    publish_numbers(b, "t", 1, 5);
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(s.next(2).events.size(), 2u);
    publish_numbers(b, "t", 6, 6);
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(drain(s), "3 4 5 6");
    EXPECT_FALSE(s.more());
    publish_numbers(b, "t", 7, 7);
    EXPECT_EQ(wakes, 2);
    EXPECT_TRUE(s.more());
}

TEST(E4, a_backlog_wakes_at_subscription) {
    bus b;
    publish_numbers(b, "t", 1, 1);
    int wakes = 0;
    auto s = b.subscribe("t", {.from = 1, .wake = [&] { ++wakes; }});
    EXPECT_EQ(wakes, 1);
    EXPECT_EQ(drain(s), "1");
}

TEST(E4, a_throwing_handler_affects_no_other_and_not_itself) {
    bus b;
    manual_executor ex;
    std::vector<std::uint64_t> good, bad;
    auto thrower = b.subscribe_push("t", {}, ex.post(), [&](const item& i) {
        bad.push_back(i.ev->seq());
        throw std::runtime_error("handler");
    });
    auto other = b.subscribe_push("t", {}, ex.post(), [&](const item& i) { good.push_back(i.ev->seq()); });
    auto waker = b.subscribe("t", {.wake = [] { throw 1; }});
    publish_numbers(b, "t", 1, 3);
    ex.run_all();
    EXPECT_EQ(good, (std::vector<std::uint64_t>{1, 2, 3}));
    EXPECT_EQ(bad, good);
    EXPECT_EQ(thrower.handler_exceptions(), 3u);
    EXPECT_EQ(other.handler_exceptions(), 0u);
    EXPECT_EQ(b.stats().callback_exceptions, 4u);
}

TEST(E4, unsubscribing_inside_the_handler_stops_it_without_deadlock) {
    bus b;
    manual_executor ex;
    push_subscription s;
    int calls = 0;
    s = b.subscribe_push("t", {}, ex.post(), [&](const item&) {
        ++calls;
        s.unsubscribe();
    });
    publish_numbers(b, "t", 1, 5);
    ex.run_all();
    publish_numbers(b, "t", 6, 6);
    ex.run_all();
    EXPECT_EQ(calls, 1);
}

TEST(E4, unsubscribing_inside_the_wake_does_not_deadlock) {
    bus b;
    subscription s;
    int wakes = 0;
    s = b.subscribe("t", {.wake = [&] {
        ++wakes;
        s.unsubscribe();
    }});
    publish_numbers(b, "t", 1, 2);
    EXPECT_EQ(wakes, 1);
}

TEST(E4, unsubscribe_waits_for_the_handler_that_runs) {
    bus b;
    std::optional<thread_executor> ex{std::in_place};
    wait_flag entered, leave;
    std::atomic<bool> inside{false};
    std::atomic<int> calls{0};
    auto s = b.subscribe_push("t", {}, ex->post(), [&](const item&) {
        inside = true;
        ++calls;
        entered.set();
        leave.wait();
        inside = false;
    });
    publish_numbers(b, "t", 1, 10);
    ASSERT_TRUE(entered.wait());
    std::thread releaser([&] { leave.set(); });
    s.unsubscribe();
    EXPECT_FALSE(inside);
    const int then = calls;  // 1, unless the handler was released before unsubscribe() had begun
    publish_numbers(b, "t", 11, 20);
    releaser.join();
    ex.reset();  // runs what is queued
    EXPECT_EQ(calls, then);
}

TEST(E4, a_push_subscription_lets_others_run_between_batches) {
    bus b;
    manual_executor ex;
    std::size_t seen = 0;
    auto s = b.subscribe_push("t", {}, ex.post(), [&](const item&) { ++seen; });
    ex.run_all();  // the drain that arms
    publish_numbers(b, "t", 1, static_cast<int>(3 * push_batch));
    EXPECT_EQ(ex.run_all(), 4u);
    EXPECT_EQ(seen, 3 * push_batch);
    EXPECT_EQ(s.attached_at().seq, 0u);
}
