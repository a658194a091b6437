// Throws in its own C++ code; the SDK turns it into HF_E_INTERNAL with what(). Settings as bad_throws.
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "holdfast/llm.hpp"

using namespace holdfast::sdk;

class thrower final : public llm {
  public:
    thrower(host& h, std::string_view settings) : llm(h, settings) {
        where_ = nlohmann::json::parse(settings).value("throw_in", "");
        maybe("create");
    }
    void init() override { maybe("init"); }
    void start() override { maybe("start"); }
    void quiesce(time_point) override { maybe("quiesce"); }
    void stop() override { maybe("stop"); }
    const void* find_ext(std::string_view id) override {
        maybe("get_ext");
        return llm::find_ext(id);
    }
    void describe(call c) override {
        maybe("submit");
        c.done(R"({"model":"bad","available":true,"reason":"","local":true,"demonstration":true})");
    }
    void chat(call c) override {
        maybe("submit");
        c.done(R"({"model":"bad","stop_reason":"end_turn","content":[],"usage":{"input_tokens":0,"output_tokens":0}})");
    }

  private:
    void maybe(const char* here) const {
        if (where_ == here) throw std::runtime_error(std::string("bad_throws_caught in ") + here);
    }
    std::string where_;
};
HOLDFAST_PLUGIN(thrower, R"({"id":"bad_throws_caught","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"],
"settings":{"type":"object","properties":{"throw_in":{"type":"string"}},"additionalProperties":false}})")
