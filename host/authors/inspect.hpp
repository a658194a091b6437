#pragma once
// `holdfast plugin inspect`: everything that can be known about a plugin file without running any of its code.
#include <string>

#include "authors/elf_report.hpp"
#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"
#include "kernel/plugins/manifest.hpp"

namespace holdfast::authors {

/// One file, read once: what inspect prints and what the file checks judge.
struct plugin_file_facts {
    std::string path, file_id;  ///< file_id: the name that "use" would need: "llm-demo" for llm-demo.so and libllm-demo.so
    std::uint64_t bytes = 0;
    std::string sha256;
    plugins::elf_facts elf;
    elf_report report;
    result<plugins::manifest> about = fail(errc::invalid_argument, "it has no manifest");
};

inline constexpr std::uint64_t max_inspected_bytes = 512u << 20;

/// Errors: not_found, io_error (not a regular file, unreadable, too large).
result<plugin_file_facts> read_plugin_file(const std::string& path);

/// {file, bytes, sha256, manifest…, exports, libraries, problems}: problems are sentences, empty when the host would load it.
json describe(const plugin_file_facts& f);

/// `use`: a path, or the name of an installed plugin as in the configuration. `directories`: where those are searched.
/// Errors as above; not_found names the directories searched and the nearest name.
result<json> inspect(const std::string& use, const std::vector<std::string>& directories);
/// The file that `use` means: as it stands when it is a path or a file here, else by the search path.
result<std::string> find_plugin_file(const std::string& use, const std::vector<std::string>& directories);

}  // namespace holdfast::authors
