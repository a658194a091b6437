#include "kernel/config/references.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernel/config/located_json.hpp"

namespace holdfast::config {

reference_sources reference_sources::real() {
    reference_sources s;
    s.env = [](const std::string& name) -> std::optional<std::string> {
        const char* v = std::getenv(name.c_str());
        return v ? std::optional<std::string>(v) : std::nullopt;
    };
    s.file = [](const std::string& path) -> result<std::string> {
        struct stat st {};
        if (stat(path.c_str(), &st) != 0) return fail(errc::io_error, std::strerror(errno));
        if (!S_ISREG(st.st_mode)) return fail(errc::io_error, "it is not a regular file");
        if (static_cast<std::size_t>(st.st_size) > max_reference_file)
            return fail(errc::io_error, "it is larger than " + std::to_string(max_reference_file) + " bytes");
        std::ifstream in(path, std::ios::binary);
        if (!in) return fail(errc::io_error, std::strerror(errno));
        return std::string(std::istreambuf_iterator<char>(in), {});
    };
    return s;
}

namespace {

struct walker {
    const std::string& base_dir;
    const reference_sources& sources;
    std::set<std::string>& secrets;
    std::vector<violation> found;

    void walk(json& v, const std::string& at) {
        if (v.is_object()) {
            for (auto& [key, child] : v.items()) walk(child, at + "/" + pointer_token(key));
        } else if (v.is_array()) {
            for (std::size_t i = 0; i < v.size(); ++i) walk(v[i], at + "/" + std::to_string(i));
        } else if (v.is_string()) {
            std::string& s = v.get_ref<std::string&>();
            if (s.find("${") != std::string::npos) expand(s, at);
        }
    }

    void expand(std::string& s, const std::string& at) {
        std::string out;
        bool replaced = false;
        for (std::size_t i = 0; i < s.size();) {
            if (s.compare(i, 3, "$${") == 0) {
                out += "${";
                i += 3;
                continue;
            }
            if (s.compare(i, 2, "${") != 0) {
                out += s[i++];
                continue;
            }
            const std::size_t close = s.find('}', i);
            if (close == std::string::npos) return add(at, "expected '}' to end the reference that begins with \"" + s.substr(i, 20) + "\"");
            const std::string body = s.substr(i + 2, close - i - 2);
            std::string value;
            if (!lookup(body, at, value)) return;
            out += value;
            replaced = true;
            i = close + 1;
        }
        s = std::move(out);
        if (replaced) secrets.insert(at);
    }

    bool lookup(const std::string& body, const std::string& at, std::string& out) {
        if (body.rfind("env:", 0) == 0) {
            const std::size_t fallback = body.find(":-");
            const std::string name = body.substr(4, fallback == std::string::npos ? fallback : fallback - 4);
            auto v = sources.env(name);
            if (!v && fallback != std::string::npos) v = body.substr(fallback + 2);
            if (!v) return add(at, "the environment variable " + name + " is not set: export it, or write ${env:" + name + ":-} for an empty default"), false;
            out = *v;
            return true;
        }
        if (body == "$") {
            out = body;
            return true;
        }
        if (body.rfind("file:", 0) == 0) {
            std::filesystem::path path = body.substr(5);
            if (path.is_relative()) path = std::filesystem::path(base_dir) / path;
            auto content = sources.file(path.string());
            if (!content) return add(at, "the file " + path.string() + " cannot be read: " + content.error().message), false;
            out = std::move(*content);
            while (!out.empty() && (out.back() == '\n' || out.back() == '\r')) out.pop_back();
            return true;
        }
        return add(at, "unknown reference ${" + body + "}: expected ${env:NAME} or ${file:path}; write $${ for a literal ${"), false;
    }

    void add(const std::string& at, std::string message) { found.push_back({at, std::move(message), false}); }
};

}  // namespace

std::vector<violation> resolve_references(json& value, const std::string& base_dir, const reference_sources& sources,
                                          std::set<std::string>& secrets) {
    walker w{base_dir, sources, secrets, {}};
    w.walk(value, "");
    return std::move(w.found);
}

}  // namespace holdfast::config
