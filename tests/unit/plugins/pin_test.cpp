// Pins hold up a retirement, marks can be read by whoever comes after a crash.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

struct table {
    std::uint32_t size, reserved;
    int (*f)(void*);
};

TEST(pins, empty_gate_pins_nothing) {
    call_gate gate;
    EXPECT_FALSE(pinned<table>(gate));
    EXPECT_EQ(this_thread_slot().depth.load(), 0u);
}

TEST(pins, pinned_is_seen_and_released) {
    const table t{sizeof(table), 0, nullptr};
    const binding b{&t, nullptr};
    call_gate gate;
    gate.current = &b;
    const auto key = reinterpret_cast<std::uint64_t>(&b);
    {
        pinned<table> p(gate);
        ASSERT_TRUE(p);
        EXPECT_TRUE(is_pinned(key));
        gate.current = nullptr;
        EXPECT_FALSE(wait_unpinned(key, milliseconds(1)));
        EXPECT_FALSE(pinned<table>(gate)) << "withdrawn";
    }
    EXPECT_FALSE(is_pinned(key));
    EXPECT_TRUE(wait_unpinned(key, milliseconds(0)));
}

TEST(pins, nesting_is_bounded_and_unwinds) {
    const table t{sizeof(table), 0, nullptr};
    const binding b{&t, nullptr};
    call_gate gate;
    gate.current = &b;
    std::vector<std::unique_ptr<pinned<table>>> all;
    for (std::size_t i = 0; i < mark_depth; ++i) {
        all.push_back(std::make_unique<pinned<table>>(gate));
        ASSERT_TRUE(*all.back());
    }
    EXPECT_FALSE(pinned<table>(gate)) << "refused, not overrun";
    { call_mark deeper(1); }  // a mark without room is no mark, and harmless
    while (!all.empty()) all.pop_back();
    EXPECT_EQ(this_thread_slot().depth.load(), 0u);
    EXPECT_TRUE(pinned<table>(gate));
}

// What it must never do: use a table after its owner waited for it. The owner poisons it, sanitizers watch, and so does the value.
TEST(pins, nothing_is_used_after_it_was_retired) {
    call_gate gate;
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> calls{0}, refused{0};
    std::vector<std::thread> users;
    for (int i = 0; i < 3; ++i)
        users.emplace_back([&] {
            while (!over.load(std::memory_order_relaxed)) {
                pinned<table> p(gate);
                if (!p) {
                    refused.fetch_add(1, std::memory_order_relaxed);
                    continue;
                }
                ASSERT_EQ(p->f(p.self()), 42);
                calls.fetch_add(1, std::memory_order_relaxed);
            }
        });
    for (int generation = 0; generation < 100; ++generation) {
        auto t = std::make_unique<table>(table{sizeof(table), 0, [](void* self) { return *static_cast<int*>(self); }});
        auto value = std::make_unique<int>(42);
        auto b = std::make_unique<binding>(binding{t.get(), value.get()});
        gate.current.store(b.get(), std::memory_order_release);
        const auto enough = calls.load() + 20;
        while (calls.load() < enough) std::this_thread::yield();
        gate.current.store(nullptr, std::memory_order_release);
        ASSERT_TRUE(wait_unpinned(reinterpret_cast<std::uint64_t>(b.get()), seconds(10)));
        *value = 0;
    }
    over = true;
    for (auto& u : users) u.join();
    EXPECT_GT(calls.load(), 0u);
}

TEST(marks, a_dead_process_tells_which_plugin_was_active) {
    scratch dir;
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        std::thread([&] {
            auto marks = crash_marks::open(dir.path);
            if (!marks) _exit(3);
            int one = 0, two = 0;
            (*marks)->name(reinterpret_cast<std::uint64_t>(&one), "outer");
            (*marks)->name(reinterpret_cast<std::uint64_t>(&two), "guilty");
            call_mark a(reinterpret_cast<std::uint64_t>(&one));
            call_mark b(reinterpret_cast<std::uint64_t>(&two));
            { call_mark returned(reinterpret_cast<std::uint64_t>(&one)); }
            (void)!write(ready[1], "x", 1);
            raise(SIGKILL);
        }).join();
        _exit(4);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    auto marks = crash_marks::read(dir.path + "/marks");
    ASSERT_TRUE(marks) << marks.error().message;
    ASSERT_EQ(marks->size(), 1u);
    EXPECT_EQ((*marks)[0].plugins, (std::vector<std::string>{"outer", "guilty"}));
    close(ready[0]);
    close(ready[1]);
}

TEST(marks, reader_refuses_what_is_no_mark_file) {
    scratch dir;
    EXPECT_EQ(crash_marks::read(dir.path + "/none").error().code, errc::not_found);
    std::ofstream(dir.path + "/short") << "HFMARK01";
    EXPECT_EQ(crash_marks::read(dir.path + "/short").error().code, errc::corrupt);
    std::ofstream(dir.path + "/long") << std::string(1 << 20, 'x');
    EXPECT_EQ(crash_marks::read(dir.path + "/long").error().code, errc::corrupt);
}

}  // namespace
}  // namespace holdfast::plugins::testing
