#include "breaker-consecutive/consecutive.hpp"

namespace {

using namespace holdfast::sdk;

class consecutive_breaker final : public breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<breaker_policy> make(std::string_view config, std::uint64_t seed, std::int64_t) override {
        return std::make_unique<breaker_consecutive::consecutive>(breaker_consecutive::rules::from(config), seed);
    }
    bool thread_safe() const override { return true; }
};

}  // namespace

HOLDFAST_PLUGIN(consecutive_breaker, R"({"id":"breaker-consecutive","kind":"breaker","version":"0.1.0","abi":[1,1],"interfaces":["hf.breaker/1"],"needs":[],
"check":{"config":{"failure_threshold":5,"recovery_timeout_s":30,"max_timeout_s":600,"backoff_multiplier":2}},
"description":"Opens after a number of failures in a row. Its rules stand in the \"breaker\" object of the configuration: failure_threshold, recovery_timeout_s, max_timeout_s, backoff_multiplier, jitter, half_open_max, half_open_timeout_s, success_threshold, reset_after_s.",
"settings":{"type":"object","properties":{},"additionalProperties":false},
"rules":{"type":"object","additionalProperties":false,"properties":{
"use":{"type":"string"},"first_delay_s":{"type":"number","minimum":0},"disable_after_minutes":{"type":"number","minimum":0},
"failure_threshold":{"type":"integer","minimum":1},"recovery_timeout_s":{"type":"number","minimum":0},"max_timeout_s":{"type":"number","minimum":0},
"backoff_multiplier":{"type":"number","minimum":1,"maximum":100},"jitter":{"type":"number","minimum":0,"maximum":0.99},"half_open_max":{"type":"integer","minimum":1},
"half_open_timeout_s":{"type":"number","minimum":0},"success_threshold":{"type":"integer","minimum":1},"reset_after_s":{"type":"number","minimum":0}}}})")
