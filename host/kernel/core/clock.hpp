#pragma once
// Time is injected everywhere. Decisions take a time_point; shells ask a clock.
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast {

using steady_time = std::chrono::steady_clock::time_point;
using wall_time = std::chrono::system_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// [any thread]
class clock_source {
  public:
    virtual ~clock_source() = default;
    virtual steady_time now() const = 0;  ///< monotonic: deadlines, windows, backoff
    virtual wall_time wall() const = 0;   ///< for people and for the store; may jump
};

class system_clock final : public clock_source {
  public:
    steady_time now() const override { return std::chrono::steady_clock::now(); }
    wall_time wall() const override { return std::chrono::system_clock::now(); }
};

/// Moves only when told to. [one thread at a time]
class manual_clock final : public clock_source {
  public:
    steady_time now() const override { return steady_time(since_start_); }
    wall_time wall() const override { return wall_time(std::chrono::hours(24 * 365 * 56)) + std::chrono::duration_cast<wall_time::duration>(since_start_); }
    void advance(nanoseconds d) { since_start_ += d; }

  private:
    nanoseconds since_start_{std::chrono::hours(1)};
};

/// "2026-11-21T12:00:00.123Z"
std::string rfc3339(wall_time t);
/// The reverse, for what the function above has written. Milliseconds since 1970; 0 for anything else.
std::int64_t rfc3339_ms(std::string_view text) noexcept;

}  // namespace holdfast
