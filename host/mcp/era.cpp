#include "mcp/era.hpp"

#include <algorithm>

namespace holdfast::mcp {

std::string_view to_string(era e) noexcept {
    switch (e) {
        case era::unknown: return "unknown";
        case era::modern: return "modern";
        case era::legacy: return "legacy";
    }
    return "unknown";
}

bool is_modern(std::string_view version) noexcept { return version == modern_version; }

bool is_legacy(std::string_view version) noexcept {
    return std::find(legacy_versions.begin(), legacy_versions.end(), version) != legacy_versions.end();
}

}  // namespace holdfast::mcp
