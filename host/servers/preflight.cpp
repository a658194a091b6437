#include "servers/preflight.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace holdfast::servers {
namespace {
namespace fs = std::filesystem;

constexpr const char* default_host = "127.0.0.1";

bool runs(const fs::path& file) {
    std::error_code ec;
    return fs::is_regular_file(file, ec) && ::access(file.c_str(), X_OK) == 0;
}

/// As the spawner looks it up: a path as it is, a name in PATH of the server's own "env", else of the host.
result<void> find_command(const std::string& command, const std::string& path, const fs::path& dir) {
    if (command.find('/') != std::string::npos) {
        const fs::path file = fs::path(command).is_absolute() ? fs::path(command) : dir / command;
        std::error_code ec;
        if (runs(file)) return {};
        if (fs::exists(file, ec)) return fail(errc::forbidden, "'" + file.string() + "' is no program that can be started: chmod +x it, or start it by its interpreter");
        return fail(errc::command_not_found, "there is no program '" + file.string() + "': correct \"command\"");
    }
    std::size_t begin = 0;
    while (begin <= path.size()) {
        const std::size_t end = std::min(path.find(':', begin), path.size());
        if (end > begin && runs(fs::path(path.substr(begin, end - begin)) / command)) return {};
        begin = end + 1;
    }
    return fail(errc::command_not_found, "there is no program '" + command + "' in PATH (" + path + "): install it, or give its full path as \"command\"");
}

}  // namespace

result<json> with_preset(const json& server) {
    const json& preset = member(server, "preset");
    if (preset.is_null()) return server;
    const std::string name = preset.is_string() ? preset.get<std::string>() : "";
    json out = server;
    for (const char* key : {"preset", "host", "port", "path"}) out.erase(key);
    if (name == "stdio") {
        if (string_or(server, "command").empty()) return fail(errc::config_invalid, "preset \"stdio\" needs \"command\", the program to start");
        out["transport"] = "stdio";
        return out;
    }
    if (name != "tcp" && name != "websocket" && name != "http")
        return fail(errc::config_invalid, "there is no preset " + dump(preset) + ": expected stdio, tcp, websocket or http");
    if (out.contains("url")) return fail(errc::config_invalid, "\"url\" must not stand beside preset \"" + name + "\", which makes it of host, port and path");
    const std::int64_t port = int_or(server, "port", 0);
    if (port < 1 || port > 65535) return fail(errc::config_invalid, "preset \"" + name + "\" needs \"port\", a number from 1 to 65535");
    const std::string host = string_or(server, "host", default_host), path = string_or(server, "path", "/mcp");
    if (path.empty() || path[0] != '/') return fail(errc::config_invalid, "\"path\" must begin with '/'");
    const std::string scheme = name == "tcp" ? "tcp" : name == "websocket" ? "ws" : "http";
    out["url"] = scheme + "://" + (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port) + (name == "tcp" ? "" : path);
    return out;
}

result<void> preflight(const server_spec& spec) {
    const json& c = spec.connection;
    const std::string cwd = string_or(c, "cwd");
    std::error_code ec;
    if (!cwd.empty() && !fs::is_directory(cwd, ec))
        return fail(errc::not_found, "the directory '" + cwd + "' that \"cwd\" names " + (fs::exists(cwd, ec) ? "is none" : "does not exist") + ": make it, or correct \"cwd\"");
    if (spec.transport == "stdio") {
        const char* path = std::getenv("PATH");
        return find_command(string_or(c, "command"), string_or(member(c, "env"), "PATH", path ? path : ""), cwd.empty() ? fs::current_path(ec) : fs::path(cwd));
    }
    if (const std::string url = string_or(c, "url"); !url.empty()) {
        const auto begin = url.find("://");
        const std::string rest = begin == std::string::npos ? "" : url.substr(begin + 3);
        const bool local = url.rfind("unix:", 0) == 0;
        if (!local && (rest.empty() || rest[0] == '/' || rest[0] == ':')) return fail(errc::invalid_argument, "the address '" + url + "' names no host: expected something like http://host:port/path");
        const std::string authority = rest.substr(0, rest.find_first_of("/?#"));
        const auto colon = authority.find(':', authority.rfind(']') == std::string::npos ? 0 : authority.rfind(']'));
        if (!local && colon != std::string::npos && authority.find('@') == std::string::npos) {
            const std::string port = authority.substr(colon + 1);
            const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
            if (!digits || std::stoi(port) < 1 || std::stoi(port) > 65535) return fail(errc::invalid_argument, "the address '" + url + "' has no valid port: a number from 1 to 65535");
        }
    }
    return {};
}

}  // namespace holdfast::servers
