#pragma once
// What the dynamic loader would do with a file: its exported symbols, the libraries it needs, the protections of its segments.
// For people and for the checks; the loader's own gate is kernel/plugins/verify.
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::authors {

struct elf_export {
    std::string name;
    bool unique = false;  ///< STB_GNU_UNIQUE: the library can never be unloaded
};

struct elf_report {
    bool readable = false;               ///< false: nothing else is filled in
    std::vector<elf_export> exports;     ///< defined, visible to others; sorted by name; at most max_exports
    bool exports_cut = false;            ///< there were more
    std::vector<std::string> libraries;  ///< DT_NEEDED
    std::vector<std::string> search_path;  ///< DT_RPATH and DT_RUNPATH, split at colons
    bool text_relocations = false;       ///< code that must be written to when it is loaded
    bool executable_stack = false;       ///< asks for it, or does not say that it needs none
    bool writable_code = false;          ///< a segment that is writable and executable
    bool relro = false;                  ///< relocated data becomes read-only
    bool static_tls = false;             ///< thread-local storage that dlopen may have no room for
};

inline constexpr std::size_t max_exports = 100'000;

/// Pure. Trusts nothing in the file: every offset is checked, every loop bounded. For a file of this machine (read_elf says so).
elf_report read_elf_report(std::string_view file);

}  // namespace holdfast::authors
