#pragma once
// From open back to closed, the same for every breaker (C2–C4): growing waits, a few probes at a time, a deadline for them.
// What trips it is the policy's own. Pure: time is passed in. One thread at a time.
#include <cstdint>
#include <vector>

#include "holdfast/ext/breaker.h"
#include "policy/settings.hpp"

namespace policy {

struct recovery_rules {
    std::int64_t first_ns = 30 * second_ns, longest_ns = 600 * second_ns;
    double multiplier = 2, jitter = 0.2;
    std::uint32_t probes_at_once = 1, successes_needed = 1;
    std::int64_t half_open_ns = 30 * second_ns;  ///< a probe without an answer is a failure then
    std::int64_t reset_after_ns = 600 * second_ns;  ///< closed for so long, the waits begin anew

    static recovery_rules from(settings& s);
};

class recovery {
  public:
    recovery(const recovery_rules& rules, std::uint64_t seed) : rules_(rules), chance_(seed) {}

    int state() const { return state_; }
    std::uint64_t generation() const { return generation_; }
    std::uint32_t open_count() const { return open_count_; }
    std::int64_t until_ns() const { return state_ == HF_BREAKER_OPEN || state_ == HF_BREAKER_HALF_OPEN ? until_ns_ : 0; }

    /// Does what is due by now: open → half open, a hung probe → open again. The state is the truth only after it.
    void advance(std::int64_t now_ns);
    /// Closed → open.
    void trip(std::int64_t now_ns);
    /// A permit while not closed. `out` arrives zeroed.
    void probe(std::int64_t now_ns, hf_permit& out);
    /// A result while half open, of this generation. True: it has just closed.
    bool probed(std::int32_t outcome, std::int64_t now_ns);
    void force(std::int32_t state, std::int64_t now_ns);

  private:
    void open(std::int64_t now_ns);
    void close(std::int64_t now_ns);
    std::int64_t wait();

    recovery_rules rules_;
    chance chance_;
    int state_ = HF_BREAKER_CLOSED;
    std::uint64_t generation_ = 1;
    std::uint32_t open_count_ = 0, probes_ = 0, successes_ = 0;
    std::int64_t until_ns_ = 0, closed_at_ns_ = 0;
};

}  // namespace policy
