// Lets a real C++ exception unwind out of one ABI function: what the SDK prevents and the host must survive.
// Settings: {"throw_in":"create|init|start|quiesce|stop|destroy|get_ext|submit|cancel", "not_std_exception"?: true}
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "holdfast/abi/plugin.h"
#include "holdfast/ext/llm.h"

namespace {

struct state {
    hf_instance table;
    std::string where;
    bool odd = false;
    void maybe(const char* here) const {
        if (where != here) return;
        if (odd) throw 42;
        throw std::runtime_error(std::string("bad_throws in ") + here);
    }
};
state& at(void* self) { return *static_cast<state*>(self); }

std::int32_t submit(void* self, const hf_call* call, hf_error*) {
    at(self).maybe("submit");
    static constexpr char answer[] =
        R"({"model":"bad","available":true,"stop_reason":"end_turn","content":[],"usage":{"input_tokens":0,"output_tokens":0}})";
    call->on_done(call->ctx, call->id, nullptr, {answer, sizeof answer - 1});
    return HF_PENDING;
}
void cancel(void* self, std::uint64_t) { at(self).maybe("cancel"); }
constexpr hf_llm llm{sizeof(hf_llm), 0, &submit, &cancel};

std::int32_t create(const hf_host*, hf_bytes settings, const hf_instance** out, hf_error*) {
    const auto* text = static_cast<const char*>(settings.data);
    const auto json = nlohmann::json::parse(text, text + settings.length);
    auto s = std::make_unique<state>();
    s->where = json.value("throw_in", "");
    s->odd = json.value("not_std_exception", false);
    s->maybe("create");
    hf_instance& t = s->table;
    t = {};
    t.size = sizeof t;
    t.self = s.get();
    t.init = [](void* self, hf_error*) -> std::int32_t { return at(self).maybe("init"), HF_OK; };
    t.start = [](void* self, hf_error*) -> std::int32_t { return at(self).maybe("start"), HF_OK; };
    t.quiesce = [](void* self, std::int64_t, hf_error*) -> std::int32_t { return at(self).maybe("quiesce"), HF_OK; };
    t.stop = [](void* self, hf_error*) -> std::int32_t { return at(self).maybe("stop"), HF_OK; };
    t.destroy = [](void* self) {
        const std::unique_ptr<state> last(&at(self));
        last->maybe("destroy");
    };
    t.get_ext = [](void* self, hf_str id) -> const void* {
        at(self).maybe("get_ext");
        return std::string_view(id.data, id.length) == HF_EXT_LLM ? &llm : nullptr;
    };
    *out = &s.release()->table;
    return HF_OK;
}

}  // namespace

extern "C" HF_EXPORT __attribute__((used)) const char hf_plugin_manifest[] =
    R"({"id":"bad_throws","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"],
"settings":{"type":"object","properties":{"throw_in":{"type":"string"},"not_std_exception":{"type":"boolean"}},"additionalProperties":false}})";
extern "C" HF_EXPORT __attribute__((used)) const hf_entry hf_plugin_entry_v1 = {
    sizeof(hf_entry), HF_ABI_VERSION, [](hf_error*) -> std::int32_t { return HF_OK; }, []() {}, &create};
