#include "app/plugin_tools.hpp"

#include <iostream>

#include "app/command_line.hpp"
#include "app/paths.hpp"
#include "app/print.hpp"
#include "authors/inspect.hpp"

namespace holdfast::app {
namespace {

constexpr std::size_t most_shown = 12;  // of a list: --json has all

std::string listed(const json& strings, const char* none) {
    std::string out;
    for (std::size_t i = 0; i < strings.size() && i < most_shown; ++i) out += (i ? ", " : "") + strings[i].get<std::string>();
    if (strings.size() > most_shown) out += " and " + std::to_string(strings.size() - most_shown) + " more";
    return out.empty() ? none : printable(out);
}

void print_inspection(const json& r) {
    const auto line = [](const char* name, const std::string& text) { std::cout << name << std::string(13 - std::strlen(name), ' ') << text << "\n"; };
    line("file", printable(string_or(r, "file")) + "  (" + std::to_string(int_or(r, "bytes", 0)) + " bytes)");
    line("sha256", string_or(r, "sha256"));
    if (r.contains("id")) {
        line("plugin", printable(string_or(r, "id") + " " + string_or(r, "version")) + "  (" + printable(string_or(r, "kind")) + ")");
        if (const auto text = string_or(r, "description"); !text.empty()) line("", printable(text));
        line("ABI", dump(r["abi"][0]) + " to " + dump(r["abi"][1]) + ", this host speaks " + dump(r["host_abi"]));
        line("interfaces", listed(r["interfaces"], "it does not say"));
        line("needs", listed(r["needs"], "it does not say"));
        const json& properties = member(member(r, "settings"), "properties");
        std::string names;
        for (const auto& [key, value] : properties.items()) names += (names.empty() ? "" : ", ") + key;
        line("settings", properties.is_object() && !names.empty() ? printable(names) : member(r, "settings").is_null() ? "any" : "none");
    }
    line("exports", bool_or(r, "exports_only_the_two", false) ? "the two symbols and nothing else" : listed(r["exports"], "nothing"));
    line("libraries", listed(r["libraries"], "none"));
    for (const json& p : r["problems"]) line("problem", printable(p.get<std::string>()));
}

}  // namespace

int inspect_command(const common_options& o, const std::string& use) {
    const auto r = authors::inspect(use, builtin_plugin_directories());
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else print_inspection(*r);
    return (*r)["problems"].empty() ? exit_ok : exit_failed;
}

}  // namespace holdfast::app
