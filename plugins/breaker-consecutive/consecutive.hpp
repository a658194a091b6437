#pragma once
// Opens after a number of failures in a row. Any number of threads at once: while closed, and while open and waiting, a
// permit is a few loads and one counter; everything else takes the mutex.
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "holdfast/breaker.hpp"
#include "policy/recovery.hpp"

namespace breaker_consecutive {

constexpr std::uint32_t most_failures = 10'000;

struct rules {
    std::uint32_t failure_threshold = 5;
    policy::recovery_rules recovery;
    /// Throws plugin_error(HF_E_INVALID, …).
    static rules from(std::string_view json);
};

class consecutive final : public holdfast::sdk::breaker_policy {
  public:
    consecutive(const rules& r, std::uint64_t seed) : threshold_(r.failure_threshold), recovery_(r.recovery, seed) { publish(); }

    void permit(std::int64_t now_ns, hf_permit& out) override;
    void report(std::uint64_t generation, std::int32_t outcome, std::int64_t latency_ns, std::int64_t now_ns) override;
    void state(std::int64_t now_ns, hf_breaker_state& out) override;
    void force(std::int32_t state, std::int64_t now_ns) override;

  private:
    // The word: generation (40 bits), failures in a row (16 bits), what may be done without the mutex (8 bits).
    enum : std::uint64_t { closed = 0, waiting = 1, slow = 2 };
    static std::uint64_t pack(std::uint64_t generation, std::uint64_t failures, std::uint64_t how) { return generation << 24 | failures << 8 | how; }
    static std::uint64_t how(std::uint64_t w) { return w & 0xFF; }
    static std::uint64_t failures(std::uint64_t w) { return (w >> 8) & 0xFFFF; }
    static std::uint64_t generation(std::uint64_t w) { return w >> 24; }

    bool report_closed(std::uint64_t generation, std::int32_t outcome);
    void report_slow(std::uint64_t generation, std::int32_t outcome, std::int64_t now_ns);
    void advance(std::int64_t now_ns);
    void publish();

    // Read by everybody and rarely written, apart from the counters, which everybody writes.
    alignas(64) std::atomic<std::uint64_t> word_{0};
    std::atomic<std::int64_t> until_ns_{0};  ///< of the generation in the word
    const std::uint32_t threshold_;
    alignas(64) std::atomic<std::uint64_t> calls_{0};
    std::atomic<std::uint64_t> failed_{0}, rejected_{0};
    alignas(64) std::mutex mutex_;  // guards what follows, and every change of the word from or to `closed`
    policy::recovery recovery_;
    std::uint32_t in_a_row_ = 0;  ///< while not closed
};

}  // namespace breaker_consecutive
