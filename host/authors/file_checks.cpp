#include "authors/file_checks.hpp"

#include <set>

#include "holdfast/abi/base.h"
#include "kernel/config/schema.hpp"

namespace holdfast::authors {
namespace {

using facts = plugin_file_facts;
const std::set<std::string> kinds{"llm", "transport", "ui", "breaker", "health", "store"};
const std::set<std::string> host_interfaces{"hf.api/1", "hf.config/1", "hf.events/1", "hf.listen/1", "hf.log/1",
                                            "hf.metrics/1", "hf.process/1", "hf.timer/1", "hf.worker/1"};

std::string is_a_shared_object(const facts& f) {
    return f.elf.is == plugins::elf_facts::verdict::ok ? "" : f.elf.detail + "; use the build for this machine";
}
std::string exports_a_manifest(const facts& f) {
    if (f.elf.has_manifest) return "";
    return f.elf.detail.empty() ? "it does not export hf_plugin_manifest" : f.elf.detail;
}
std::string manifest_is_valid(const facts& f) { return f.about ? "" : f.about.error().message; }
std::string speaks_this_abi(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    if (HF_ABI_VERSION >= f.about->abi_min && HF_ABI_VERSION <= f.about->abi_max) return "";
    return "it supports ABI " + std::to_string(f.about->abi_min) + " to " + std::to_string(f.about->abi_max) + ", this host speaks " + std::to_string(HF_ABI_VERSION);
}
std::string exports_an_entry(const facts& f) { return f.elf.has_entry ? "" : "it does not export the data symbol hf_plugin_entry_v1"; }
std::string kind_is_known(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    return kinds.count(f.about->kind) ? "" : "\"kind\" is '" + f.about->kind + "': known are llm, transport, ui, breaker, health, store";
}
std::string id_is_the_file_name(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    return f.about->id == f.file_id ? "" : "the file is called '" + f.file_id + "', its id is '" + f.about->id + "': \"use\" goes by the file, and the host refuses it then";
}
std::string interfaces_name_the_kind(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    const std::string main = "hf." + f.about->kind + "/1";
    return std::find(f.about->interfaces.begin(), f.about->interfaces.end(), main) != f.about->interfaces.end() ? "" : "\"interfaces\" does not name " + main;
}
std::string needs_are_known(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    for (const std::string& n : f.about->needs)
        if (!host_interfaces.count(n)) return "\"needs\" names " + n + ", which no host of this version has";
    return "";
}
std::string exports_the_two_symbols_only(const facts& f) {
    std::size_t others = 0;
    std::string some;
    for (const elf_export& e : f.report.exports) {
        if (e.name == plugins::manifest_symbol || e.name == plugins::entry_symbol) continue;
        if (++others <= 3) some += (some.empty() ? "" : ", ") + e.name;
    }
    if (others == 0) return "";
    return std::to_string(others) + " more are visible (" + some + (others > 3 ? ", …" : "") + "): compile with -fvisibility=hidden and link with the SDK's version script";
}
std::string symbols_are_not_unique(const facts& f) {
    for (const elf_export& e : f.report.exports)
        if (e.unique) return e.name + " is STB_GNU_UNIQUE: the library could never be unloaded; compile with -fno-gnu-unique";
    return "";
}
std::string has_no_text_relocations(const facts& f) {
    return f.report.text_relocations ? "its code must be written to when it is loaded: compile with -fPIC" : "";
}
std::string has_no_executable_stack(const facts& f) {
    return f.report.executable_stack ? "it makes the stack of the whole host executable: link with -Wl,-z,noexecstack" : "";
}
std::string has_no_writable_code(const facts& f) { return f.report.writable_code ? "a segment is writable and executable" : ""; }
std::string relocated_data_is_read_only(const facts& f) { return f.report.relro ? "" : "its tables stay writable after loading: link with -Wl,-z,relro"; }
std::string fits_into_a_running_process(const facts& f) {
    return f.report.static_tls ? "it uses static thread-local storage, for which a running process may have no room: compile without -ftls-model=initial-exec" : "";
}
std::string searches_fixed_directories_only(const facts& f) {
    for (const std::string& dir : f.report.search_path)
        if (!dir.starts_with('/') && !dir.starts_with("$ORIGIN"))
            return "libraries are searched in '" + dir + "', relative to wherever the host was started: link without that run path";
    return "";
}
/// A schema nobody can satisfy by mistake: it must be of type object, and what it says must be readable.
std::string settings_schema_is_usable(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    const json& schema = f.about->settings_schema;
    if (schema.is_null() || schema.is_boolean()) return "";
    if (string_or(schema, "type") != "object") return "\"settings\" must be a schema of \"type\": \"object\"";
    const json& properties = member(schema, "properties");
    if (!properties.is_null() && !properties.is_object()) return "\"properties\" is not an object";
    for (const auto& [name, one] : properties.items())
        if (!one.is_object() && !one.is_boolean()) return "the schema of '" + name + "' is not an object";
    const json& required = member(schema, "required");
    for (const json& name : required)
        if (!name.is_string() || !properties.contains(name.get<std::string>())) return "\"required\" names " + dump(name) + ", which is no property";
    return "";
}
std::string defaults_fit_their_schema(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    const json& properties = member(f.about->settings_schema, "properties");
    for (const auto& [name, one] : properties.items()) {
        if (!one.is_object() || !one.contains("default")) continue;
        const auto wrong = config::validate(one, one["default"], "/" + name);
        if (!wrong.empty()) return wrong.front().pointer + ": the default: " + wrong.front().message;
    }
    return "";
}
std::string checked_settings_fit_the_schema(const facts& f) {
    if (!f.about) return "the manifest cannot be read";
    if (f.about->settings_schema.is_null()) return "";
    json settings = member(f.about->check_case, "settings");
    if (settings.is_null()) settings = json::object();
    config::fill_defaults(f.about->settings_schema, settings);
    const auto wrong = config::validate(f.about->settings_schema, settings, "/settings");
    if (wrong.empty()) return "";
    return wrong.front().pointer + ": " + wrong.front().message + "; a plugin that cannot do without some setting gives an example in \"check\": {\"settings\": {…}}";
}

}  // namespace

const std::vector<file_check>& file_checks() {
    static const std::vector<file_check> all{
        {"file.is_a_shared_object", &is_a_shared_object, true},
        {"file.exports_a_manifest", &exports_a_manifest, true},
        {"file.manifest_is_valid", &manifest_is_valid, true},
        {"file.speaks_this_abi", &speaks_this_abi, true},
        {"file.exports_an_entry", &exports_an_entry, true},
        {"file.kind_is_known", &kind_is_known, true},
        {"file.id_is_the_file_name", &id_is_the_file_name, false},
        {"file.interfaces_name_the_kind", &interfaces_name_the_kind, false},
        {"file.needs_are_known", &needs_are_known, false},
        {"file.exports_the_two_symbols_only", &exports_the_two_symbols_only, false},
        {"file.symbols_are_not_unique", &symbols_are_not_unique, false},
        {"file.has_no_text_relocations", &has_no_text_relocations, false},
        {"file.has_no_executable_stack", &has_no_executable_stack, false},
        {"file.has_no_writable_code", &has_no_writable_code, false},
        {"file.relocated_data_is_read_only", &relocated_data_is_read_only, false},
        {"file.fits_into_a_running_process", &fits_into_a_running_process, false},
        {"file.searches_fixed_directories_only", &searches_fixed_directories_only, false},
        {"file.settings_schema_is_usable", &settings_schema_is_usable, false},
        {"file.defaults_fit_their_schema", &defaults_fit_their_schema, false},
        {"file.checked_settings_fit_the_schema", &checked_settings_fit_the_schema, false},
    };
    return all;
}

}  // namespace holdfast::authors
