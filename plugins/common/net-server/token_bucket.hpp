#pragma once
// How many messages each user may still send. Time is passed in.
#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>

namespace holdfast::web {

class token_bucket {
  public:
    using clock = std::chrono::steady_clock;
    /// `rate` per second on average, up to `burst` at once. At most `max_keys` keys are remembered; full ones are forgotten first.
    token_bucket(double rate, double burst, std::size_t max_keys = 10'000) : rate_(rate), burst_(burst), max_keys_(max_keys) {}

    /// 0 = allowed (and counted), else how long to wait. Owner: the caller's lock.
    std::chrono::milliseconds take(const std::string& key, clock::time_point now);
    std::size_t keys() const { return keys_.size(); }

  private:
    struct level {
        double left = 0;
        clock::time_point at;
    };
    void forget_full(clock::time_point now);
    double rate_, burst_;
    std::size_t max_keys_;
    std::unordered_map<std::string, level> keys_;
};

}  // namespace holdfast::web
