#pragma once
// What a plugin says of itself, read from its file before any of its code runs.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::plugins {

inline constexpr std::size_t max_plugin_file_bytes = 1u << 30;
inline constexpr std::size_t max_manifest_bytes = 256u << 10;
inline constexpr const char* manifest_symbol = "hf_plugin_manifest";
inline constexpr const char* entry_symbol = "hf_plugin_entry_v1";

struct manifest {
    std::string id;       ///< the name that "use" refers to: "llm-demo"
    std::string kind;     ///< llm transport ui breaker health store bus …
    std::string version;
    std::string description;
    std::uint32_t abi_min = 0, abi_max = 0;
    std::vector<std::string> interfaces;  ///< "hf.llm/1" …; empty when it does not say
    std::vector<std::string> needs;       ///< host interfaces it cannot do without: "hf.worker/1" …; empty when it does not say
    bool exclusive = false;               ///< "reload": two of it must never be active at once (a terminal, a file); else a new version overlaps the old one
    json check_case;                      ///< "check": what `plugin check` gives it to work with; may be null
    json settings_schema;                 ///< JSON Schema of "settings"; null = none given, any object will do
    json rules_schema;                    ///< of a policy: JSON Schema of what stands beside "use" in "breaker" or "health"; may be null
    json to_json() const;                 ///< {id, kind, version, description, abi, interfaces, settings}
};

/// Errors: invalid_argument naming the member that is missing or of the wrong type.
result<manifest> parse_manifest(std::string_view text);

/// What one bounds-checked walk over an ELF file finds. Nothing in the file is trusted: every offset is checked.
struct elf_facts {
    enum class verdict : std::uint8_t { ok, not_elf, other_architecture, malformed } is = verdict::not_elf;
    std::string detail;            ///< one sentence when not ok
    bool has_entry = false;        ///< hf_plugin_entry_v1 is a defined data symbol inside a loaded segment
    bool has_manifest = false;
    std::string manifest_text;     ///< without the NUL
};
/// Pure: the file's bytes in, facts out. Accepts what this host could load: ELF64 (or 32), same endianness, same machine, ET_DYN.
elf_facts read_elf(std::string_view file);

/// Maps the file and reads it. Errors: not_found, io_error (not a regular file, unreadable, too large).
result<elf_facts> read_elf_file(const std::string& path);

}  // namespace holdfast::plugins
