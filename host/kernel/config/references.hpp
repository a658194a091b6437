#pragma once
// ${env:NAME}, ${env:NAME:-default} and ${file:path} inside strings of the configuration.
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kernel/config/schema.hpp"

namespace holdfast::config {

/// Where references read from. Injected so that tests need no environment.
struct reference_sources {
    std::function<std::optional<std::string>(const std::string& name)> env;
    std::function<result<std::string>(const std::string& path)> file;  ///< content; relative paths already resolved
    static reference_sources real();
};

inline constexpr std::size_t max_reference_file = 64 * 1024;

/// Replaces references in every string of `value`, in place. `secrets` receives the pointers of strings that held one: they
/// are never shown. A file's trailing newline is dropped; relative paths are relative to `base_dir`. "$${" is a literal "${",
/// "${$}" a "$" that a reference may follow.
/// A missing variable or unreadable file is a violation and leaves the string as it was.
std::vector<violation> resolve_references(json& value, const std::string& base_dir, const reference_sources& sources,
                                          std::set<std::string>& secrets);

}  // namespace holdfast::config
