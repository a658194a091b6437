// Several threads, many events. Meant for ThreadSanitizer as much as for the assertions.
#include <random>

#include "unit/events/support.hpp"

using namespace holdfast;
using namespace holdfast::events;
using namespace holdfast::events::testing;

namespace {

/// Drains its subscription when woken, until it has seen `until`; checks order and explicit gaps.
class reader {
  public:
    reader(bus& b, std::string_view topic, subscribe_options o) {
        name_ = static_cast<int>(o.policy);
        o.wake = [this] { woken_.set(); };
        sub_ = b.subscribe(topic, std::move(o));
        expected_ = sub_.attached_at().seq + 1;
    }
    std::uint64_t attached() const { return sub_.attached_at().seq; }
    /// Returns the number of events seen; 0 after a failure.
    std::uint64_t run(std::uint64_t until) {
        std::uint64_t events = 0;
        for (int wakes = 0;;) {
            for (batch b = sub_.next(32); !b.empty(); b = sub_.next(32)) {
                for (const event& e : b.events) {
                    EXPECT_EQ(e->seq(), expected_);
                    expected_ = e->seq() + 1;
                    ++events;
                }
                if (!b.note) continue;
                EXPECT_NE(b.note->what, kind::epoch_changed);
                if (b.note->what == kind::closed) return events;
                EXPECT_EQ(b.note->from, expected_) << name_ << " " << to_string(b.note->why) << " to " << b.note->to;
                expected_ = b.note->to + 1;
            }
            if (expected_ > until) return events;
            if (!woken_.wait(++wakes)) {
                ADD_FAILURE() << "no wake; waiting for " << expected_;
                return 0;
            }
        }
    }

  private:
    wait_flag woken_;
    subscription sub_;
    std::uint64_t expected_ = 1;
    int name_ = 0;  // the policy
};

constexpr int publishers = 3;
constexpr int per_publisher = 20'000;
constexpr std::uint64_t total = publishers * per_publisher;

}  // namespace

TEST(concurrency, every_policy_sees_increasing_numbers_and_explicit_gaps) {
    bus b({.topic = {.capacity = 256}});
    reader lossless(b, "t", {.policy = overflow::lossless});
    reader drop(b, "t", {.policy = overflow::drop_oldest});
    reader merge(b, "t", {.policy = overflow::coalesce, .key = [](const event_body& e) {
        return std::to_string(e.payload_as<number>()->value % 7);
    }});
    reader ui(b, "t", {});
    std::vector<std::thread> threads;
    std::uint64_t seen = 0;
    threads.emplace_back([&] { seen = lossless.run(total); });
    threads.emplace_back([&] { drop.run(total); });
    threads.emplace_back([&] { merge.run(total); });
    threads.emplace_back([&] { ui.run(total); });
    for (int p = 0; p < publishers; ++p) threads.emplace_back([&] { publish_numbers(b, "t", 1, per_publisher); });
    for (auto& t : threads) t.join();
    EXPECT_EQ(seen, total);
    EXPECT_EQ(b.stats().published, total);
}

TEST(concurrency, attaching_while_others_publish_leaves_no_gap) {
    // E2's recipe: subscribe, take the snapshot, discard what it has, and the union is all of it, once.
    bus b;
    std::mutex state_m;
    std::uint64_t state = 0;  // the snapshot: number of the last event applied
    std::atomic<bool> stop{false};
    std::thread publisher([&] {
        while (!stop) {
            {
                const std::lock_guard lock(state_m);
                state = b.publish("t", "x", number{1});
            }
            std::this_thread::yield();  // a mutex is not fair: let the snapshot be taken
        }
    });
    std::mt19937 random(42);
    for (int round = 0; round < 50; ++round) {
        auto s = b.subscribe("t", {.policy = overflow::lossless});
        const std::uint64_t attached = s.attached_at().seq;
        std::uint64_t snapshot = 0;
        while (snapshot < attached) {  // the publisher may be between the two
            const std::unique_lock lock(state_m, std::try_to_lock);
            if (lock) snapshot = state;
            for (const event& e : s.next(64).events) ASSERT_GT(e->seq(), attached);  // it may be waiting for us
            if (lock) break;
        }
        ASSERT_GE(snapshot, attached);
        s.unsubscribe();
        auto again = b.subscribe("t", {.from = snapshot + 1, .policy = overflow::lossless});
        std::uint64_t expected = snapshot + 1;
        const std::uint64_t goal = expected + random() % 200;
        while (expected < goal) {
            const batch got = again.next(16);
            if (got.note) {  // the ring went on between the two subscriptions: said so, which is the rule
                ASSERT_EQ(got.note->what, kind::gap);
                ASSERT_EQ(got.note->from, expected);
                expected = got.note->to + 1;
            }
            for (const event& e : got.events) ASSERT_EQ(e->seq(), expected++);
        }
    }
    stop = true;
    publisher.join();
}

TEST(concurrency, a_pattern_sees_all_topics_in_order_while_they_appear) {
    constexpr int topics = 40, events = 200;
    bus b;
    wait_flag woken;
    auto s = b.subscribe("session:*", {.wake = [&] { woken.set(); }});
    std::vector<std::thread> threads;
    for (int p = 0; p < 2; ++p)
        threads.emplace_back([&b, p] {
            for (int i = 0; i < events; ++i)
                for (int t = p; t < topics; t += 2) b.publish("session:" + std::to_string(t), "x", number{i});
        });
    std::unordered_map<std::string, std::uint64_t> last;
    for (int seen = 0, wakes = 0; seen < topics * events;) {
        for (batch got = s.next(16); !got.empty(); got = s.next(16)) {
            ASSERT_EQ(got.note, nullptr);
            for (const event& e : got.events) {
                ASSERT_EQ(e->seq(), ++last[e->topic()]);
                ++seen;
            }
        }
        if (seen == topics * events) break;
        ASSERT_TRUE(woken.wait(++wakes));
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(last.size(), static_cast<std::size_t>(topics));
}

TEST(concurrency, no_handler_runs_after_unsubscribe_returned) {
    bus b;
    std::atomic<bool> stop{false};
    thread_executor ex;
    std::thread publisher([&] {
        for (int i = 0; !stop; ++i) b.publish("t", "x", number{i});
    });
    for (int round = 0; round < 300; ++round) {
        auto gone = std::make_shared<std::atomic<bool>>(false);
        auto push = b.subscribe_push("t", {.policy = overflow::drop_oldest}, ex.post(),
                                     [gone](const item&) { EXPECT_FALSE(*gone); });
        auto pull = b.subscribe("t", {.wake = [gone] { EXPECT_FALSE(*gone); }});
        drain(pull, 64);
        push.unsubscribe();
        pull.unsubscribe();
        *gone = true;
    }
    stop = true;
    publisher.join();
}

TEST(concurrency, topics_dropped_seeded_and_trimmed_under_fire) {
    bus b({.topic = {.capacity = 32}});
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int p = 0; p < 2; ++p)
        threads.emplace_back([&] {
            for (int i = 0; !stop; ++i) EXPECT_NE(b.publish("session:x", "x", number{i}), 0u);
        });
    wait_flag seen;
    threads.emplace_back([&] {
        auto all = b.subscribe("session:*", {.policy = overflow::drop_oldest});
        std::pair<std::uint64_t, std::uint64_t> last{0, 0};  // epoch, number
        while (!stop)
            for (const item& i : all.poll(50)) {
                if (!i.ev) continue;
                EXPECT_LT(last, std::pair(i.ev->epoch(), i.ev->seq()));
                last = {i.ev->epoch(), i.ev->seq()};
                seen.set();
            }
    });
    const std::uint64_t base = 1'000'000'000'000'000;  // later than any epoch given on demand
    for (int i = 0; i < 300; ++i) {
        b.trim_topic("session:x");
        EXPECT_TRUE(b.open_topic("session:x", base + static_cast<std::uint64_t>(i), 10).has_value());
        b.stats();
        b.replay("session:x", 10);
    }
    EXPECT_TRUE(seen.wait());
    stop = true;
    for (auto& t : threads) t.join();
    for (int i = 0; i < 300; ++i) {
        auto s = b.subscribe("session:x");
        EXPECT_TRUE(b.drop_topic("session:x").has_value());
        EXPECT_EQ(drain(s), "closed(topic_dropped 0)");
    }
}

TEST(concurrency, a_topic_put_to_rest_under_fire_loses_no_number) {
    bus b;
    std::atomic<bool> stop{false};
    std::thread trimmer([&] {
        while (!stop) b.trim_topic("t");
    });
    std::uint64_t epoch = 0;
    for (std::uint64_t i = 1; i <= 5'000; ++i) {
        ASSERT_EQ(b.publish("t", "x", number{static_cast<int>(i)}), i);
        if (i % 16 != 0) continue;
        auto s = b.subscribe("t", {.policy = overflow::lossless});
        if (epoch == 0) epoch = s.attached_at().epoch;
        ASSERT_EQ(s.attached_at(), (position{epoch, i}));
        ASSERT_EQ(b.publish("t", "x", number{0}), ++i);
        ASSERT_EQ(drain(s), std::to_string(i)) << "what is published while somebody watches arrives";
    }
    stop = true;
    trimmer.join();
}

TEST(concurrency, closing_the_bus_ends_publishers_and_readers) {
    for (int round = 0; round < 30; ++round) {
        auto b = std::make_unique<bus>(bus_options{.topic = {.capacity = 16}});
        reader lossless(*b, "t", {.policy = overflow::lossless});
        std::thread consumer([&] { lossless.run(~std::uint64_t{0} - 1); });
        std::thread publisher([&] {
            while (b->publish("t", "x", number{0}) != 0) {
            }
        });
        b->close();
        publisher.join();
        consumer.join();
    }
}

TEST(concurrency, text_is_built_once_by_whoever_comes_first) {
    bus b;
    for (int round = 0; round < 100; ++round) {
        b.publish("t", "x", json{{"round", round}});
        const event e = b.replay("t", static_cast<std::uint64_t>(round) + 1).events.at(0);
        const std::string *one = nullptr, *two = nullptr;
        std::thread other([&] { one = &e->text(); });
        two = &e->text();
        other.join();
        EXPECT_EQ(one, two);
    }
}
