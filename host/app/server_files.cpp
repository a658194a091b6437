#include "app/server_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "app/paths.hpp"

namespace holdfast::app {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t max_folder_files = 1'000;

std::string absolute_path(const std::string& written, const std::string& base_dir) {
    return (fs::path(base_dir) / expand_home(written)).lexically_normal().string();
}

constexpr const char* stays = "; what it gave before stays";

/// The entries that a file gives: as it is now, and where that has a problem, as it last was without.
json entries_of(const std::string& path, const json& before, server_files& out, std::map<std::string, config::place>& places) {
    servers::import_place place;
    auto read = read_server_file(path, place);
    std::error_code ec;
    const bool known = before.is_object() && !before.empty() && fs::exists(path, ec);  // one that was removed was meant to be
    if (!read) {
        out.problems.push_back({path, {}, "", read.error().message + (known ? stays : "")});
        return known ? before : json::object();
    }
    servers::resolve_imported(*read, place);
    if (!read->whole) {
        for (auto& p : read->problems) {
            if (known) p.message += stays;
            out.problems.push_back(std::move(p));
        }
        return known ? before : json::object();
    }
    for (auto& p : read->problems) out.problems.push_back(std::move(p));
    json entries = json::object();
    for (auto& s : read->servers) {
        places[s.name] = s.at;
        entries[s.name] = std::move(s.entry);
    }
    for (const std::string& name : read->left_out)
        if (known && before.contains(name) && !entries.contains(name)) entries[name] = before[name];
    return entries;
}

void add_entries(const std::string& path, json entries, const std::map<std::string, config::place>& places, json& servers, server_files& out) {
    for (const auto& [name, entry] : entries.items()) {
        if (servers.contains(name)) {
            const json& first = member(out.origins, name);
            // The configuration's own entry is meant to win; of two files neither is known to be.
            const auto at = places.find(name);
            if (first.is_string())
                out.problems.push_back({path, at == places.end() ? config::place{} : at->second, "/" + config::pointer_token(name), "a server '" + name + "' is imported from " + first.get<std::string>() + " already: rename one of them"});
            continue;
        }
        servers[name] = entry;
        out.origins[name] = path;
    }
    out.good[path] = std::move(entries);
}

void add_file(const std::string& path, const server_files& before, json& servers, server_files& out) {
    std::map<std::string, config::place> places;
    json entries = entries_of(path, member(before.good, path), out, places);
    add_entries(path, std::move(entries), places, servers, out);
}

}  // namespace

result<servers::import_result> read_server_file(const std::string& path, servers::import_place& place) {
    place.file = fs::absolute(path).lexically_normal().string();
    place.home = expand_home("~");
    place.sources = config::reference_sources::real();
    std::error_code ec;
    const auto size = fs::file_size(path, ec);
    std::ifstream in(path, std::ios::binary);
    if (ec || !in) return fail(errc::io_error, "it cannot be read: " + (ec ? ec.message() : std::string(std::strerror(errno))));
    if (size > servers::max_import_bytes) return fail(errc::io_error, "it is larger than " + std::to_string(servers::max_import_bytes) + " bytes");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return servers::import_servers(text, place);
}

server_files add_server_files(config::document& doc, const server_files& before) {
    server_files out;
    json& servers = doc.resolved["mcpServers"];
    for (const json& name : member(doc.resolved, "import")) {
        const std::string path = absolute_path(name.get<std::string>(), doc.base_dir);
        out.watched.push_back(path);
        add_file(path, before, servers, out);
    }
    if (const std::string dir = string_or(doc.resolved, "servers_dir"); !dir.empty()) {
        const std::string folder = absolute_path(dir, doc.base_dir);
        out.watched.push_back(folder.back() == '/' ? folder : folder + "/");
        std::vector<std::string> files;
        std::error_code ec;
        for (const auto& e : fs::directory_iterator(folder, ec))
            if (e.path().extension() == ".json" && files.size() < max_folder_files) files.push_back(e.path().string());
        if (ec) {
            out.problems.push_back({folder, {}, "", "the folder cannot be read: " + ec.message() + "; make it, or take \"servers_dir\" out"});
            for (const auto& [file, entries] : before.good.items())
                if (ec != std::errc::no_such_file_or_directory && fs::path(file).parent_path() == fs::path(folder) && !out.good.contains(file)) add_entries(file, entries, {}, servers, out);
        }
        std::sort(files.begin(), files.end());
        for (const std::string& f : files) add_file(f, before, servers, out);
    }
    return out;
}

}  // namespace holdfast::app
