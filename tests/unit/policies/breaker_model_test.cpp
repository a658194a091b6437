// Random histories of both breakers against a reference written as plainly as the rules: a list of what happened, and the
// state worked out from it with no shared code.
#include <rapidcheck.h>

#include "unit/policies/support.hpp"

namespace {

using namespace policies_test;

constexpr std::int64_t half_open_s = 30, first_s = 30, longest_s = 600, reset_s = 600;
constexpr std::uint32_t threshold = 5;

/// No jitter. The consecutive breaker, one thread.
struct reference {
    int state = HF_BREAKER_CLOSED;
    std::uint64_t generation = 1;
    unsigned in_a_row = 0, opened = 0;
    std::int64_t until = 0, probe_deadline = 0, closed_at = 0;
    bool probe_out = false;

    void open(std::int64_t at) {
        ++opened, ++generation;
        std::int64_t wait = first_s;
        for (unsigned k = 1; k < opened && wait < longest_s; ++k) wait *= 2;
        state = HF_BREAKER_OPEN;
        until = at + std::min(wait, longest_s) * s;
        probe_out = false;
    }
    void pass(std::int64_t now) {
        if (state == HF_BREAKER_HALF_OPEN && probe_out && now >= probe_deadline) open(probe_deadline), ++in_a_row;
        if (state == HF_BREAKER_OPEN && now >= until) state = HF_BREAKER_HALF_OPEN, ++generation, probe_out = false;
    }
    bool permit(std::int64_t now) {
        pass(now);
        if (state == HF_BREAKER_CLOSED) return true;
        if (state != HF_BREAKER_HALF_OPEN || probe_out) return false;
        probe_out = true;
        probe_deadline = now + half_open_s * s;
        return true;
    }
    void report(std::uint64_t of, int outcome, std::int64_t now) {
        pass(now);
        if (of != generation) return;
        if (state == HF_BREAKER_HALF_OPEN) {
            probe_out = false;
            if (outcome == HF_OUTCOME_FAILURE) ++in_a_row, open(now);
            if (outcome == HF_OUTCOME_SUCCESS) state = HF_BREAKER_CLOSED, ++generation, in_a_row = 0, closed_at = now;
        } else if (state == HF_BREAKER_CLOSED) {
            if (outcome == HF_OUTCOME_SUCCESS) in_a_row = 0;
            if (outcome == HF_OUTCOME_FAILURE && ++in_a_row >= threshold) {
                if (now - closed_at >= reset_s * s) opened = 0;
                open(now);
            }
        }
    }
    void force(int to, std::int64_t now) {
        pass(now);
        if (to == HF_BREAKER_OPEN && state != HF_BREAKER_OPEN) open(now);
        if (to == HF_BREAKER_DISABLED && state != HF_BREAKER_DISABLED) state = HF_BREAKER_DISABLED, ++generation;
        if (to == HF_BREAKER_CLOSED) state = HF_BREAKER_CLOSED, ++generation, opened = 0, in_a_row = 0, closed_at = now;
    }
};

struct step {
    int what;         // 0–3 permit, 4–8 report one of those under way, 9 time passes, 10 force
    unsigned which;
    int outcome;
    unsigned seconds;
};

rc::Gen<step> steps() {
    return rc::gen::construct<step>(rc::gen::inRange(0, 11), rc::gen::inRange(0u, 1000u),
                                    rc::gen::element<int>(HF_OUTCOME_FAILURE, HF_OUTCOME_FAILURE, HF_OUTCOME_FAILURE, HF_OUTCOME_SUCCESS, HF_OUTCOME_IGNORED, HF_OUTCOME_DROPPED),
                                    rc::gen::element<unsigned>(0u, 1u, 5u, 29u, 30u, 31u, 60u, 120u, 240u, 480u, 600u, 900u));
}

void show(const step& x, std::ostream& out) { out << x.what << '/' << x.which << '/' << x.outcome << '/' << x.seconds; }
[[maybe_unused]] std::ostream& operator<<(std::ostream& out, const step& x) { return show(x, out), out; }

TEST(breaker_model, random_histories_agree_with_the_reference) {
    const bool held = rc::check("consecutive breaker = reference", [] {
        const auto history = *rc::gen::resize(200, rc::gen::container<std::vector<step>>(steps()));
        auto b = bench::consecutive(R"({"jitter":0})");
        reference model;
        std::vector<hf_permit> out;
        std::uint64_t granted = 0, refused = 0, failed = 0;
        for (const step& x : history) {
            if (x.what <= 3) {
                const bool expected = model.permit(b.now);
                const auto p = b.permit();
                RC_ASSERT((p.granted != 0) == expected);
                ++(expected ? granted : refused);
                if (expected) {
                    RC_ASSERT(p.generation == model.generation);
                    out.push_back(p);
                } else {
                    RC_ASSERT(p.retry_after_ns > 0 || (p.retry_after_ns == -1 && model.state == HF_BREAKER_DISABLED));
                    // A refused caller who waits as told finds that something has happened.
                    if (model.state == HF_BREAKER_OPEN) RC_ASSERT(p.retry_after_ns == model.until - b.now);
                }
            } else if (x.what <= 8 && !out.empty()) {
                const std::size_t i = x.which % out.size();
                model.report(out[i].generation, x.outcome, b.now);
                b.report(out[i], x.outcome);
                failed += x.outcome == HF_OUTCOME_FAILURE;
                out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
            } else if (x.what == 9) {
                b.now += x.seconds * s;
            } else if (x.what == 10 && x.which % 8 == 0) {
                const int to = x.which % 3 == 0 ? HF_BREAKER_CLOSED : x.which % 3 == 1 ? HF_BREAKER_OPEN : HF_BREAKER_DISABLED;
                model.force(to, b.now);
                b.b->force(to, b.now);
            }
            model.pass(b.now);
            const auto is = b.state();
            RC_ASSERT(is.state == model.state);
            RC_ASSERT(is.generation == model.generation);
            RC_ASSERT(is.open_count == model.opened);
            RC_ASSERT(is.consecutive_failures == model.in_a_row);
            if (model.state == HF_BREAKER_OPEN) RC_ASSERT(is.until_ns == model.until);
            RC_ASSERT(is.calls == granted);
            RC_ASSERT(is.rejected == refused);
            RC_ASSERT(is.failures == failed);
        }
    });
    EXPECT_TRUE(held);
}

TEST(breaker_model, the_window_agrees_with_a_list_of_all_calls) {
    const bool held = rc::check("window = list", [] {
        const bool by_time = *rc::gen::arbitrary<bool>();
        const auto size = *rc::gen::inRange(1u, 40u);
        breaker_window::rules r;
        r.by_time = by_time;
        r.size = size;
        r.span_ns = 60 * s;
        breaker_window::window w(r);
        struct entry {
            bool failed, slow;
            std::int64_t at;
        };
        std::vector<entry> all;
        std::int64_t now = begin;
        const auto history = *rc::gen::container<std::vector<unsigned>>(rc::gen::inRange(0u, 10'000u));
        for (const unsigned x : history) {
            now += (x / 4 % 20) * s / 2;
            all.push_back({(x & 1) != 0, (x & 2) != 0, now});
            w.add(all.back().failed, all.back().slow, now);
            breaker_window::tally expected;
            for (std::size_t i = all.size(); i-- > 0;) {
                // The time window moves by whole slices of a second.
                const bool in = by_time ? all[i].at / s > now / s - 60 : all.size() - i <= size;
                if (!in) break;
                ++expected.calls, expected.failed += all[i].failed, expected.slow += all[i].slow;
            }
            const auto got = w.sum(now);
            RC_ASSERT(got.calls == expected.calls);
            RC_ASSERT(got.failed == expected.failed);
            RC_ASSERT(got.slow == expected.slow);
        }
    });
    EXPECT_TRUE(held);
}

}  // namespace
