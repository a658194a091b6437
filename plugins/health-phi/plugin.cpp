#include "health-phi/phi.hpp"

namespace {

using namespace holdfast::sdk;

class phi_health final : public health {
  public:
    using health::health;
    std::unique_ptr<health_monitor> make(std::string_view config, std::uint64_t seed, std::int64_t now_ns) override {
        return std::make_unique<health_phi::phi>(config, seed, now_ns);
    }
};

}  // namespace

HOLDFAST_PLUGIN(phi_health, R"({"id":"health-phi","kind":"health","version":"0.1.0","abi":[1,1],"interfaces":["hf.health/1"],"needs":[],
"check":{"config":{"interval_s":30,"timeout_s":5}},
"description":"Down when a success stays away for longer than is likely after how regularly they came (phi accrual), and a health check failed. Its rules stand in the \"health\" object of the configuration: interval_s, timeout_s, phi_down, phi_degraded, min_std_s, window, success_threshold, passive_failure_threshold, startup_grace_s, jitter, latency_ms, memory_mb, cpu_percent, queue_length.",
"settings":{"type":"object","properties":{},"additionalProperties":false},
"rules":{"type":"object","additionalProperties":false,"properties":{
"use":{"type":"string"},"probe":{"type":"object"},"init_message":{"type":"object"},"failure_threshold":{"type":"integer","minimum":1},"phi_down":{"type":"number","minimum":0.1,"maximum":100},
"phi_degraded":{"type":"number","minimum":0.1,"maximum":100},"min_std_s":{"type":"number","minimum":0.001},"window":{"type":"integer","minimum":2},
"interval_s":{"type":"number","minimum":0},"timeout_s":{"type":"number","minimum":0},"success_threshold":{"type":"integer","minimum":1},
"passive_failure_threshold":{"type":"integer","minimum":1},"startup_grace_s":{"type":"number","minimum":0},"jitter":{"type":"number","minimum":0,"maximum":0.9},
"latency_ms":{"type":"number","minimum":0},"memory_mb":{"type":"number","minimum":0},"cpu_percent":{"type":"number","minimum":0},
"queue_length":{"type":"number","minimum":0}}}})")
