#pragma once
// Notices that several servers fail at the same time: one cause, one alert. Pure.
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "kernel/core/clock.hpp"

namespace holdfast::servers {

inline constexpr seconds burst_window{10};
inline constexpr std::size_t burst_size = 2;           ///< different servers within the window
inline constexpr std::size_t burst_remembered = 10'000;

class failure_burst {
  public:
    /// Names to raise an alert about, or nothing. One alert when the burst begins and one each time it has doubled since.
    std::vector<std::string> failed(const std::string& server, steady_time now);

  private:
    std::deque<std::pair<steady_time, std::string>> recent_;
    std::size_t next_alert_ = burst_size;
};

}  // namespace holdfast::servers
