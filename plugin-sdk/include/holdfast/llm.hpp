#pragma once
// A language model adapter (hf.llm/1) in C++. Requests, chunks and results: holdfast/ext/llm.h.
#include "holdfast/call_table.hpp"
#include "holdfast/ext/llm.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

class llm : public plugin {
  public:
    using plugin::plugin;

    virtual void describe(call c) = 0;  ///< [any & active] cheap
    /// [any & active] Answer from a worker or a callback when it takes time: keep the call and return.
    virtual void chat(call c) = 0;
    /// [any & active] The call's cancelled() is already true. Override to interrupt a wait.
    virtual void cancel(std::uint64_t /*id*/) {}

    const void* find_ext(std::string_view id) override {
        static constexpr hf_llm table{sizeof(hf_llm), 0, &on_submit, &on_cancel};
        return id == HF_EXT_LLM ? &table : nullptr;
    }

  private:
    static llm& at(void* self) { return static_cast<llm&>(*static_cast<plugin*>(self)); }
    static std::int32_t on_submit(void* self, const hf_call* raw, hf_error* err) noexcept {
        llm& me = at(self);
        return me.calls_.submit(raw, err, [&me](call c) {
            if (c.method() == "chat") return me.chat(std::move(c));
            if (c.method() == "describe") return me.describe(std::move(c));
            throw plugin_error(HF_E_UNSUPPORTED, "hf.llm/1 has no method " + std::string(c.method()));
        });
    }
    static void on_cancel(void* self, std::uint64_t id) noexcept {
        llm& me = at(self);
        if (me.calls_.cancel(id)) guard(nullptr, [&] { me.cancel(id); });
    }
    detail::call_table calls_;
};

}  // namespace holdfast::sdk
