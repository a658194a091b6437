// A user interface nobody sees that takes its time. Settings: {"start_ms","stop_ms"}, both optional.
#include <chrono>
#include <thread>

#include "holdfast/json.hpp"
#include "holdfast/ui.hpp"

class slow_ui final : public holdfast::sdk::ui {
  public:
    using ui::ui;
    std::string describe() override { return R"({"terminal":false,"clients":0})"; }
    void start() override { dawdle("start_ms"); }
    void stop() override { dawdle("stop_ms"); }

  private:
    void dawdle(const char* key) {
        std::this_thread::sleep_for(std::chrono::milliseconds(holdfast::sdk::json_number<int>(settings_, key)));
    }
};
HOLDFAST_PLUGIN(slow_ui, R"({"id":"bad_ui","kind":"ui","version":"1.0.0","abi":[1,1],"interfaces":["hf.ui/1"],
"settings":{"type":"object","additionalProperties":{"type":"integer"}}})")
