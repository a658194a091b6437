#pragma once
// What changed between two documents: the unit of a live change. Only what is named here is touched.
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::config {

struct change {
    enum class kind { added, removed, changed };
    kind what;
    std::string section;  ///< "plugins", "mcpServers", "llm" …
    std::string name;     ///< the entry of a keyed section; empty for the section as a whole
    std::string to_string() const;  ///< "changed mcpServers/files"
};

/// `keyed`: sections whose members are units of their own. Order: by section, then name.
std::vector<change> difference(const json& before, const json& after, const std::vector<std::string>& keyed);

}  // namespace holdfast::config
