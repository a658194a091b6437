// The part of C1–C5 that holds for every policy: time is passed in, so everything here is exact but the policy's own idea of
// how many failures are too many.
#include <optional>

#include "contract_suite.hpp"
#include "holdfast/ext/breaker.h"

namespace holdfast::testing::contract {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t begin = 1000 * second;
constexpr std::int64_t half_open_deadline = 30 * second;  // C4
constexpr int patience = 1000;                            // calls any policy may need to make up its mind

class handle {
  public:
    handle(bench& b, plugin_instance& p, std::uint64_t seed = 7)
        : table_(p.ext<hf_breaker>(HF_EXT_BREAKER)), self_(p.self()) {
        hf_error err = sdk::empty_error();
        const auto code = table_->open(self_, sdk::bytes(b.at().config), seed, begin, &breaker_, &err);
        EXPECT_EQ(code, HF_OK) << err.message;
    }
    ~handle() {
        if (breaker_) table_->close(self_, breaker_);
    }
    explicit operator bool() const { return breaker_ != nullptr; }

    hf_permit permit(std::int64_t now) const {
        hf_permit p{};
        p.size = sizeof p;
        table_->permit(self_, breaker_, now, &p);
        EXPECT_EQ(p.size, sizeof p);
        return p;
    }
    void report(const hf_permit& p, std::int32_t outcome, std::int64_t now, std::int64_t latency = second / 1000) const {
        table_->report(self_, breaker_, p.generation, outcome, latency, now);
    }
    hf_breaker_state state(std::int64_t now) const {
        hf_breaker_state s{};
        s.size = sizeof s;
        table_->state(self_, breaker_, now, &s);
        return s;
    }
    void force(std::int32_t to, std::int64_t now) const { table_->force(self_, breaker_, to, now); }

    /// Only failures, 10 ms apart, until it opens. Returns the time, or nothing if it never opened.
    std::optional<std::int64_t> fail_until_open(std::int64_t now) const {
        for (int i = 0; i < patience; ++i, now += second / 100) {
            const auto p = permit(now);
            if (!p.granted) return std::nullopt;
            report(p, HF_OUTCOME_FAILURE, now);
            if (state(now).state == HF_BREAKER_OPEN) return now;
        }
        return std::nullopt;
    }
    /// From half_open to closed by successes. Returns the time.
    std::optional<std::int64_t> succeed_until_closed(std::int64_t now) const {
        for (int i = 0; i < patience; ++i, now += second / 100) {
            const auto p = permit(now);
            if (!p.granted) return std::nullopt;
            report(p, HF_OUTCOME_SUCCESS, now);
            if (state(now).state == HF_BREAKER_CLOSED) return now;
        }
        return std::nullopt;
    }

  private:
    const hf_breaker* table_;
    void* self_;
    void* breaker_ = nullptr;
};

#define WITH_BREAKER                     \
    const auto instance = b.up();        \
    ASSERT_TRUE(instance);               \
    const handle h(b, *instance);        \
    ASSERT_TRUE(h)

#define OPENED(at)                                                \
    const auto at##_opt = h.fail_until_open(begin);               \
    ASSERT_TRUE(at##_opt) << "failures alone never opened it";    \
    const std::int64_t at = *at##_opt

void C1_a_new_breaker_is_closed_and_grants(bench& b) {
    WITH_BREAKER;
    EXPECT_EQ(h.state(begin).state, HF_BREAKER_CLOSED);
    for (int i = 0; i < 100; ++i) {
        const auto p = h.permit(begin + i);
        ASSERT_TRUE(p.granted);
        h.report(p, HF_OUTCOME_SUCCESS, begin + i);
    }
    const auto s = h.state(begin + 100);
    EXPECT_EQ(s.state, HF_BREAKER_CLOSED);
    EXPECT_EQ(s.calls, 100u);
    EXPECT_EQ(s.failures, 0u);
    EXPECT_EQ(s.until_ns, 0);
}

void C1_failures_open_it_and_it_refuses(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    const auto s = h.state(t);
    EXPECT_EQ(s.open_count, 1u);
    EXPECT_GT(s.until_ns, t);
    const auto p = h.permit(t + 1);
    EXPECT_FALSE(p.granted);
    EXPECT_GT(p.retry_after_ns, 0);
    EXPECT_LE(p.retry_after_ns, s.until_ns - t) << "a rejection says how long";
    EXPECT_GE(h.state(t + 1).rejected, 1u);
}

void C1_ignored_outcomes_never_open_it(bench& b) {
    WITH_BREAKER;
    for (int i = 0; i < patience; ++i) {
        const auto p = h.permit(begin + i);
        ASSERT_TRUE(p.granted);
        h.report(p, i % 2 ? HF_OUTCOME_IGNORED : HF_OUTCOME_DROPPED, begin + i);
    }
    EXPECT_EQ(h.state(begin + patience).state, HF_BREAKER_CLOSED);
}

void C2_a_result_of_an_older_generation_changes_nothing(bench& b) {
    WITH_BREAKER;
    const auto old = h.permit(begin);
    const auto older = h.permit(begin);
    ASSERT_TRUE(old.granted && older.granted);
    OPENED(t);
    const auto open = h.state(t);
    h.report(old, HF_OUTCOME_SUCCESS, t + 1);
    EXPECT_EQ(h.state(t + 1).state, HF_BREAKER_OPEN);
    const std::int64_t half = open.until_ns;
    EXPECT_EQ(h.state(half).state, HF_BREAKER_HALF_OPEN);
    const auto generation = h.state(half).generation;
    EXPECT_NE(generation, older.generation);
    h.report(older, HF_OUTCOME_FAILURE, half);
    EXPECT_EQ(h.state(half).state, HF_BREAKER_HALF_OPEN) << "a late failure reopened it";
    EXPECT_EQ(h.state(half).generation, generation);
    h.report(older, HF_OUTCOME_SUCCESS, half);
    EXPECT_EQ(h.state(half).state, HF_BREAKER_HALF_OPEN) << "a late success closed it";
}

void C2_ignored_and_dropped_give_the_slot_back(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    const std::int64_t half = h.state(t).until_ns;
    for (const auto outcome : {HF_OUTCOME_IGNORED, HF_OUTCOME_DROPPED}) {
        const auto p = h.permit(half);
        ASSERT_TRUE(p.granted);
        EXPECT_FALSE(h.permit(half).granted) << "two probes at once";
        h.report(p, outcome, half);
        EXPECT_EQ(h.state(half).state, HF_BREAKER_HALF_OPEN);
    }
    EXPECT_TRUE(h.permit(half).granted) << "the slot was not given back";
}

void C3_half_open_begins_at_the_deadline_and_not_before(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    const std::int64_t half = h.state(t).until_ns;
    EXPECT_FALSE(h.permit(half - 1).granted);
    EXPECT_EQ(h.state(half - 1).state, HF_BREAKER_OPEN);
    const auto probe = h.permit(half);
    EXPECT_TRUE(probe.granted);
    EXPECT_EQ(h.state(half).state, HF_BREAKER_HALF_OPEN);
    const auto second_one = h.permit(half);
    EXPECT_FALSE(second_one.granted) << "one probe by default";
    EXPECT_NE(second_one.retry_after_ns, 0);
}

void C3_successes_close_with_a_fresh_window(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    const auto closed = h.succeed_until_closed(h.state(t).until_ns);
    ASSERT_TRUE(closed);
    const auto s = h.state(*closed);
    EXPECT_EQ(s.consecutive_failures, 0u);
    EXPECT_EQ(s.until_ns, 0);
    const auto p = h.permit(*closed + 1);
    ASSERT_TRUE(p.granted);
    h.report(p, HF_OUTCOME_FAILURE, *closed + 1);
    EXPECT_EQ(h.state(*closed + 1).state, HF_BREAKER_CLOSED) << "failures of before the opening still counted";
}

void C3_a_failed_probe_reopens_for_longer(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    std::int64_t opened = t, shortest = 0;
    std::int64_t waits[6];
    for (unsigned k = 1; k <= 6; ++k) {
        const auto s = h.state(opened);
        ASSERT_EQ(s.state, HF_BREAKER_OPEN);
        EXPECT_EQ(s.open_count, k);
        waits[k - 1] = s.until_ns - opened;
        const auto p = h.permit(s.until_ns);
        ASSERT_TRUE(p.granted);
        opened = s.until_ns + second;
        h.report(p, HF_OUTCOME_FAILURE, opened);
    }
    // Jitter is at most 20 % either way and each step doubles, up to the limit.
    for (int k = 1; k < 6; ++k) EXPECT_GE(waits[k], waits[k - 1] * 8 / 10) << "opening " << k + 1;
    shortest = waits[0];
    EXPECT_GT(waits[3], shortest * 2) << "the wait does not grow";
    for (const auto w : waits) EXPECT_LE(w, 600 * second);
}

void C4_a_hung_probe_counts_as_a_failure(bench& b) {
    WITH_BREAKER;
    OPENED(t);
    const std::int64_t half = h.state(t).until_ns;
    const auto hung = h.permit(half);
    ASSERT_TRUE(hung.granted);
    EXPECT_EQ(h.state(half + half_open_deadline - 1).state, HF_BREAKER_HALF_OPEN);
    const std::int64_t late = half + half_open_deadline;
    const auto s = h.state(late);
    EXPECT_EQ(s.state, HF_BREAKER_OPEN) << "stuck half open";
    EXPECT_EQ(s.open_count, 2u);
    EXPECT_GT(s.until_ns, late);
    h.report(hung, HF_OUTCOME_SUCCESS, late + 1);
    EXPECT_EQ(h.state(late + 1).state, HF_BREAKER_OPEN) << "the late answer of a hung probe closed it";
}

void C4_failures_while_open_leave_the_timer_alone(bench& b) {
    WITH_BREAKER;
    hf_permit running[8];
    for (auto& p : running) p = h.permit(begin);
    OPENED(t);
    const auto until = h.state(t).until_ns;
    for (int i = 0; i < 8; ++i) {
        h.report(running[i], HF_OUTCOME_FAILURE, t + i);
        h.permit(t + i);
        EXPECT_EQ(h.state(t + i).until_ns, until);
        EXPECT_EQ(h.state(t + i).open_count, 1u);
    }
}

void C5_the_same_calls_give_the_same_answers(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto trace = [&](std::uint64_t seed) {
        const handle h(b, *instance, seed);
        std::vector<std::int64_t> out;
        std::int64_t now = begin;
        for (int i = 0; i < 400; ++i) {
            now += (i * 7919 % 13) * second / 4;
            const auto p = h.permit(now);
            out.push_back(p.granted), out.push_back(p.retry_after_ns);
            if (p.granted) h.report(p, i % 3 ? HF_OUTCOME_FAILURE : HF_OUTCOME_SUCCESS, now);
            const auto s = h.state(now);
            out.push_back(s.state), out.push_back(s.until_ns), out.push_back(static_cast<std::int64_t>(s.generation));
        }
        return out;
    };
    EXPECT_EQ(trace(42), trace(42)) << "the policy reads a clock or a random source of its own";
}

void breakers_are_independent(bench& b) {
    WITH_BREAKER;
    const handle other(b, *instance, 8);
    OPENED(t);
    EXPECT_EQ(other.state(t).state, HF_BREAKER_CLOSED);
    EXPECT_TRUE(other.permit(t).granted);
}

void force_overrides(bench& b) {
    WITH_BREAKER;
    h.force(HF_BREAKER_DISABLED, begin);
    EXPECT_EQ(h.state(begin).state, HF_BREAKER_DISABLED);
    auto p = h.permit(begin);
    EXPECT_FALSE(p.granted);
    EXPECT_EQ(p.retry_after_ns, -1) << "only a person ends it";
    EXPECT_FALSE(h.permit(begin + 100'000 * second).granted);
    h.force(HF_BREAKER_CLOSED, begin + second);
    EXPECT_EQ(h.state(begin + second).state, HF_BREAKER_CLOSED);
    EXPECT_TRUE(h.permit(begin + second).granted);
    h.force(HF_BREAKER_OPEN, begin + 2 * second);
    EXPECT_EQ(h.state(begin + 2 * second).state, HF_BREAKER_OPEN);
    EXPECT_FALSE(h.permit(begin + 2 * second).granted);
    h.force(HF_BREAKER_CLOSED, begin + 3 * second);
    const auto s = h.state(begin + 3 * second);
    EXPECT_EQ(s.state, HF_BREAKER_CLOSED);
    EXPECT_EQ(s.open_count, 0u) << "closed by force is a fresh start";
}

void bad_configurations_are_refused(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto* table = instance->ext<hf_breaker>(HF_EXT_BREAKER);
    for (const char* text : {"{", "[]", R"({"recovery_timeout_s":"soon"})", R"({"recovery_timeout_s":-1})"}) {
        void* made = nullptr;
        hf_error err = sdk::empty_error();
        EXPECT_EQ(table->open(instance->self(), sdk::bytes(text), 1, begin, &made, &err), HF_E_INVALID) << text;
        EXPECT_NE(err.message[0], '\0') << text;
    }
}

void an_older_caller_gets_what_it_has_room_for(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto* table = instance->ext<hf_breaker>(HF_EXT_BREAKER);
    void* made = nullptr;
    hf_error err = sdk::empty_error();
    ASSERT_EQ(table->open(instance->self(), sdk::bytes(b.at().config), 1, begin, &made, &err), HF_OK) << err.message;
    hf_breaker_state s;
    std::memset(&s, 0x5a, sizeof s);
    s.size = offsetof(hf_breaker_state, open_count);
    table->state(instance->self(), made, begin, &s);
    EXPECT_EQ(s.state, HF_BREAKER_CLOSED);
    EXPECT_EQ(s.failures, 0x5a5a5a5a5a5a5a5aULL) << "wrote beyond the caller's struct";
    table->close(instance->self(), made);
}

}  // namespace

const std::vector<test>& breaker_tests() {
    static const std::vector<test> all{
        {"C1_a_new_breaker_is_closed_and_grants", &C1_a_new_breaker_is_closed_and_grants},
        {"C1_failures_open_it_and_it_refuses", &C1_failures_open_it_and_it_refuses},
        {"C1_ignored_outcomes_never_open_it", &C1_ignored_outcomes_never_open_it},
        {"C2_a_result_of_an_older_generation_changes_nothing", &C2_a_result_of_an_older_generation_changes_nothing},
        {"C2_ignored_and_dropped_give_the_slot_back", &C2_ignored_and_dropped_give_the_slot_back},
        {"C3_half_open_begins_at_the_deadline_and_not_before", &C3_half_open_begins_at_the_deadline_and_not_before},
        {"C3_successes_close_with_a_fresh_window", &C3_successes_close_with_a_fresh_window},
        {"C3_a_failed_probe_reopens_for_longer", &C3_a_failed_probe_reopens_for_longer},
        {"C4_a_hung_probe_counts_as_a_failure", &C4_a_hung_probe_counts_as_a_failure},
        {"C4_failures_while_open_leave_the_timer_alone", &C4_failures_while_open_leave_the_timer_alone},
        {"C5_the_same_calls_give_the_same_answers", &C5_the_same_calls_give_the_same_answers},
        {"breakers_are_independent", &breakers_are_independent},
        {"force_overrides", &force_overrides},
        {"bad_configurations_are_refused", &bad_configurations_are_refused},
        {"an_older_caller_gets_what_it_has_room_for", &an_older_caller_gets_what_it_has_room_for},
    };
    return all;
}

}  // namespace holdfast::testing::contract
