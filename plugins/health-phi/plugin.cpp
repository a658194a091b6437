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

HOLDFAST_PLUGIN(phi_health, R"({"id":"health-phi","kind":"health","version":"0.1.0","abi":[1,1],"interfaces":["hf.health/1"],
"description":"Down when a success stays away for longer than is likely after how regularly they came (phi accrual), and a health check failed. Its rules stand in the \"health\" object of the configuration: interval_s, timeout_s, phi_down, phi_degraded, min_std_s, window, success_threshold, passive_failure_threshold, startup_grace_s, jitter, latency_ms, memory_mb, cpu_percent, queue_length.",
"settings":{"type":"object","properties":{},"additionalProperties":false}})")
