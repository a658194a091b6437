// Takes its time. Settings: {"create_ms","init_ms","start_ms","quiesce_ms","stop_ms"}, all optional.
#include <chrono>
#include <thread>

#include "allow_all.hpp"

class slow final : public holdfast::bad::allow_all {
  public:
    slow(holdfast::sdk::host& h, std::string_view settings) : allow_all(h, settings) { dawdle("create_ms"); }
    void init() override { dawdle("init_ms"); }
    void start() override { dawdle("start_ms"); }
    void quiesce(holdfast::sdk::time_point) override { dawdle("quiesce_ms"); }
    void stop() override { dawdle("stop_ms"); }

  private:
    void dawdle(const char* key) {
        std::this_thread::sleep_for(std::chrono::milliseconds(holdfast::sdk::json_number<int>(settings_, key)));
    }
};
HOLDFAST_PLUGIN(slow, R"({"id":"bad_slow","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"settings":{"type":"object","additionalProperties":{"type":"integer"}}})")
