#include "app/server_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "app/paths.hpp"

namespace holdfast::app {
namespace {
namespace fs = std::filesystem;

constexpr std::size_t max_folder_files = 1'000;

std::string absolute_path(const std::string& written, const std::string& base_dir) {
    return (fs::path(base_dir) / expand_home(written)).lexically_normal().string();
}

void add_file(const std::string& path, json& servers, server_files& out) {
    servers::import_place place;
    auto read = read_server_file(path, place);
    if (!read) {
        out.problems.push_back({path, {}, "", read.error().message});
        return;
    }
    servers::resolve_imported(*read, place);
    for (auto& p : read->problems) out.problems.push_back(std::move(p));
    for (auto& s : read->servers) {
        if (servers.contains(s.name)) {
            const json& first = member(out.origins, s.name);
            // The configuration's own entry is meant to win; of two files neither is known to be.
            if (first.is_string())
                out.problems.push_back({path, s.at, "/" + config::pointer_token(s.name), "a server '" + s.name + "' is imported from " + first.get<std::string>() + " already: rename one of them"});
            continue;
        }
        servers[s.name] = std::move(s.entry);
        out.origins[s.name] = path;
    }
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

server_files add_server_files(config::document& doc) {
    server_files out;
    json& servers = doc.resolved["mcpServers"];
    for (const json& name : member(doc.resolved, "import")) {
        const std::string path = absolute_path(name.get<std::string>(), doc.base_dir);
        out.watched.push_back(path);
        add_file(path, servers, out);
    }
    if (const std::string dir = string_or(doc.resolved, "servers_dir"); !dir.empty()) {
        const std::string folder = absolute_path(dir, doc.base_dir);
        out.watched.push_back(folder.back() == '/' ? folder : folder + "/");
        std::vector<std::string> files;
        std::error_code ec;
        for (const auto& e : fs::directory_iterator(folder, ec))
            if (e.path().extension() == ".json" && files.size() < max_folder_files) files.push_back(e.path().string());
        if (ec) out.problems.push_back({folder, {}, "", "the folder cannot be read: " + ec.message() + "; make it, or take \"servers_dir\" out"});
        std::sort(files.begin(), files.end());
        for (const std::string& f : files) add_file(f, servers, out);
    }
    return out;
}

}  // namespace holdfast::app
