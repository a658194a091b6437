// A health policy: up after `success_threshold` good probes in a row, down after `failure_threshold` bad ones. What real calls say
// (passive samples) is left aside. Time is an argument.
#include <algorithm>

#include "holdfast/health.hpp"

using namespace holdfast::sdk;

constexpr double second = 1e9;

struct rules {
    std::int64_t interval, timeout;
    int failures, successes;
};

class my_monitor final : public health_monitor {
  public:
    explicit my_monitor(const rules& r) : rules_(r) {}
    void observe(const hf_health_sample& s) override {
        if (s.kind != HF_SAMPLE_ACTIVE) return;
        last_ = s.now_ns, sampled_ = true;
        good_ = s.ok ? good_ + 1 : 0;
        bad_ = s.ok ? 0 : bad_ + 1;
        if (good_ >= rules_.successes) state_ = HF_HEALTH_UP;
        if (bad_ >= rules_.failures) state_ = HF_HEALTH_DOWN;
    }
    void verdict(std::int64_t now, hf_health_verdict& out) override {
        out.state = state_;
        out.score = bad_;
        out.next_check_ns = sampled_ ? std::clamp(last_ + rules_.interval, now + 1, now + rules_.interval) : now;
        out.probe_timeout_ns = rules_.timeout;
        if (state_ == HF_HEALTH_DOWN) copy_text(out.reason, sizeof out.reason, std::to_string(bad_) + " probes in a row failed");
    }
    void reset(std::int64_t) override {
        state_ = HF_HEALTH_UNKNOWN, good_ = bad_ = 0, sampled_ = false;
    }

  private:
    const rules rules_;
    std::int32_t state_ = HF_HEALTH_UNKNOWN;
    int good_ = 0, bad_ = 0;
    bool sampled_ = false;
    std::int64_t last_ = 0;
};

class my_health final : public health {
  public:
    using health::health;
    std::unique_ptr<health_monitor> make(std::string_view config, std::uint64_t, std::int64_t) override {
        if (!config.starts_with('{') || !config.ends_with('}')) throw plugin_error(HF_E_INVALID, "the configuration is not a JSON object");
        const auto number = [&](const char* key, double otherwise) {
            const double n = json_number<double>(config, key, json_member(config, key).empty() ? otherwise : -1);
            if (n <= 0 || n > 3600) throw plugin_error(HF_E_INVALID, std::string(key) + " is a number above 0, at most 3600");
            return n;
        };
        return std::make_unique<my_monitor>(rules{static_cast<std::int64_t>(number("interval_s", 30) * second),
                                                  static_cast<std::int64_t>(number("timeout_s", 5) * second),
                                                  static_cast<int>(number("failure_threshold", 1)), static_cast<int>(number("success_threshold", 1))});
    }
};

HOLDFAST_PLUGIN(my_health, R"({"id":"my-plugin","kind":"health","version":"0.1.0","abi":[1,1],"interfaces":["hf.health/1"],"needs":[],
    "description":"Up and down after probes in a row","settings":{"type":"object","properties":{},"additionalProperties":false}})")
