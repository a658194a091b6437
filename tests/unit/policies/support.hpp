#pragma once
#include <gtest/gtest.h>

#include "breaker-consecutive/consecutive.hpp"
#include "breaker-window/window.hpp"

namespace policies_test {

constexpr std::int64_t s = policy::second_ns;
constexpr std::int64_t begin = 1000 * s;

/// A breaker with a clock of its own.
struct bench {
    std::unique_ptr<holdfast::sdk::breaker_policy> b;
    std::int64_t now = begin;

    static bench consecutive(std::string_view config = "{}", std::uint64_t seed = 7) {
        return {std::make_unique<breaker_consecutive::consecutive>(breaker_consecutive::rules::from(config), seed)};
    }
    static bench window(std::string_view config = "{}", std::uint64_t seed = 7) {
        return {std::make_unique<breaker_window::rate_breaker>(breaker_window::rules::from(config), seed)};
    }
    hf_permit permit() {
        hf_permit p{};
        b->permit(now, p);
        return p;
    }
    void report(const hf_permit& p, std::int32_t outcome, std::int64_t latency_ns = 1'000'000) { b->report(p.generation, outcome, latency_ns, now); }
    hf_breaker_state state() {
        hf_breaker_state out{};
        b->state(now, out);
        return out;
    }
    void call(std::int32_t outcome, std::int64_t latency_ns = 1'000'000) {
        const auto p = permit();
        ASSERT_TRUE(p.granted);
        report(p, outcome, latency_ns);
    }
    void fail(int times) {
        for (int i = 0; i < times; ++i) call(HF_OUTCOME_FAILURE);
    }
    void open_it() {
        fail(5);
        ASSERT_EQ(state().state, HF_BREAKER_OPEN);
    }
    void half_open_it() {
        open_it();
        now = state().until_ns;
        ASSERT_EQ(state().state, HF_BREAKER_HALF_OPEN);
    }
};

}  // namespace policies_test
