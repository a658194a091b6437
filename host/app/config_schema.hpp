#pragma once
// The JSON Schema of the whole configuration file, and the rules that a schema cannot express.
#include "kernel/config/document.hpp"
#include "kernel/plugins/discovery.hpp"

namespace holdfast::app {

/// Without the plugins' own settings (those come from their manifests, see config::compose_schema).
const json& root_schema();

/// The configuration that is used when no file is found: config/holdfast.json of this version.
const std::string& embedded_config();

/// Every plugin that would be started passes the loader's checks.
config::semantic_check plugin_file_rule(plugins::discovery finder, std::string base_dir);

/// Root schema, semantic rules, and the settings schemas of every plugin that `found` lists.
config::load_options load_options_for(const std::vector<plugins::found_plugin>& found);

/// Directories searched for plugins: host.plugin_path of the file (relative to it), then beside the program.
std::vector<std::string> plugin_directories(const json& written, const std::string& base_dir);

}  // namespace holdfast::app
