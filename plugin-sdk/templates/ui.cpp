// A user interface without a face: it follows every session and writes into the log how many messages it has seen. A real one
// would listen or take the terminal in start(), call methods with host_.api() and give everything back in stop().
#include <atomic>

#include "holdfast/ui.hpp"

using namespace holdfast::sdk;

class my_ui final : public ui {
  public:
    using ui::ui;

    void start() override {
        following_ = host_.events().subscribe(R"({"topic":"session:*"})", [this](std::string_view event) {
            if (json_text(event, "type") == "MessageAdded") ++seen_;
        });
    }
    void stop() override {
        following_.close();  // no callback runs after this
        host_.log().info("messages seen", {{"count", seen_.load()}});
    }
    // A user interface that listens names its address here.
    std::string describe() override { return json_object({{"terminal", false}, {"url", "log:" + host_.id()}, {"clients", 0}}); }
    // Given to the next version of this plugin when it is replaced while it runs.
    std::string export_state() override { return json_object({{"seen", seen_.load()}}); }
    void import_state(std::string_view state) override { seen_ = json_number<int>(state, "seen", 0); }

  private:
    std::atomic<int> seen_{0};
    subscription following_;
};

HOLDFAST_PLUGIN(my_ui, R"({"id":"my-plugin","kind":"ui","version":"0.1.0","abi":[1,1],"interfaces":["hf.ui/1"],
    "needs":["hf.events/1"],"description":"Counts messages","settings":{"type":"object","properties":{},"additionalProperties":false}})")
