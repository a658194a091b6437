// init answers with an error. Settings: {"times"?: n} fails only the first n instances of this library (0 = always).
#include <atomic>

#include "allow_all.hpp"

class fails final : public holdfast::bad::allow_all {
  public:
    using allow_all::allow_all;
    void init() override {
        static std::atomic<int> so_far{0};
        const int times = holdfast::sdk::json_number<int>(settings_, "times");
        if (times == 0 || so_far++ < times) throw holdfast::sdk::plugin_error(HF_E_IO, "bad_init_fails: this init always fails");
    }
};
HOLDFAST_PLUGIN(fails, R"({"id":"bad_init_fails","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"settings":{"type":"object","properties":{"times":{"type":"integer","minimum":0}},"additionalProperties":false}})")
