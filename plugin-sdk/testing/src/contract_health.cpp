// What holds for every health policy: H1, H2 and the form of a verdict.
#include <cmath>
#include <optional>

#include "contract_suite.hpp"
#include "holdfast/ext/health.h"

namespace holdfast::testing::contract {
namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t begin = 1000 * second;
constexpr int patience = 200;  // probes any policy may need to make up its mind

class handle {
  public:
    handle(bench& b, plugin_instance& p, std::uint64_t seed = 7) : table_(p.ext<hf_health>(HF_EXT_HEALTH)), self_(p.self()) {
        hf_error err = sdk::empty_error();
        const auto code = table_->open(self_, sdk::bytes(b.at().config), seed, begin, &monitor_, &err);
        EXPECT_EQ(code, HF_OK) << err.message;
    }
    ~handle() {
        if (monitor_) table_->close(self_, monitor_);
    }
    explicit operator bool() const { return monitor_ != nullptr; }

    void observe(bool ok, std::int64_t now, std::int32_t kind = HF_SAMPLE_ACTIVE, std::int32_t fault = HF_FAULT_REMOTE) const {
        hf_health_sample s{};
        s.size = sizeof s;
        s.kind = kind, s.ok = ok, s.fault = ok ? HF_FAULT_NONE : fault;
        s.latency_ns = second / 100, s.now_ns = now;
        s.memory_bytes = s.cpu_percent = s.queue_length = std::nan("");
        table_->observe(self_, monitor_, &s);
    }
    hf_health_verdict verdict(std::int64_t now) const {
        hf_health_verdict v{};
        v.size = sizeof v;
        table_->verdict(self_, monitor_, now, &v);
        EXPECT_TRUE(std::isfinite(v.score));
        EXPECT_NE(std::memchr(v.reason, 0, sizeof v.reason), nullptr) << "the reason is not terminated";
        return v;
    }
    /// Active probes with this outcome, each when the policy asks for it, until the verdict is `state`. Returns the time.
    std::optional<std::int64_t> probe_until(bool ok, std::int32_t state, std::int64_t now) const {
        for (int i = 0; i < patience; ++i) {
            observe(ok, now);
            const auto v = verdict(now);
            if (v.state == state) return now;
            now = std::max(now + second / 10, v.next_check_ns);
        }
        return std::nullopt;
    }
    void reset(std::int64_t now) const { table_->reset(self_, monitor_, now); }

  private:
    const hf_health* table_;
    void* self_;
    void* monitor_ = nullptr;
};

#define WITH_MONITOR              \
    const auto instance = b.up(); \
    ASSERT_TRUE(instance);        \
    const handle h(b, *instance); \
    ASSERT_TRUE(h)

void H1_nothing_observed_is_unknown(bench& b) {
    WITH_MONITOR;
    const auto v = h.verdict(begin);
    EXPECT_EQ(v.state, HF_HEALTH_UNKNOWN);
    EXPECT_GE(v.next_check_ns, begin);
    EXPECT_GT(v.probe_timeout_ns, 0);
}
void H1_successes_bring_it_up_failures_down_and_back(bench& b) {
    WITH_MONITOR;
    const auto up = h.probe_until(true, HF_HEALTH_UP, begin);
    ASSERT_TRUE(up) << "successes alone never brought it up";
    const auto down = h.probe_until(false, HF_HEALTH_DOWN, *up + second);
    ASSERT_TRUE(down) << "failures alone never brought it down";
    EXPECT_NE(h.verdict(*down).reason[0], '\0') << "down without a reason";
    EXPECT_TRUE(h.probe_until(true, HF_HEALTH_UP, *down + second)) << "it never recovered";
}
void H1_the_next_check_is_later_and_bounded(bench& b) {
    WITH_MONITOR;
    std::int64_t now = begin;
    for (int i = 0; i < 50; ++i) {
        h.observe(i % 7 != 3, now);
        const auto v = h.verdict(now);
        ASSERT_GT(v.next_check_ns, now);
        ASSERT_LE(v.next_check_ns, now + 3600 * second);
        ASSERT_GT(v.probe_timeout_ns, 0);
        now = v.next_check_ns;
    }
}
void H2_passive_successes_do_not_hide_failing_probes(bench& b) {
    WITH_MONITOR;
    auto now = h.probe_until(true, HF_HEALTH_UP, begin);
    ASSERT_TRUE(now);
    std::int64_t t = *now + second;
    bool left_up = false;
    for (int i = 0; i < patience && !left_up; ++i) {
        h.observe(false, t, HF_SAMPLE_ACTIVE);
        h.observe(true, t + 1, HF_SAMPLE_PASSIVE);
        const auto v = h.verdict(t + 1);
        left_up = v.state != HF_HEALTH_UP;
        t = std::max(t + second, v.next_check_ns);
    }
    EXPECT_TRUE(left_up) << "real calls hid that every probe fails";
}
void a_reset_is_a_fresh_start(bench& b) {
    WITH_MONITOR;
    const auto down = h.probe_until(false, HF_HEALTH_DOWN, begin);
    ASSERT_TRUE(down);
    h.reset(*down + second);
    EXPECT_EQ(h.verdict(*down + second).state, HF_HEALTH_UNKNOWN);
    EXPECT_TRUE(h.probe_until(true, HF_HEALTH_UP, *down + 2 * second));
}
void the_same_samples_give_the_same_verdicts(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto trace = [&] {
        const handle h(b, *instance, 42);
        std::vector<std::int64_t> out;
        std::int64_t now = begin;
        for (int i = 0; i < 100; ++i) {
            h.observe(i % 5 != 2, now, i % 2);
            const auto v = h.verdict(now);
            out.push_back(v.state), out.push_back(v.next_check_ns);
            now += second * (1 + i % 3);
        }
        return out;
    };
    EXPECT_EQ(trace(), trace()) << "the policy reads a clock or a random source of its own";
}
void monitors_are_independent(bench& b) {
    WITH_MONITOR;
    const handle other(b, *instance, 8);
    const auto down = h.probe_until(false, HF_HEALTH_DOWN, begin);
    ASSERT_TRUE(down);
    EXPECT_EQ(other.verdict(begin).state, HF_HEALTH_UNKNOWN);
}
void time_that_stands_still_or_jumps_does_no_harm(bench& b) {
    WITH_MONITOR;
    for (int i = 0; i < 100; ++i) h.observe(true, begin);
    for (int i = 0; i < 100; ++i) h.observe(i % 2, begin - i * second);
    h.verdict(begin);
    h.observe(true, begin + 1'000'000 * second);
    h.verdict(begin + 2'000'000 * second);
}
void callers_of_other_ages_are_fine(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto* table = instance->ext<hf_health>(HF_EXT_HEALTH);
    void* made = nullptr;
    hf_error err = sdk::empty_error();
    ASSERT_EQ(table->open(instance->self(), sdk::bytes(b.at().config), 1, begin, &made, &err), HF_OK) << err.message;
    hf_health_verdict v;
    std::memset(&v, 0x5a, sizeof v);
    v.size = offsetof(hf_health_verdict, next_check_ns);
    table->verdict(instance->self(), made, begin, &v);
    EXPECT_EQ(v.state, HF_HEALTH_UNKNOWN);
    EXPECT_EQ(v.next_check_ns, 0x5a5a5a5a5a5a5a5aLL) << "wrote beyond the caller's struct";
    struct {
        hf_health_sample now{};
        unsigned char future[64];
    } longer;
    std::memset(longer.future, 0x5a, sizeof longer.future);
    longer.now.size = sizeof longer;
    longer.now.ok = 1, longer.now.now_ns = begin, longer.now.latency_ns = second / 100;
    longer.now.memory_bytes = longer.now.cpu_percent = longer.now.queue_length = std::nan("");
    table->observe(instance->self(), made, &longer.now);
    table->close(instance->self(), made);
}
void bad_configurations_are_refused(bench& b) {
    const auto instance = b.up();
    ASSERT_TRUE(instance);
    const auto* table = instance->ext<hf_health>(HF_EXT_HEALTH);
    for (const char* text : {"{", "[]", R"({"interval_s":"often"})", R"({"interval_s":-1})"}) {
        void* made = nullptr;
        hf_error err = sdk::empty_error();
        EXPECT_EQ(table->open(instance->self(), sdk::bytes(text), 1, begin, &made, &err), HF_E_INVALID) << text;
        EXPECT_NE(err.message[0], '\0') << text;
    }
}

}  // namespace

const std::vector<test>& health_tests() {
    static const std::vector<test> all{
        {"H1_nothing_observed_is_unknown", &H1_nothing_observed_is_unknown},
        {"H1_successes_bring_it_up_failures_down_and_back", &H1_successes_bring_it_up_failures_down_and_back},
        {"H1_the_next_check_is_later_and_bounded", &H1_the_next_check_is_later_and_bounded},
        {"H2_passive_successes_do_not_hide_failing_probes", &H2_passive_successes_do_not_hide_failing_probes},
        {"a_reset_is_a_fresh_start", &a_reset_is_a_fresh_start},
        {"the_same_samples_give_the_same_verdicts", &the_same_samples_give_the_same_verdicts},
        {"monitors_are_independent", &monitors_are_independent},
        {"time_that_stands_still_or_jumps_does_no_harm", &time_that_stands_still_or_jumps_does_no_harm},
        {"callers_of_other_ages_are_fine", &callers_of_other_ages_are_fine},
        {"bad_configurations_are_refused", &bad_configurations_are_refused},
    };
    return all;
}

}  // namespace holdfast::testing::contract
