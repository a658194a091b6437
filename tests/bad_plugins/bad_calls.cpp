// A model adapter that breaks the completion rules. Settings: {"mode":
//   "ok"               answers at once            "never"            keeps the call for good, ignores cancel and stop
//   "twice"            completes twice            "chunk_after_done" streams on after completing
//   "done_and_error"   completes, then returns an error from submit
//   "returns_ok"       returns HF_OK from submit, as if that could be a result
//   "garbage"          a result that is not JSON  "late"             completes only when stop() was called}
#include <mutex>
#include <vector>

#include <nlohmann/json.hpp>

#include "holdfast/llm.hpp"

using namespace holdfast::sdk;

namespace {
constexpr char answer[] =
    R"({"model":"bad","available":true,"reason":"","local":true,"demonstration":true,"stop_reason":"end_turn","content":[{"type":"text","text":"x"}],"usage":{"input_tokens":0,"output_tokens":0}})";
constexpr char chunk[] = R"({"type":"text","text":"x"})";

// Written against the C table: the C++ layer would prevent every one of these.
class rule_breaker final : public plugin {
  public:
    rule_breaker(host& h, std::string_view s) : plugin(h, s), mode_(nlohmann::json::parse(s).value("mode", "ok")) {}
    void stop() override {
        std::vector<hf_call> late;
        {
            std::lock_guard lock(mutex_);
            late.swap(kept_);
        }
        if (mode_ == "late")
            for (const hf_call& c : late) c.on_done(c.ctx, c.id, nullptr, bytes(answer));
    }
    const void* find_ext(std::string_view id) override {
        static constexpr hf_llm table{sizeof(hf_llm), 0, &submit, [](void*, std::uint64_t) {}};
        return id == HF_EXT_LLM ? &table : nullptr;
    }

  private:
    static std::int32_t submit(void* self, const hf_call* call, hf_error* err) {
        auto& me = static_cast<rule_breaker&>(*static_cast<plugin*>(self));
        const hf_call c = *call;
        const std::string& mode = me.mode_;
        if (mode == "never" || mode == "late") {
            std::lock_guard lock(me.mutex_);
            me.kept_.push_back(c);
            return HF_PENDING;
        }
        if (mode == "returns_ok") return HF_OK;
        c.on_chunk(c.ctx, c.id, bytes(chunk));
        c.on_done(c.ctx, c.id, nullptr, bytes(mode == "garbage" ? "{not json" : answer));
        if (mode == "twice") c.on_done(c.ctx, c.id, nullptr, bytes(answer));
        if (mode == "chunk_after_done") c.on_chunk(c.ctx, c.id, bytes(chunk));
        if (mode == "done_and_error") return fill(err, HF_E_INTERNAL, "bad_calls: an error after a completion");
        return HF_PENDING;
    }
    const std::string mode_;
    std::mutex mutex_;
    std::vector<hf_call> kept_;
};
}  // namespace
HOLDFAST_PLUGIN(rule_breaker, R"({"id":"bad_calls","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"],
"settings":{"type":"object","properties":{"mode":{"enum":["ok","never","twice","chunk_after_done","done_and_error","returns_ok","garbage","late"]}},"additionalProperties":false}})")
