#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "kernel/supervise/names.hpp"
#include "kernel/supervise/supervisor.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

class box final : public actor {
  public:
    explicit box(runtime& rt, std::uint32_t capacity = default_mailbox_capacity, std::shared_ptr<int> token = {})
        : actor(rt, capacity), token_(std::move(token)) {}
    void quit(exit_reason r) { exit(std::move(r)); }
    std::vector<int> seen;
    bool inside = false;

  private:
    std::shared_ptr<int> token_;
};

struct observer final : lifecycle {
    explicit observer(std::vector<exit_reason>& out) : out(out) {}
    void exited(actor&, const exit_reason& r) noexcept override { out.push_back(r); }
    std::vector<exit_reason>& out;
};

}  // namespace

TEST(A1, one_message_at_a_time_and_fifo_per_sender) {
    pool_runtime rt({.threads = 4});
    auto b = spawn<box>(rt, 1u << 20);
    constexpr int senders = 4, each = 5000;
    std::atomic<bool> overlapped{false};
    std::vector<std::thread> threads;
    for (int s = 0; s < senders; ++s)
        threads.emplace_back([&, s] {
            for (int i = 0; i < each; ++i)
                ASSERT_TRUE(b.tell([&, v = s * each + i](box& a) {
                    if (a.inside) overlapped = true;
                    a.inside = true;
                    a.seen.push_back(v);
                    a.inside = false;
                }));
        });
    for (auto& t : threads) t.join();
    auto seen = await<std::vector<int>>(seconds(20), [&](auto done) { b.call([](box& a) { return a.seen; }, std::move(done)); });
    ASSERT_TRUE(seen);
    ASSERT_EQ(seen->size(), static_cast<std::size_t>(senders * each));
    EXPECT_FALSE(overlapped);
    std::vector<int> next(senders, 0);
    for (int v : *seen) EXPECT_EQ(v % each, next[v / each]++);
}

TEST(A1, a_full_mailbox_answers_overloaded_and_keeps_its_order) {
    manual_runtime rt;
    auto b = spawn<box>(rt, 4u);
    rt.run_until_idle();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(b.tell([i](box& a) { a.seen.push_back(i); }));
    const auto refused = b.tell([](box& a) { a.seen.push_back(99); });
    EXPECT_EQ(refused.value(), delivery::overloaded);
    EXPECT_EQ(refused.as_result().error().code, errc::overloaded);
    EXPECT_EQ(b->mailbox_size(), 4u);
    errc code{};
    b.call([](box&) { return 1; }, [&](result<int> r) { code = r.error().code; });
    EXPECT_EQ(code, errc::overloaded);
    rt.run_until_idle();
    EXPECT_EQ(b->seen, (std::vector<int>{0, 1, 2, 3}));
    EXPECT_EQ(b->mailbox_size(), 0u);
    EXPECT_TRUE(b.tell([](box&) {}));
}

TEST(A1, messages_of_others_run_between_those_of_a_busy_actor) {
    manual_runtime rt;
    auto busy = spawn<box>(rt);
    auto other = spawn<box>(rt);
    rt.run_until_idle();
    std::size_t busy_done_when_other_ran = 0;
    for (int i = 0; i < 1000; ++i) (void)busy.tell([](box& a) { a.seen.push_back(0); });
    (void)other.tell([&](box&) { busy_done_when_other_ran = busy->seen.size(); });
    rt.run_until_idle();
    EXPECT_EQ(busy_done_when_other_ran, actor_turn_budget);
    EXPECT_EQ(busy->seen.size(), 1000u);
}

TEST(T1, an_exception_ends_the_incarnation_with_its_reason) {
    manual_runtime rt;
    std::vector<exit_reason> exits;
    auto b = ref<box>::adopt(new box(rt));
    b->start(std::make_unique<observer>(exits));
    (void)b.tell([](box&) { throw std::runtime_error("boom"); });
    (void)b.tell([](box& a) { a.seen.push_back(1); });
    rt.run_until_idle();
    ASSERT_EQ(exits.size(), 1u);
    EXPECT_EQ(exits[0], (exit_reason{exit_kind::error, 0, "boom"}));
    EXPECT_TRUE(b->seen.empty());
    EXPECT_FALSE(b->alive());
    EXPECT_EQ(b.tell([](box&) {}).value(), delivery::stale);
}

TEST(S10, calls_queued_at_a_death_fail_at_once_with_stale) {
    manual_runtime rt;
    auto b = spawn<box>(rt);
    std::vector<errc> codes;
    (void)b.tell([](box& a) { a.quit({}); });
    for (int i = 0; i < 3; ++i) b.call([](box&) { return 1; }, [&](result<int> r) { codes.push_back(r ? errc::internal : r.error().code); });
    rt.run_until_idle();
    b.call([](box&) { return 1; }, [&](result<int> r) { codes.push_back(r.error().code); });
    EXPECT_EQ(codes, (std::vector<errc>(4, errc::stale)));
}

TEST(S10, a_call_that_throws_answers_stale_once) {
    manual_runtime rt;
    auto b = spawn<box>(rt);
    int answers = 0;
    b.call([](box&) -> int { throw std::runtime_error("x"); }, [&](result<int> r) {
        ++answers;
        EXPECT_EQ(r.error().code, errc::stale);
    });
    rt.run_until_idle();
    EXPECT_EQ(answers, 1);
}

TEST(S10, a_name_resolves_to_one_incarnation) {
    manual_runtime rt;
    name_registry names;
    EXPECT_EQ(names.find("a").error().code, errc::not_found);
    auto first = spawn<box>(rt);
    ASSERT_TRUE(names.add("a", first));
    rt.run_until_idle();
    EXPECT_EQ(names.add("a", spawn<box>(rt)).error().code, errc::already_exists);
    EXPECT_TRUE(names.find("a", first.incarnation()));
    first->request_kill();
    rt.run_until_idle();
    EXPECT_EQ(names.find("a").error().code, errc::stale);
    auto second = spawn<box>(rt);
    ASSERT_TRUE(names.add("a", second));
    EXPECT_EQ(names.find("a", first.incarnation()).error().code, errc::stale);
    EXPECT_EQ(names.find_as<box>("a")->incarnation(), second.incarnation());
    names.remove("a", first.incarnation());  // the dead one's clean-up comes late
    EXPECT_TRUE(names.find("a"));
    names.remove("a", second.incarnation());
    EXPECT_EQ(names.size(), 0u);
    rt.run_until_idle();
}

TEST(actor, a_stop_overtakes_the_queue_and_a_kill_overtakes_both) {
    manual_runtime rt;
    std::vector<exit_reason> exits;
    auto a = ref<box>::adopt(new box(rt));
    a->start(std::make_unique<observer>(exits));
    auto k = ref<box>::adopt(new box(rt));
    k->start(std::make_unique<observer>(exits));
    for (int i = 0; i < 10; ++i) {
        (void)a.tell([](box& x) { x.seen.push_back(1); });
        (void)k.tell([](box& x) { x.seen.push_back(1); });
    }
    a->request_stop();
    k->request_stop();
    k->request_kill();
    rt.run_until_idle();
    EXPECT_TRUE(a->seen.empty());
    EXPECT_TRUE(k->seen.empty());
    ASSERT_EQ(exits.size(), 2u);
    EXPECT_EQ(exits[0].kind, exit_kind::shutdown);
    EXPECT_EQ(exits[1].kind, exit_kind::killed);
}

TEST(actor, is_never_freed_while_its_turn_is_on_a_stack) {
    pool_runtime rt;
    for (int i = 0; i < 2000; ++i) {
        auto token = std::make_shared<int>(0);
        auto b = spawn<box>(rt, 16u, token);
        (void)b.tell([](box& a) {
            if (a.seen.empty()) throw std::runtime_error("crash while the last outside reference goes");
        });
        b = {};  // the turn holds the last reference now
    }
    ASSERT_TRUE(rt.stop(seconds(10)));
}

TEST(actor, nothing_leaks_when_the_runtime_ends_with_messages_queued) {
    auto held = std::make_shared<int>(0);
    {
        manual_runtime rt;
        auto b = spawn<box>(rt, 100u, held);
        for (int i = 0; i < 10; ++i) (void)b.tell([b, held](box&) {});  // a cycle: messages that refer to their own actor
    }
    EXPECT_EQ(held.use_count(), 1);
}

TEST(actor, an_idle_actor_is_small) { EXPECT_LE(sizeof(box) - sizeof(std::vector<int>) - 3 * sizeof(void*), 112u); }
