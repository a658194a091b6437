#pragma once
// Durable storage (hf.store/1) in C++. Methods, requests and results: holdfast/ext/store.h.
#include "holdfast/call_table.hpp"
#include "holdfast/ext/store.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

class store : public plugin {
  public:
    using plugin::plugin;

    /// [any & active] Look at c.method(). Completing a write means it is durable. Throw plugin_error(HF_E_UNSUPPORTED, …)
    /// for an unknown method.
    virtual void submit(call c) = 0;
    virtual void cancel(std::uint64_t /*id*/) {}  ///< [any & active] best effort

    const void* find_ext(std::string_view id) override {
        static constexpr hf_store table{sizeof(hf_store), 0, &on_submit, &on_cancel};
        return id == HF_EXT_STORE ? &table : nullptr;
    }

  private:
    static store& at(void* self) { return static_cast<store&>(*static_cast<plugin*>(self)); }
    static std::int32_t on_submit(void* self, const hf_call* raw, hf_error* err) noexcept {
        store& me = at(self);
        return me.calls_.submit(raw, err, [&me](call c) { me.submit(std::move(c)); });
    }
    static void on_cancel(void* self, std::uint64_t id) noexcept {
        store& me = at(self);
        if (me.calls_.cancel(id)) guard(nullptr, [&] { me.cancel(id); });
    }
    detail::call_table calls_;
};

}  // namespace holdfast::sdk
