// The manifest reader against arbitrary files: what the host does with every file in its plugin directories before it trusts any.
// An hour of it: tests/fuzz/manifest.sh BUILD_DIR 3600
#include <cstddef>
#include <cstdint>

#include "authors/elf_report.hpp"
#include "kernel/plugins/manifest.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view file(reinterpret_cast<const char*>(data), size);
    const auto facts = holdfast::plugins::read_elf(file);
    if (facts.has_manifest) (void)holdfast::plugins::parse_manifest(facts.manifest_text);
    (void)holdfast::authors::read_elf_report(file);
    (void)holdfast::plugins::parse_manifest(file);  // most inputs never get past the ELF header
    return 0;
}
