#include "breaker-window/window.hpp"

namespace {

using namespace holdfast::sdk;

class window_breaker final : public breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<breaker_policy> make(std::string_view config, std::uint64_t seed, std::int64_t) override {
        return std::make_unique<breaker_window::rate_breaker>(breaker_window::rules::from(config), seed);
    }
};

}  // namespace

HOLDFAST_PLUGIN(window_breaker, R"({"id":"breaker-window","kind":"breaker","version":"0.1.0","abi":[1,1],"interfaces":["hf.breaker/1"],"needs":[],
"check":{"config":{"failure_threshold":5,"recovery_timeout_s":30,"max_timeout_s":600,"backoff_multiplier":2}},
"description":"Opens when too large a part of the latest calls failed or was slow. Its rules stand in the \"breaker\" object of the configuration: window_type (count or time), window_size, window_s, min_calls, failure_rate, slow_call_ms, slow_rate, recovery_timeout_s, max_timeout_s, backoff_multiplier, jitter, half_open_max, half_open_timeout_s, success_threshold, reset_after_s.",
"settings":{"type":"object","properties":{},"additionalProperties":false},
"rules":{"type":"object","additionalProperties":false,"properties":{
"use":{"type":"string"},"first_delay_s":{"type":"number","minimum":0},"disable_after_minutes":{"type":"number","minimum":0},
"failure_threshold":{"type":"integer","minimum":1},"window_type":{"enum":["count","time"]},"window_size":{"type":"integer","minimum":1},
"window_s":{"type":"number","minimum":0},"min_calls":{"type":"integer","minimum":1},"failure_rate":{"type":"number","minimum":0,"maximum":1},
"slow_call_ms":{"type":"number","minimum":0},"slow_rate":{"type":"number","minimum":0,"maximum":1},"recovery_timeout_s":{"type":"number","minimum":0},
"max_timeout_s":{"type":"number","minimum":0},"backoff_multiplier":{"type":"number","minimum":1,"maximum":100},"jitter":{"type":"number","minimum":0,"maximum":0.99},
"half_open_max":{"type":"integer","minimum":1},"half_open_timeout_s":{"type":"number","minimum":0},"success_threshold":{"type":"integer","minimum":1},
"reset_after_s":{"type":"number","minimum":0}}}})")
