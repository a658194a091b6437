#pragma once
// Where things are: this program, its plugins, the configuration, the data directory.
#include <string>
#include <vector>

#include "kernel/core/result.hpp"

namespace holdfast::app {

std::string program_dir();                            ///< directory of this executable
std::vector<std::string> builtin_plugin_directories();  ///< build tree and installed layout, those that exist
std::string expand_home(const std::string& path);     ///< "~/x" → $HOME/x

/// The file that --config means: as given, else config/holdfast.json here, else the installed one; "" = the embedded defaults.
std::string find_config(const std::string& given);

/// host.data_dir of a configuration made absolute (relative to base_dir), created with mode 0700. HOLDFAST_DATA_DIR wins.
/// Errors: io_error, config_invalid (it belongs to somebody else or others can write to it).
result<std::string> data_directory(const std::string& configured, const std::string& base_dir);

/// Puts the program's own directory first in PATH, so that the bundled server is found.
void extend_path();

}  // namespace holdfast::app
