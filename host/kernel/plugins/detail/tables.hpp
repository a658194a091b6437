#pragma once
// Tables from a plugin, completed: what it does not have (an older, shorter struct, or a null slot) is a stub that says so.
// Done once when an instance is bound, so that calls need no checks.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/abi/plugin.h"
#include "kernel/core/result.hpp"

namespace holdfast::plugins::detail {

/// A complete copy; second owner: none. nullptr with `why` when the table is unusable (size field).
std::unique_ptr<std::byte[]> complete_ext(std::string_view ext, const void* table, std::string& why);
result<hf_entry> complete_entry(const hf_entry* from);
result<hf_instance> complete_instance(const hf_instance* from);
/// The plugin-side interfaces this host knows.
const std::vector<std::string>& known_interfaces();

}  // namespace holdfast::plugins::detail
