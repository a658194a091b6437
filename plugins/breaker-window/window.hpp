#pragma once
// Opens when too large a part of the latest calls failed or was slow. The latest: a number of calls, or those of a time.
// One thread at a time.
#include <cstdint>
#include <string_view>
#include <vector>

#include "holdfast/breaker.hpp"
#include "policy/recovery.hpp"

namespace breaker_window {

constexpr std::uint32_t largest_window = 100'000;
constexpr std::size_t slices = 60;  ///< a time window moves in steps of this part of it

struct rules {
    bool by_time = false;
    std::uint32_t size = 20;                             ///< calls
    std::int64_t span_ns = 60 * policy::second_ns;       ///< of a time window
    std::uint32_t min_calls = 10;
    double failure_rate = 0.5, slow_rate = 1;
    std::int64_t slow_ns = 0;  ///< 0: no call is slow
    policy::recovery_rules recovery;
    /// Throws plugin_error(HF_E_INVALID, …).
    static rules from(std::string_view json);
};

struct tally {
    std::uint64_t calls = 0, failed = 0, slow = 0;
};

/// The results of the latest calls. Pure.
class window {
  public:
    explicit window(const rules& r);
    void add(bool failed, bool slow, std::int64_t now_ns);
    tally sum(std::int64_t now_ns);
    void clear();

  private:
    void roll(std::int64_t now_ns);
    bool by_time_;
    std::int64_t slice_ns_;
    std::vector<tally> ring_;  ///< one call each, or one slice of time each
    std::size_t at_ = 0;
    std::int64_t slice_ = 0;   ///< number of the newest slice
    tally sum_;
};

class rate_breaker final : public holdfast::sdk::breaker_policy {
  public:
    rate_breaker(const rules& r, std::uint64_t seed) : rules_(r), window_(r), recovery_(r.recovery, seed) {}
    void permit(std::int64_t now_ns, hf_permit& out) override;
    void report(std::uint64_t generation, std::int32_t outcome, std::int64_t latency_ns, std::int64_t now_ns) override;
    void state(std::int64_t now_ns, hf_breaker_state& out) override;
    void force(std::int32_t state, std::int64_t now_ns) override;

  private:
    rules rules_;
    window window_;
    policy::recovery recovery_;
    std::uint32_t in_a_row_ = 0;
    std::uint64_t calls_ = 0, failed_ = 0, rejected_ = 0;
};

}  // namespace breaker_window
