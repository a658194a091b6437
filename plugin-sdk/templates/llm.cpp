#include "holdfast/llm.hpp"
using namespace holdfast::sdk;
struct my_llm : llm {
    using llm::llm;
    void describe(call c) override { c.done(R"({"model":"my-plugin","available":true,"reason":"","local":true,"demonstration":true})"); }
    void chat(call c) override {
        if (!json_member(c.request(), "messages").starts_with('[')) throw plugin_error(HF_E_INVALID, "a chat request needs \"messages\": […]");
        const std::string part = json_object({{"type", "text"}, {"text", "Hello from my-plugin."}});
        c.chunk(part);
        c.done(json_object({{"model", "my-plugin"}, {"stop_reason", "end_turn"}, field::raw("content", "[" + part + "]"),
                            field::raw("usage", R"({"input_tokens":0,"output_tokens":0})")}));
    }
};
HOLDFAST_PLUGIN(my_llm, R"({"id":"my-plugin","kind":"llm","version":"0.1.0","abi":[1,1],"interfaces":["hf.llm/1"],"needs":[]})")
