#include "health-threshold/threshold.hpp"

namespace {

using namespace holdfast::sdk;

class threshold_health final : public health {
  public:
    using health::health;
    std::unique_ptr<health_monitor> make(std::string_view config, std::uint64_t seed, std::int64_t now_ns) override {
        return std::make_unique<health_threshold::threshold>(config, seed, now_ns);
    }
};

}  // namespace

HOLDFAST_PLUGIN(threshold_health, R"({"id":"health-threshold","kind":"health","version":"0.1.0","abi":[1,1],"interfaces":["hf.health/1"],"needs":[],
"check":{"config":{"interval_s":30,"timeout_s":5,"failure_threshold":2,"success_threshold":1}},
"description":"Up and down after a number of health checks in a row. Its rules stand in the \"health\" object of the configuration: interval_s, timeout_s, failure_threshold, success_threshold, passive_failure_threshold, startup_grace_s, jitter, latency_ms, memory_mb, cpu_percent, queue_length.",
"settings":{"type":"object","properties":{},"additionalProperties":false},
"rules":{"type":"object","additionalProperties":false,"properties":{
"use":{"type":"string"},"probe":{"type":"object"},"init_message":{"type":"object"},"failure_threshold":{"type":"integer","minimum":1},"interval_s":{"type":"number","minimum":0},
"timeout_s":{"type":"number","minimum":0},"success_threshold":{"type":"integer","minimum":1},"passive_failure_threshold":{"type":"integer","minimum":1},
"startup_grace_s":{"type":"number","minimum":0},"jitter":{"type":"number","minimum":0,"maximum":0.9},"latency_ms":{"type":"number","minimum":0},
"memory_mb":{"type":"number","minimum":0},"cpu_percent":{"type":"number","minimum":0},"queue_length":{"type":"number","minimum":0}}}})")
