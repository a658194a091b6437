#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <thread>

#include "kernel/supervise/actor.hpp"
#include "kernel/supervise/watchdog.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

/// A latch with a deadline.
class counter_gate {
  public:
    void hit() {
        std::lock_guard lock(m_);
        ++n_;
        c_.notify_all();
    }
    bool wait(int n, seconds d = seconds(20)) {
        std::unique_lock lock(m_);
        return c_.wait_for(lock, d, [&] { return n_ >= n; });
    }
    int count() {
        std::lock_guard lock(m_);
        return n_;
    }

  private:
    std::mutex m_;
    std::condition_variable c_;
    int n_ = 0;
};

}  // namespace

TEST(runtime, posted_work_runs_on_the_pool) {
    counter_gate gate;
    std::atomic<bool> on_pool{false};
    pool_runtime rt;
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(rt.post([&] { on_pool = rt.on_pool_thread(); gate.hit(); }));
    EXPECT_TRUE(gate.wait(1000));
    EXPECT_TRUE(on_pool);
    EXPECT_FALSE(rt.on_pool_thread());
}

TEST(runtime, T1_an_exception_in_posted_work_is_counted_and_ends_nothing) {
    counter_gate gate;
    pool_runtime rt;
    rt.post([] { throw std::runtime_error("boom"); });
    rt.post([] { throw 7; });
    rt.post([&] { gate.hit(); });
    ASSERT_TRUE(gate.wait(1));
    ASSERT_TRUE(rt.stop(seconds(5)));
    EXPECT_EQ(rt.stats().escaped, 2u);
}

TEST(runtime, timers_fire_in_order_and_cancelled_ones_do_not) {
    manual_runtime rt;
    std::string order;
    auto a = rt.after(seconds(3), [&] { order += 'a'; });
    auto b = rt.after(seconds(1), [&] { order += 'b'; });
    auto c = rt.after(seconds(2), [&] { order += 'c'; });
    auto d = rt.after(seconds(1), [&] { order += 'd'; });
    c.cancel();
    EXPECT_TRUE(a.pending());
    rt.advance(seconds(10));
    EXPECT_EQ(order, "bda");
    EXPECT_FALSE(a.pending());
}

TEST(runtime, dropping_a_timer_handle_cancels_and_frees_the_callback) {
    manual_runtime rt;
    auto held = std::make_shared<int>(1);
    { auto t = rt.after(seconds(1), [held] { FAIL(); }); }
    EXPECT_EQ(held.use_count(), 1);
    rt.advance(seconds(2));
}

TEST(runtime, a_timer_armed_by_a_timer_is_seen_in_the_same_advance) {
    manual_runtime rt;
    std::vector<std::int64_t> at;
    const auto zero = rt.now();
    timer_handle inner;
    auto outer = rt.after(seconds(1), [&] {
        at.push_back((rt.now() - zero) / seconds(1));
        inner = rt.after(seconds(2), [&] { at.push_back((rt.now() - zero) / seconds(1)); });
    });
    rt.advance(seconds(5));
    EXPECT_EQ(at, (std::vector<std::int64_t>{1, 3}));
}

TEST(runtime, a_delay_of_for_ever_does_not_wrap) {
    manual_runtime rt;
    auto t = rt.after(nanoseconds::max(), [] { FAIL(); });
    rt.advance(std::chrono::hours(1000));
    EXPECT_TRUE(t.pending());
}

TEST(runtime, real_timers_fire_on_the_pool) {
    counter_gate gate;
    pool_runtime rt;
    std::vector<timer_handle> keep;
    for (int i = 0; i < 200; ++i) keep.push_back(rt.after(milliseconds(i % 5), [&] { gate.hit(); }));
    EXPECT_TRUE(gate.wait(200));
}

TEST(runtime, fd_watch_is_one_shot_until_rearmed) {
    counter_gate gate;
    counter_gate later;
    pool_runtime rt;
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    auto w = rt.watch_fd(fd, fd_readable, [&](std::uint32_t ready) {
        EXPECT_TRUE(ready & fd_readable);
        gate.hit();
    });
    ASSERT_TRUE(w);
    const std::uint64_t one = 1;
    ASSERT_EQ(write(fd, &one, 8), 8);
    ASSERT_TRUE(gate.wait(1));
    // A second write without rearm is not delivered: shown by an ordering through the same reactor.
    ASSERT_EQ(write(fd, &one, 8), 8);
    auto t = rt.after(milliseconds(20), [&] { later.hit(); });
    ASSERT_TRUE(later.wait(1));
    EXPECT_EQ(gate.count(), 1);
    EXPECT_TRUE(w->rearm(fd_readable));
    EXPECT_TRUE(gate.wait(2));
    w->cancel();
    EXPECT_FALSE(w->rearm(fd_readable));
    close(fd);
}

TEST(runtime, a_prompt_watch_passes_what_waits_but_does_not_keep_it_waiting) {
    constexpr int waiting = 100, asking = 10;
    counter_gate entered, done;
    std::mutex block, order_mutex;
    std::vector<bool> order;  // true: prompt
    const auto ran = [&](bool prompt) {
        {
            std::lock_guard lock(order_mutex);
            order.push_back(prompt);
        }
        done.hit();
    };
    pool_runtime rt({.threads = 1});
    block.lock();
    rt.post([&] {
        entered.hit();
        std::lock_guard lock(block);
    });
    ASSERT_TRUE(entered.wait(1));
    for (int i = 0; i < waiting; ++i) rt.post([&] { ran(false); });
    std::vector<fd_watch> watches;
    std::vector<int> fds;
    for (int i = 0; i < asking; ++i) {
        fds.push_back(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        auto w = rt.watch_fd(fds.back(), fd_readable, [&](std::uint32_t) { ran(true); }, dispatch::prompt);
        ASSERT_TRUE(w);
        watches.push_back(std::move(*w));
    }
    while (rt.stats().queued < waiting + asking) std::this_thread::yield();
    block.unlock();
    ASSERT_TRUE(done.wait(waiting + asking));
    const auto first = order.begin() + 2 * asking;
    EXPECT_EQ(std::count(order.begin(), first, true), asking) << "they pass";
    EXPECT_EQ(std::count(order.begin(), first, false), asking) << "and take turns with the others";
    watches.clear();
    for (const int fd : fds) close(fd);
}

TEST(runtime, a_regular_file_cannot_be_watched_and_says_so) {
    pool_runtime rt;
    FILE* f = tmpfile();
    auto w = rt.watch_fd(fileno(f), fd_readable, [](std::uint32_t) {});
    ASSERT_FALSE(w);
    EXPECT_EQ(w.error().code, errc::io_error);
    fclose(f);
}

TEST(runtime, stop_refuses_and_drops_what_is_queued) {
    counter_gate entered;
    std::mutex block;
    pool_runtime rt({.threads = 2});
    auto held = std::make_shared<int>(0);
    block.lock();
    for (int i = 0; i < 2; ++i)
        rt.post([&] {
            entered.hit();
            std::lock_guard wait(block);
        });
    ASSERT_TRUE(entered.wait(2));
    for (int i = 0; i < 100; ++i) rt.post([held] { ++*held; });
    std::thread stopper([&] { EXPECT_TRUE(rt.stop(seconds(20))); });
    while (rt.post([] {})) std::this_thread::yield();
    block.unlock();
    stopper.join();
    EXPECT_EQ(*held, 0);
    EXPECT_EQ(held.use_count(), 1);
    EXPECT_FALSE(rt.post([] {}));
}

TEST(runtime, a_thread_stuck_in_one_turn_is_told_of_and_replaced) {
    counter_gate release, told, ran, returned;
    std::atomic<std::uint32_t> tid{0}, stuck_tid{0};
    watchdog dog;
    pool_runtime rt({.threads = 1});
    rt.watch_turns(dog, std::chrono::milliseconds(40), [&](std::uint32_t who) {
        stuck_tid = who;
        told.hit();
    });
    ASSERT_TRUE(rt.post([&] {
        tid = static_cast<std::uint32_t>(gettid());
        EXPECT_TRUE(release.wait(1));
        returned.hit();
    }));
    ASSERT_TRUE(told.wait(1));
    EXPECT_EQ(stuck_tid, tid);
    // The only thread is lost; its successor does the work.
    ASSERT_TRUE(rt.post([&] { ran.hit(); }));
    ASSERT_TRUE(ran.wait(1));
    EXPECT_EQ(rt.stats().lost, 1u);
    EXPECT_EQ(rt.stats().threads, 1u);
    release.hit();
    ASSERT_TRUE(returned.wait(1));
    (void)rt.stop(std::chrono::seconds(20));
    EXPECT_EQ(dog.episodes(), 1u);
}

TEST(runtime, idle_threads_do_not_hang) {
    counter_gate ran;
    watchdog dog;
    std::atomic<int> told{0};
    pool_runtime rt({.threads = 2});
    rt.watch_turns(dog, std::chrono::milliseconds(5), [&](std::uint32_t) { ++told; });
    // Long enough for the dog to look often at threads that have nothing to do: a watched counter that really stands still tells when.
    auto still = std::make_shared<std::atomic<std::uint64_t>>(1);
    counter_gate escalated;
    auto other = dog.watch(still, std::chrono::milliseconds(30), [&](watch_stage s) {
        if (s == watch_stage::escalated) escalated.hit();
    });
    ASSERT_TRUE(escalated.wait(1));
    EXPECT_EQ(told, 0);
    EXPECT_EQ(rt.stats().lost, 0u);
}

TEST(runtime, work_is_not_stuck_behind_an_actor_that_blocks) {  // actor-framework#1866
    class blocker final : public actor {
      public:
        explicit blocker(runtime& r) : actor(r) {}
    };
    counter_gate released, ran;
    pool_runtime rt({.threads = 2});
    auto slow = spawn<blocker>(rt);
    auto quick = spawn<blocker>(rt);
    ASSERT_TRUE(slow.tell([&](blocker&) {
        // Queued from inside the pool, then this thread blocks: the other thread has to take it.
        (void)quick.tell([&](blocker&) { ran.hit(); });
        EXPECT_TRUE(released.wait(1));
    }));
    EXPECT_TRUE(ran.wait(1));
    released.hit();
}
