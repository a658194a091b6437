#include "authors/check.hpp"

#include <ctime>
#include <filesystem>
#include <map>

#include "authors/child_run.hpp"
#include "authors/file_checks.hpp"
#include "authors/isolated.hpp"
#include "holdfast/abi/base.h"
#include "kernel/core/nearest.hpp"

namespace holdfast::authors {
namespace {

namespace contract = testing::contract;
using verdict = check_result::verdict;

std::string today() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    char text[16];
    std::strftime(text, sizeof text, "%Y-%m-%d", &utc);
    return text;
}

bool wanted(const std::string& only, const std::string& name) {
    if (only.empty() || only == name) return true;
    const auto dot = name.find('.');
    return name.compare(0, dot, only) == 0 || name.substr(dot + 1) == only;
}

/// The child's side: the outcome as one line of JSON.
std::string outcome_text(const contract::outcome& o) { return dump(json{{"failures", o.failures}, {"skipped", o.skipped}}); }

check_result run_one(const contract::check& c, const contract::plugin_case& on, const std::string& where, const contract::target& make, milliseconds limit) {
    check_result r;
    r.name = c.full_name();
    r.target = where;
    const auto begin = std::chrono::steady_clock::now();
    const child_outcome child = run_in_child([&] { return outcome_text(contract::run_check(c, on, make)); }, limit);
    r.took = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
    const auto said = child.died.empty() ? parse_json(child.said) : result<json>(json());
    if (!child.died.empty()) {
        r.details.push_back(child.died);
    } else if (!said) {
        r.details.push_back("the child said something else than its outcome");
    } else {
        for (const json& f : member(*said, "failures")) r.details.push_back(f.get<std::string>());
        const std::string skipped = string_or(*said, "skipped");
        if (r.details.empty() && !skipped.empty()) {
            r.is = verdict::does_not_apply;
            r.details.push_back(skipped);
            return r;
        }
    }
    r.is = r.details.empty() ? verdict::passed : verdict::failed;
    if (r.is == verdict::failed && !child.words.empty()) r.details.push_back("it printed: " + child.words);
    return r;
}

contract::plugin_case make_case(const check_options& o, const std::string& path, std::string_view manifest) {
    contract::plugin_case c = contract::case_of(path, manifest);
    if (o.settings) c.settings = *o.settings;
    if (o.config) c.config = *o.config;
    if (o.unreachable) c.unreachable = *o.unreachable;
    if (o.persistent) c.persistent = true;
    if (o.no_answers) c.answers = false;
    if (o.no_start) c.starts = false;
    return c;
}

std::size_t count(const check_report& r, verdict v) {
    return static_cast<std::size_t>(std::count_if(r.results.begin(), r.results.end(), [&](const auto& c) { return c.is == v; }));
}

}  // namespace

check_target in_process() {
    return {"in-process", [](const plugin_file_facts&) -> result<contract::target> { return contract::in_this_process(); }};
}
check_target isolated(std::string runner) {
    return {"isolated", [runner = std::move(runner)](const plugin_file_facts& facts) { return in_a_process_of_its_own(facts, runner); }};
}

std::string_view to_string(verdict v) {
    switch (v) {
        case verdict::passed: return "passed";
        case verdict::failed: return "failed";
        case verdict::does_not_apply: return "does_not_apply";
        case verdict::not_run: return "not_run";
    }
    return "?";
}

bool check_report::passed() const {
    return std::none_of(results.begin(), results.end(), [](const auto& c) { return c.is == verdict::failed || c.is == verdict::not_run; });
}

std::vector<check_report::tally> check_report::tallies() const {
    std::vector<tally> out;
    for (const check_result& c : results)
        if (!c.target.empty() && std::none_of(out.begin(), out.end(), [&](const tally& t) { return t.target == c.target; })) out.push_back({c.target});
    if (out.empty()) out.push_back({"file"});
    for (tally& t : out)
        for (const check_result& c : results) {
            if ((!c.target.empty() && c.target != t.target) || c.is == verdict::does_not_apply) continue;
            ++t.of;
            t.passed += c.is == verdict::passed;
        }
    return out;
}

std::vector<std::string> check_report::differences() const {
    std::map<std::string, check_result::verdict> first;
    std::vector<std::string> out;
    for (const check_result& c : results)
        if (const auto [it, is_first] = first.emplace(c.name, c.is); !is_first && it->second != c.is) out.push_back(c.name);
    return out;
}

json check_report::to_json() const {
    json checks = json::array();
    for (const check_result& c : results) {
        json one{{"name", c.name}, {"verdict", to_string(c.is)}, {"ms", c.took.count()}};
        if (!c.target.empty()) one["target"] = c.target;
        if (!c.details.empty()) one["details"] = c.details;
        checks.push_back(std::move(one));
    }
    json targets = json::object();
    for (const tally& t : tallies()) targets[t.target] = {{"passed", t.passed}, {"of", t.of}};
    return {{"file", file}, {"sha256", sha256}, {"id", member(about, "id")}, {"kind", member(about, "kind")}, {"version", member(about, "version")},
            {"host_version", host_version}, {"host_abi", HF_ABI_VERSION}, {"date", date}, {"ok", passed()}, {"passed", count(*this, verdict::passed)},
            {"failed", count(*this, verdict::failed)}, {"does_not_apply", count(*this, verdict::does_not_apply)},
            {"not_run", count(*this, verdict::not_run)}, {"targets", std::move(targets)}, {"differences", differences()}, {"checks", std::move(checks)}};
}

std::string check_report::verdict() const {
    std::string out = "> **" + string_or(about, "id", std::filesystem::path(file).filename().string()) +
                      (about.contains("version") ? " " + string_or(about, "version") : "") + "** " + (passed() ? "passes" : "fails") +
                      " the checks of Holdfast " + host_version + " (ABI " + std::to_string(HF_ABI_VERSION) + "), " + date + "  \n> ";
    const char* comma = "";
    for (const tally& t : tallies()) out += std::exchange(comma, ", ") + t.target + ": " + std::to_string(t.passed) + " of " + std::to_string(t.of);
    return out + "  \n> sha256 `" + sha256 + "`\n";
}

result<check_report> check_plugin(const check_options& o, const std::function<void(const check_result&)>& on_result) {
    auto facts = read_plugin_file(o.file);
    if (!facts) return tl::unexpected<error>(facts.error());
    check_report report;
    report.file = o.file;
    report.sha256 = facts->sha256;
    report.host_version = o.host_version;
    report.date = today();
    if (facts->about) report.about = {{"id", facts->about->id}, {"kind", facts->about->kind}, {"version", facts->about->version}};
    const auto add = [&](check_result r) {
        report.results.push_back(std::move(r));
        on_result(report.results.back());
    };

    bool runnable = true, kind_known = false;
    std::vector<std::string> names;
    for (const file_check& c : file_checks()) {
        check_result r;
        r.name = c.name;
        names.push_back(r.name);
        const bool readable = facts->elf.is == plugins::elf_facts::verdict::ok || report.results.empty();
        const std::string why = c.judge(*facts);
        if (!why.empty()) r.details.push_back(why);
        if (c.fatal && !why.empty()) runnable = false;
        if (std::string_view(c.name) == "file.kind_is_known") kind_known = why.empty();
        if (!wanted(o.only, r.name)) continue;
        r.is = !readable ? verdict::not_run : why.empty() ? verdict::passed : verdict::failed;
        add(std::move(r));
    }
    if (kind_known) {
        const std::string path = std::filesystem::absolute(o.file).string();
        const contract::plugin_case on = make_case(o, path, facts->elf.manifest_text);
        const auto checks = contract::checks_for(facts->about->kind);
        for (const contract::check& c : checks) names.push_back(c.full_name());
        for (const check_target& where : o.targets) {
            auto make = runnable ? where.prepare(*facts) : contract::target();
            if (!make) return tl::unexpected<error>(make.error());
            for (const contract::check& c : checks) {
                if (!wanted(o.only, c.full_name())) continue;
                if (runnable) {
                    add(run_one(c, on, where.name, *make, o.limit));
                    continue;
                }
                check_result r;
                r.name = c.full_name();
                r.target = where.name;
                add(std::move(r));
            }
        }
    }
    if (report.results.empty()) {
        const std::string close = nearest(o.only, names);
        return fail(errc::invalid_argument, "there is no check called '" + o.only + "'" + (close.empty() ? "" : ": did you mean '" + close + "'?"));
    }
    return report;
}

}  // namespace holdfast::authors
