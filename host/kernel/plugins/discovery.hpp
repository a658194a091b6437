#pragma once
// From the name after "use" to a file.
#include <string>
#include <vector>

#include "kernel/plugins/manifest.hpp"

namespace holdfast::plugins {

inline constexpr const char* plugin_path_variable = "HOLDFAST_PLUGIN_PATH";  ///< colon separated, searched first

struct found_plugin {
    std::string path;
    std::string file_id;    ///< from the file name: "libllm-demo.so" and "llm-demo.so" → "llm-demo"
    manifest about;         ///< valid when problem is empty
    std::string problem;    ///< why it could not be read: "check 'architecture' failed: …"
    bool shadowed = false;  ///< an earlier directory has the same id
};

/// [any thread] Reads directories when asked; remembers nothing.
class discovery {
  public:
    /// directories: in order. The environment's HOLDFAST_PLUGIN_PATH is put before them unless use_environment is false.
    explicit discovery(std::vector<std::string> directories, bool use_environment = true);
    const std::vector<std::string>& directories() const noexcept { return directories_; }

    /// A name ("llm-demo") or a path (with a slash; relative to `base`, empty: the working directory). Errors: not_found with the directories searched and the
    /// nearest known name. The file is not judged here: verify() does that.
    result<std::string> find(const std::string& use, const std::string& base = {}) const;
    /// Every plugin file in the directories, sorted by id; unreadable ones with their problem.
    std::vector<found_plugin> list() const;

  private:
    std::vector<std::string> directories_;
};

}  // namespace holdfast::plugins
