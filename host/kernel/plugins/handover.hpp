#pragma once
// What an incarnation of a plugin, or one UI, leaves to the next: hf_ui.export_state and import_state.
#include <string>

#include "holdfast/ext/ui.h"
#include "kernel/core/result.hpp"

namespace holdfast::plugins {

/// [control] Errors: plugin_failed with the plugin's words; unavailable when it has no export_state.
result<std::string> export_state(const hf_ui& ui, void* self);
/// [control & ready] A plugin without import_state starts afresh. Errors: plugin_failed.
result<void> import_state(const hf_ui& ui, void* self, const std::string& state);

}  // namespace holdfast::plugins
