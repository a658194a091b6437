#pragma once
// A user interface (hf.ui/1) in C++. It reaches the host through host_.api() and host_.events() only; start() makes it
// visible, stop() gives terminal and ports back.
#include <string>

#include "holdfast/ext/ui.h"
#include "holdfast/plugin.hpp"

namespace holdfast::sdk {

class ui : public plugin {
  public:
    using plugin::plugin;

    virtual std::string describe() = 0;                            ///< [control & ready|active] {"url"?,"terminal","clients"}
    virtual std::string export_state() { return "{}"; }            ///< [control & active|quiescing]
    virtual void import_state(std::string_view /*state_json*/) {}  ///< [control & ready]

    const void* find_ext(std::string_view id) override {
        static constexpr hf_ui table{sizeof(hf_ui), 0, &on_describe, &on_export, &on_import};
        return id == HF_EXT_UI ? &table : nullptr;
    }

  private:
    static ui& at(void* self) { return static_cast<ui&>(*static_cast<plugin*>(self)); }
    static std::int32_t on_describe(void* self, hf_buf* out, hf_error* err) noexcept {
        return guard(err, [&] { give(out, at(self).describe()); });
    }
    static std::int32_t on_export(void* self, hf_buf* out, hf_error* err) noexcept {
        return guard(err, [&] { give(out, at(self).export_state()); });
    }
    static std::int32_t on_import(void* self, hf_bytes state, hf_error* err) noexcept {
        return guard(err, [&] { at(self).import_state(view(state)); });
    }
};

}  // namespace holdfast::sdk
