// Starts a thread of its own and leaves it behind. Settings: {"leak_ms"?: n} how long it lives (default: for good).
#include <chrono>
#include <thread>

#include "allow_all.hpp"

class leaks final : public holdfast::bad::allow_all {
  public:
    using allow_all::allow_all;
    void start() override {
        const auto life = std::chrono::milliseconds(holdfast::sdk::json_number<int>(settings_, "leak_ms", -1));
        std::thread([life] {
            if (life.count() >= 0) return std::this_thread::sleep_for(life);
            for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
        }).detach();
    }
};
HOLDFAST_PLUGIN(leaks, R"({"id":"bad_leaks_thread","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"settings":{"type":"object","properties":{"leak_ms":{"type":"integer"}},"additionalProperties":false}})")
