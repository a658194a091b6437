#include "app/paths.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace holdfast::app {
namespace fs = std::filesystem;

std::string program_dir() {
    std::error_code ec;
    const fs::path self = fs::read_symlink("/proc/self/exe", ec);
    return ec ? "." : self.parent_path().string();
}

std::vector<std::string> builtin_plugin_directories() {
    const fs::path dir = program_dir();
    std::vector<std::string> out;
    for (const fs::path& candidate : {dir / "plugins", dir / ".." / HOLDFAST_LIBDIR / "holdfast" / "plugins"})
        if (std::error_code ec; fs::is_directory(candidate, ec)) out.push_back(fs::canonical(candidate, ec).string());
    return out;
}

std::string expand_home(const std::string& path) {
    if (path != "~" && path.rfind("~/", 0) != 0) return path;
    const char* home = std::getenv("HOME");
    return std::string(home && *home ? home : "/root") + path.substr(1);
}

std::string find_config(const std::string& given) {
    if (!given.empty()) return given;
    if (const char* env = std::getenv("HOLDFAST_CONFIG"); env && *env) return env;
    const fs::path installed = fs::path(program_dir()) / ".." / "etc" / "holdfast" / "holdfast.json";
    for (const fs::path& candidate : {fs::path("config/holdfast.json"), installed, fs::path("/etc/holdfast/holdfast.json")})
        if (std::error_code ec; fs::is_regular_file(candidate, ec)) return candidate.lexically_normal().string();
    return "";
}

result<std::string> data_directory(const std::string& configured, const std::string& base_dir) {
    const char* env = std::getenv("HOLDFAST_DATA_DIR");
    const fs::path path = (fs::path(base_dir) / expand_home(env && *env ? env : configured)).lexically_normal();
    std::error_code ec;
    fs::create_directories(path.parent_path(), ec);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return fail(errc::io_error, "the data directory " + path.string() + " cannot be made: " + std::strerror(errno) + "; set host.data_dir or HOLDFAST_DATA_DIR");
    struct stat st {};
    if (::stat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(errc::io_error, path.string() + " is not a directory: set host.data_dir or HOLDFAST_DATA_DIR");
    if (st.st_uid != ::geteuid())
        return fail(errc::config_invalid, "the data directory " + path.string() + " belongs to another user: choose one of your own with host.data_dir");
    if ((st.st_mode & 022) != 0)
        return fail(errc::config_invalid, "others can write to the data directory " + path.string() + ": run chmod 700 on it");
    return path.string();
}

void extend_path() {
    const char* path = std::getenv("PATH");
    ::setenv("PATH", (program_dir() + ":" + (path && *path ? path : "/usr/local/bin:/usr/bin:/bin")).c_str(), 1);
}

}  // namespace holdfast::app
