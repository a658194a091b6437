#include "kernel/plugins/discovery.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "kernel/core/nearest.hpp"

namespace holdfast::plugins {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t max_files_per_directory = 4096;

std::string id_of(const std::string& file) {
    std::string id = file.substr(0, file.size() - 3);
    if (id.rfind("lib", 0) == 0) id.erase(0, 3);
    return id;
}

/// Files named *.so, sorted. A directory that is missing or unreadable has none.
std::vector<std::string> plugin_files(const std::string& directory) {
    std::vector<std::string> out;
    std::error_code ec;
    for (fs::directory_iterator it(directory, ec), end; !ec && it != end && out.size() < max_files_per_directory; it.increment(ec)) {
        std::string name = it->path().filename().string();
        std::error_code type_ec;
        if (name.size() > 3 && name.ends_with(".so") && !it->is_directory(type_ec)) out.push_back(std::move(name));
    }
    std::sort(out.begin(), out.end());
    return out;
}

}  // namespace

discovery::discovery(std::vector<std::string> directories, bool use_environment) {
    const char* value = use_environment ? std::getenv(plugin_path_variable) : nullptr;
    for (std::string_view rest = value ? value : ""; !rest.empty();) {
        const auto colon = rest.find(':');
        const auto part = rest.substr(0, colon);
        if (!part.empty()) directories_.emplace_back(part);
        rest = colon == std::string_view::npos ? std::string_view{} : rest.substr(colon + 1);
    }
    for (auto& d : directories)
        if (!d.empty() && std::find(directories_.begin(), directories_.end(), d) == directories_.end()) directories_.push_back(std::move(d));
}

result<std::string> discovery::find(const std::string& use, const std::string& base) const {
    if (use.empty()) return fail(errc::not_found, "no plugin is named: \"use\" is empty");
    if (use.find('/') != std::string::npos) {
        const std::string path = use.front() == '/' || base.empty() ? use : base + "/" + use;
        struct stat st {};
        if (stat(path.c_str(), &st) != 0) return fail(errc::not_found, "there is no plugin file " + path);
        return path;
    }
    std::string searched;
    std::vector<std::string> known;
    for (const auto& dir : directories_) {
        for (const std::string& name : {"lib" + use + ".so", use + ".so"}) {
            struct stat st {};
            if (stat((dir + "/" + name).c_str(), &st) == 0) return dir + "/" + name;
        }
        for (const auto& file : plugin_files(dir)) known.push_back(id_of(file));
        searched += (searched.empty() ? "" : ", ") + dir;
    }
    const std::string close = nearest(use, known);
    return fail(errc::not_found, "no plugin '" + use + "' in " + (searched.empty() ? "an empty search path" : searched) +
                                     (close.empty() ? "" : "; did you mean '" + close + "'?"));
}

std::vector<found_plugin> discovery::list() const {
    std::vector<found_plugin> out;
    std::set<std::string> seen;
    for (const auto& dir : directories_) {
        for (const auto& file : plugin_files(dir)) {
            found_plugin f;
            f.path = dir + "/" + file;
            f.file_id = id_of(file);
            auto facts = read_elf_file(f.path);
            if (!facts)
                f.problem = "check 'file' failed: " + facts.error().message;
            else if (facts->is != elf_facts::verdict::ok)
                f.problem = "check 'architecture' failed: " + facts->detail;
            else if (!facts->has_manifest)
                continue;  // a library that lies there, not a plugin
            else if (auto about = parse_manifest(facts->manifest_text); !about)
                f.problem = "check 'manifest' failed: " + about.error().message;
            else
                f.about = std::move(*about);
            f.shadowed = !seen.insert(f.file_id).second;
            out.push_back(std::move(f));
        }
    }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.file_id < b.file_id; });
    return out;
}

}  // namespace holdfast::plugins
