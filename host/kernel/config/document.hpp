#pragma once
// One configuration file from text to a checked document. Nothing of a file with a problem is used.
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "kernel/config/located_json.hpp"
#include "kernel/config/references.hpp"
#include "kernel/config/schema.hpp"

namespace holdfast::config {

inline constexpr std::size_t max_config_bytes = 4u << 20;

/// What a plugin's manifest adds to the schema: entries of "plugins" with this `use` have settings of this shape.
struct plugin_schema {
    std::string use;
    std::string kind;
    json settings;  ///< JSON Schema, or null: any object
};

struct document {
    std::string path;
    std::string base_dir;           ///< of relative paths in it
    json written;                   ///< as in the file, references unresolved
    json resolved;                  ///< references replaced, defaults filled in. Holds secrets: never show it
    std::set<std::string> secrets;  ///< pointers of strings that held a reference
    std::map<std::string, std::vector<std::string>> order;  ///< section → its members as the file lists them
    /// For people and the API: references as written, and every value that looks like a credential hidden.
    json redacted() const;
};

/// A rule that a schema cannot express. Adds violations (pointers into the document).
using semantic_check = std::function<void(const json& resolved, std::vector<violation>& found)>;

struct load_options {
    json root_schema = json::object();       ///< of the whole file, without plugin settings
    std::vector<plugin_schema> plugins;      ///< every plugin that can be found
    std::vector<semantic_check> checks;
    reference_sources sources = reference_sources::real();
    bool text_only = false;  ///< syntax and places only: `resolved` is as written
};

/// The schema of the whole file: root_schema, with "use" of a plugin limited to those known and "settings" per `use`.
json compose_schema(const json& root_schema, const std::vector<plugin_schema>& plugins);

/// Errors: all problems found (at least one): unreadable file, syntax, schema, references, semantic rules.
tl::expected<document, std::vector<problem>> load_file(const std::string& path, const load_options& options);
tl::expected<document, std::vector<problem>> load_text(std::string_view text, const std::string& path, const load_options& options);

}  // namespace holdfast::config
