#pragma once
// Watches heartbeats from a thread of its own (T2): miss → hung → escalated, one alert per stage and episode.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "kernel/core/clock.hpp"

namespace holdfast::supervise {

enum class watch_stage : std::uint8_t {
    beating,
    missed,     ///< no beat for half the deadline
    hung,       ///< no beat for the deadline
    escalated,  ///< no beat for twice the deadline: whoever was told at `hung` did not replace it
};
std::string_view to_string(watch_stage s) noexcept;

/// Pure: one watched thing. Feed it the beat counter and the time.
class heartbeat_decision {
  public:
    heartbeat_decision(nanoseconds deadline, steady_time now) : deadline_(deadline), last_change_(now) {}
    /// The stage just entered, or nothing when the stage is the same as before. A new beat ends the episode (`beating`).
    std::optional<watch_stage> on_sample(std::uint64_t beats, steady_time now) noexcept;
    watch_stage stage() const noexcept { return stage_; }
    /// When sampling again can change anything at the earliest.
    steady_time next_check() const noexcept;

  private:
    nanoseconds deadline_;
    steady_time last_change_;
    std::uint64_t beats_ = 0;
    watch_stage stage_ = watch_stage::beating;
};

/// [any thread] The callback runs on the watchdog's thread, outside its lock: hand it on, do not block.
class watchdog {
  public:
    using alert = std::function<void(watch_stage)>;

    watchdog();
    ~watchdog();

    class registration {
      public:
        registration() = default;
        registration(registration&& o) noexcept;
        registration& operator=(registration&& o) noexcept;
        ~registration();
        /// After reset() no alert starts (one may be running at that moment).
        void reset() noexcept;

      private:
        friend class watchdog;
        std::shared_ptr<void> entry_;  // second owner: the watchdog, weakly
    };
    /// beats is read until the registration ends; the pointer's owner keeps it alive. even_is_idle: for something that counts at the
    /// beginning and at the end of each piece of work, and has nothing to prove between them.
    [[nodiscard]] registration watch(std::shared_ptr<const std::atomic<std::uint64_t>> beats, nanoseconds deadline, alert f, bool even_is_idle = false);

    std::size_t watched() const;
    std::uint64_t episodes() const noexcept;  ///< hung episodes since the start

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::supervise
