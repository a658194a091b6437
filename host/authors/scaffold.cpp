#include "authors/scaffold.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace holdfast::authors {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view placeholder = "my-plugin";
constexpr std::size_t max_name = 64;

std::string embedded(const std::string& path) {
    for (const embedded_file& f : embedded_files())
        if (path == f.path) return f.text;
    return {};
}
std::string replaced(std::string text, std::string_view what, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) text.replace(at, what.size(), by);
    return text;
}
template <std::size_t N>
bool one_of(const std::string& word, const char* const (&words)[N]) {
    return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

constexpr const char* makefile_head = R"make(# make         builds my-plugin.so
# make check   tests it against the contract of its kind, each check in a process of its own
# make run     a host with it: see config.json
HOLDFAST ?= @HOLDFAST@

)make";
constexpr const char* makefile_tail = R"make(
check: my-plugin.so
	$(HOLDFAST) plugin check ./my-plugin.so
run: my-plugin.so
	$(HOLDFAST) --config config.json run
clean:
	rm -f my-plugin.so
.PHONY: check run clean
)make";
// -fno-gnu-unique is GCC's: without it, inline statics would keep the library loaded for ever.
constexpr const char* makefile_cpp = R"make(CXX ?= c++
CXXFLAGS ?= -O2 -g
UNIQUE := $(shell $(CXX) -Werror -fno-gnu-unique -x c++ -fsyntax-only /dev/null 2>/dev/null && echo -fno-gnu-unique)

my-plugin.so: plugin.cpp plugin.map
	$(CXX) -std=c++20 $(CXXFLAGS) -Wall -Wextra -Iinclude -fPIC -shared -fvisibility=hidden -fvisibility-inlines-hidden $(UNIQUE) \
	    -Wl,-z,defs,-z,relro,--exclude-libs,ALL,--version-script=plugin.map -o $@ plugin.cpp $(LDFLAGS) $(LDLIBS)
)make";
constexpr const char* makefile_c = R"make(CC ?= cc
CFLAGS ?= -O2 -g

my-plugin.so: plugin.c plugin.map
	$(CC) -std=c11 $(CFLAGS) -Wall -Wextra -Iinclude -fPIC -shared -fvisibility=hidden \
	    -Wl,-z,defs,-z,relro,--version-script=plugin.map -o $@ plugin.c $(LDFLAGS) $(LDLIBS)
)make";
constexpr const char* makefile_rust = R"make(RUSTC ?= rustc
RUSTFLAGS ?= -O -g

my-plugin.so: lib.rs holdfast.rs
	$(RUSTC) --edition 2021 --crate-type cdylib $(RUSTFLAGS) -o $@ lib.rs
)make";
constexpr const char* readme = R"md(# my-plugin

A @KIND@ plugin for Holdfast in @LANGUAGE@.

    make            # my-plugin.so
    make check      # the checks of its kind; prints a verdict for this file
    make run        # a host with it: config.json

@SOURCES@
)md";

}  // namespace

json example_config(const project_request& q) {
    json c{{"host", {{"data_dir", "data"}, {"plugin_path", {"."}}}}};
    if (q.kind == "llm") {
        c["plugins"] = {{q.name, {{"use", q.name}}}};
        c["llm"] = {{"default", q.name}};
    } else {
        c["plugins"] = {{"demo", {{"use", "llm-demo"}}}};
    }
    const json server{{"command", "holdfast-demo-server"}, {"args", {"--root", "."}}};
    if (q.kind == "ui") c["plugins"][q.name] = {{"use", q.name}};
    if (q.kind == "transport") {
        c["mcpServers"] = {{"demo", server}};
        c["mcpServers"]["demo"]["transport"] = q.name;
    }
    if (q.kind == "breaker") c["breaker"] = {{"use", q.name}, {"failure_threshold", 5}, {"recovery_timeout_s", 30}};
    if (q.kind == "health") c["health"] = {{"use", q.name}, {"interval_s", 30}};
    if (q.kind == "breaker" || q.kind == "health") c["mcpServers"] = {{"demo", server}};
    if (q.kind == "store") c["store"] = {{"use", q.name}};
    return c;
}

result<std::vector<project_file>> plan_project(const project_request& q) {
    if (!one_of(q.kind, plugin_kinds)) return fail(errc::invalid_argument, "there is no kind '" + q.kind + "': llm, transport, ui, breaker, health or store");
    if (!one_of(q.language, plugin_languages)) return fail(errc::invalid_argument, "there is no template in '" + q.language + "': c++, c or rust");
    const bool letters = std::all_of(q.name.begin(), q.name.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; });
    if (q.name.empty() || q.name.size() > max_name || !letters || !std::isalpha(static_cast<unsigned char>(q.name[0])) || q.name.starts_with("lib"))
        return fail(errc::invalid_argument, "'" + q.name + "' cannot be a plugin's name: letters, digits, '-' and '_', a letter first and not \"lib\", at most 64");

    std::vector<project_file> out;
    const auto add = [&](std::string path, std::string text) {
        text = replaced(std::move(text), placeholder, q.name);
        text = replaced(std::move(text), "@HOLDFAST@", q.program.empty() ? "holdfast" : q.program);
        text = replaced(std::move(text), "@KIND@", q.kind);
        text = replaced(std::move(text), "@LANGUAGE@", q.language == "c++" ? "C++" : q.language == "c" ? "C" : "Rust");
        out.push_back({std::move(path), std::move(text)});
    };
    const bool rust = q.language == "rust", c = q.language == "c";
    const std::string source = rust ? "lib.rs" : c ? "plugin.c" : "plugin.cpp";
    add(source, embedded("templates/" + q.kind + (rust ? ".rs" : c ? ".c" : ".cpp")));
    add("Makefile", std::string(makefile_head) + (rust ? makefile_rust : c ? makefile_c : makefile_cpp) + makefile_tail);
    add("config.json", example_config(q).dump(2) + "\n");
    add("README.md", replaced(readme, "@SOURCES@", rust ? "`holdfast.rs` is the ABI, copied from the SDK." : "`include/` is the SDK, copied: C headers are the contract."));
    add(".gitignore", "*.so\ndata/\n");
    if (rust) {
        out.push_back({"holdfast.rs", embedded("rust/holdfast.rs")});
        return out;
    }
    out.push_back({"plugin.map", embedded("cmake/holdfast_plugin.map")});
    for (const embedded_file& f : embedded_files()) {
        const std::string path = f.path;
        const bool wanted = c ? path.ends_with(".h") : !path.ends_with("/c.h");
        if (path.starts_with("include/") && wanted) out.push_back({path, f.text});
    }
    return out;
}

result<std::string> write_project(const project_request& q) {
    const auto files = plan_project(q);
    if (!files) return tl::unexpected<error>(files.error());
    const fs::path dir = q.directory.empty() ? fs::path(q.name) : fs::path(q.directory);
    std::error_code ec;
    if (fs::exists(dir, ec) && !(fs::is_directory(dir, ec) && fs::is_empty(dir, ec)))
        return fail(errc::already_exists, dir.string() + " is there already: choose another --dir");
    for (const project_file& f : *files) {
        const fs::path to = dir / f.path;
        fs::create_directories(to.parent_path(), ec);
        std::ofstream out(to, std::ios::binary);
        out << f.text;
        out.close();
        if (!out) return fail(errc::io_error, to.string() + " cannot be written: " + std::strerror(errno));
    }
    return dir.string();
}

}  // namespace holdfast::authors
