#pragma once
// The JSON Schema of the whole configuration file, and the rules that a schema cannot express.
#include "kernel/config/document.hpp"
#include "kernel/plugins/discovery.hpp"

namespace holdfast::app {

/// Without the plugins' own settings (those come from their manifests, see config::compose_schema).
const json& root_schema();

/// The configuration that is used when no file is found: config/holdfast.json of this version.
const std::string& embedded_config();

/// Every plugin that would be started passes the loader's checks. Entries that stand in `accepted` just so are left out.
config::semantic_check plugin_file_rule(plugins::discovery finder, std::string base_dir, json accepted);

/// Puts the plugins that the file names by a path beside those that the directories hold, under that path as their name.
/// What cannot be read is left out: whoever loads it says why.
void add_plugins_by_path(const json& written, const plugins::discovery& finder, const std::string& base_dir, std::vector<plugins::found_plugin>& found);

/// Root schema, semantic rules, and the settings schemas of every plugin that `found` lists.
config::load_options load_options_for(const std::vector<plugins::found_plugin>& found);

/// Directories searched for plugins: host.plugin_path of the file (relative to it), then beside the program.
std::vector<std::string> plugin_directories(const json& written, const std::string& base_dir);

}  // namespace holdfast::app
