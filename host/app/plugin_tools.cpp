#include "app/plugin_tools.hpp"

#include <iostream>

#include "app/command_line.hpp"
#include "app/paths.hpp"
#include "app/print.hpp"
#include "authors/check.hpp"
#include "authors/inspect.hpp"
#include "authors/scaffold.hpp"

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

void print_check(const authors::check_result& r) {
    using verdict = authors::check_result::verdict;
    const char* const mark = r.is == verdict::passed ? "ok     " : r.is == verdict::failed ? "FAILED " : r.is == verdict::not_run ? "not run" : "-      ";
    std::cout << mark << " " << r.name << (r.target.empty() || r.target == "in-process" ? "" : ", " + r.target);
    if (r.took >= seconds(1)) std::cout << "  (" << human_duration(r.took.count()) << ")";
    if (r.is == verdict::does_not_apply) std::cout << "  " << printable(r.details.front());
    std::cout << std::endl;  // progress: seen at once
    if (r.is != verdict::failed) return;
    for (const std::string& d : r.details) std::cout << "          " << printable(d) << "\n";
}

}  // namespace

int check_plugin_command(const common_options& o, const plugin_check_options& c) {
    authors::check_options wanted;
    const auto file = authors::find_plugin_file(c.file, builtin_plugin_directories());
    if (!file) return explain(file.error());
    wanted.file = *file;
    wanted.only = c.only;
    for (const auto& [text, to] : {std::pair{&c.settings, &wanted.settings}, std::pair{&c.config, &wanted.config}, std::pair{&c.unreachable, &wanted.unreachable}})
        if (!text->empty()) *to = *text;
    wanted.persistent = c.persistent, wanted.no_answers = c.no_answers, wanted.no_start = c.no_start;
    wanted.limit = seconds(c.timeout_s);
    if (c.isolation != "process") wanted.targets.push_back(authors::in_process());
    if (c.isolation != "in-process") wanted.targets.push_back(authors::isolated());
    wanted.host_version = HOLDFAST_VERSION;
    const auto report = authors::check_plugin(wanted, [&o](const authors::check_result& r) {
        if (!o.as_json) print_check(r);
    });
    if (!report) return explain(report.error());
    if (o.as_json) std::cout << dump(report->to_json()) << "\n";
    else {
        for (const std::string& name : report->differences()) std::cout << "not the same in-process and isolated: " << name << "\n";
        std::cout << "\n" << report->verdict();
    }
    return report->passed() ? exit_ok : exit_failed;
}

int new_plugin_command(const common_options& o, const plugin_new_options& n) {
    const authors::project_request wanted{n.kind, n.name, n.language, n.directory, o.program};
    const auto dir = authors::write_project(wanted);
    if (!dir) return explain(dir.error());
    const json config = authors::example_config(wanted);
    if (o.as_json) {
        json files = json::array();
        for (const auto& f : *authors::plan_project(wanted)) files.push_back(f.path);
        std::cout << dump({{"dir", *dir}, {"files", files}, {"config", config}}) << "\n";
        return exit_ok;
    }
    std::cout << "made " << *dir << "/: " << (n.language == "rust" ? "lib.rs" : n.language == "c" ? "plugin.c" : "plugin.cpp") << " and what it needs\n\n"
              << "  make -C " << *dir << "          builds " << n.name << ".so\n"
              << "  make -C " << *dir << " check    tests it\n"
              << "  make -C " << *dir << " run      a host with it; its configuration, " << *dir << "/config.json:\n\n"
              << config.dump(2) << "\n";
    return exit_ok;
}

int inspect_command(const common_options& o, const std::string& use) {
    const auto r = authors::inspect(use, builtin_plugin_directories());
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else print_inspection(*r);
    return (*r)["problems"].empty() ? exit_ok : exit_failed;
}

}  // namespace holdfast::app
