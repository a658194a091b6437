#pragma once
// `holdfast plugin new`: a small project that builds with one command, passes its checks and loads at once.
#include <string>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::authors {

/// One file of the SDK as it was built in. `path` as in plugin-sdk/: "templates/llm.cpp", "include/holdfast/c.h".
struct embedded_file {
    const char* path;
    const char* text;
};
const std::vector<embedded_file>& embedded_files();

struct project_request {
    std::string kind;     ///< llm, transport, ui, breaker, health, store
    std::string name;     ///< the plugin's id and the file's name
    std::string language = "c++";  ///< c++, c, rust
    std::string directory;         ///< "": ./<name>
    std::string program;           ///< path of holdfast, for the Makefile
};
inline constexpr const char* plugin_kinds[] = {"llm", "transport", "ui", "breaker", "health", "store"};
inline constexpr const char* plugin_languages[] = {"c++", "c", "rust"};

struct project_file {
    std::string path, text;
};
/// Pure. Errors: invalid_argument (an unknown kind or language, a name that cannot be a plugin's).
result<std::vector<project_file>> plan_project(const project_request& q);
/// The configuration that loads it: also in the project, as config.json.
json example_config(const project_request& q);

/// Writes it. Returns the directory. Errors: as above; already_exists (the directory is there and not empty), io_error.
result<std::string> write_project(const project_request& q);

}  // namespace holdfast::authors
