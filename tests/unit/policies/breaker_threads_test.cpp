// The consecutive breaker from several threads at once. Run it under ThreadSanitizer.
#include <thread>

#include "unit/policies/support.hpp"

namespace {

using namespace policies_test;

void on_threads(int n, const std::function<void(int)>& f) {
    std::vector<std::thread> all;
    for (int i = 0; i < n; ++i) all.emplace_back(f, i);
    for (auto& t : all) t.join();
}

TEST(breaker_threads, counts_every_call_and_every_failure) {
    auto b = bench::consecutive(R"({"failure_threshold":10000})");
    constexpr int threads = 4, each = 20'000;
    on_threads(threads, [&](int) {
        for (int i = 0; i < each; ++i) {
            hf_permit p{};
            b.b->permit(begin, p);
            b.b->report(p.generation, i % 3 == 0 ? HF_OUTCOME_FAILURE : HF_OUTCOME_SUCCESS, 1, begin);
        }
    });
    const auto is = b.state();
    EXPECT_EQ(is.state, HF_BREAKER_CLOSED);
    EXPECT_EQ(is.calls, static_cast<std::uint64_t>(threads) * each);
    EXPECT_EQ(is.failures, static_cast<std::uint64_t>(threads) * ((each + 2) / 3));
}

TEST(breaker_threads, failures_at_once_open_it_exactly_once) {
    for (int round = 0; round < 50; ++round) {
        auto b = bench::consecutive(R"({"jitter":0})");
        on_threads(4, [&](int) {
            for (int i = 0; i < 20; ++i) {
                hf_permit p{};
                b.b->permit(begin, p);
                if (p.granted) b.b->report(p.generation, HF_OUTCOME_FAILURE, 1, begin);
            }
        });
        const auto is = b.state();
        ASSERT_EQ(is.state, HF_BREAKER_OPEN);
        ASSERT_EQ(is.open_count, 1u);
        ASSERT_EQ(is.until_ns, begin + 30 * s);
        ASSERT_EQ(is.calls + is.rejected, 80u);
    }
}

TEST(breaker_threads, one_probe_passes_at_the_deadline) {
    for (int round = 0; round < 50; ++round) {
        auto b = bench::consecutive();
        b.open_it();
        const auto at = b.state().until_ns;
        std::atomic<int> granted{0};
        on_threads(4, [&](int) {
            for (int i = 0; i < 5; ++i) {
                hf_permit p{};
                b.b->permit(at, p);
                granted += p.granted;
            }
        });
        ASSERT_EQ(granted, 1);
    }
}

TEST(breaker_threads, everything_at_once_ends_in_a_sound_state) {
    auto b = bench::consecutive(R"({"failure_threshold":3,"recovery_timeout_s":0.001,"max_timeout_s":0.01,"half_open_timeout_s":0.001})");
    std::atomic<std::int64_t> clock{begin};
    on_threads(4, [&](int t) {
        for (int i = 0; i < 20'000; ++i) {
            const auto now = clock.fetch_add(10'000);
            hf_permit p{};
            b.b->permit(now, p);
            if (p.granted && i % 97 != 0) b.b->report(p.generation, (i / 50 + t) % 2 ? HF_OUTCOME_FAILURE : HF_OUTCOME_SUCCESS, 1, now);
            if (i % 1000 == 0) b.b->force(HF_BREAKER_CLOSED, now);
            hf_breaker_state is{};
            if (i % 10 == 0) b.b->state(now, is);
        }
    });
    b.now = clock + s;
    b.b->force(HF_BREAKER_CLOSED, b.now);
    b.fail(2);
    EXPECT_EQ(b.state().state, HF_BREAKER_CLOSED);
    b.fail(1);
    EXPECT_EQ(b.state().state, HF_BREAKER_OPEN);
}

}  // namespace
