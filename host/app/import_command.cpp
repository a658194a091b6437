// `holdfast server import`: a file of another program, shown or handed to the running host.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "app/command_line.hpp"
#include "app/commands.hpp"
#include "app/print.hpp"
#include "app/server_files.hpp"

namespace holdfast::app {
namespace {

void print_import(const json& r, bool done) {
    for (const json& s : member(r, "servers")) {
        std::string what = string_or(s, "url", string_or(s, "command"));
        for (const json& a : member(s, "args")) what += " " + (a.is_string() ? a.get<std::string>() : dump(a));
        std::cout << (done ? "imported " : "") << printable(string_or(s, "name")) << ": " << printable(what);
        std::string ignored;
        for (const json& key : member(s, "ignored")) ignored += (ignored.empty() ? "" : ", ") + key.get<std::string>();
        if (!ignored.empty()) std::cout << " (passed over: " << printable(ignored) << ")";
        std::cout << "\n";
    }
    for (const json& p : member(r, "problems")) {
        const std::string at = string_or(p, "pointer");
        std::cerr << printable(string_or(p, "file")) << ":" << int_or(p, "line", 1) << ":" << int_or(p, "column", 1) << ": " << printable(at.empty() ? "" : at + ": ") << printable(string_or(p, "message")) << "\n";
    }
}

}  // namespace

int show_import(const common_options& o, const std::string& file) {
    servers::import_place place;
    auto read = read_server_file(file, place);
    if (!read) return explain({read.error().code, file + ": " + read.error().message});
    json shown = read->to_json();  // before values of the environment stand in it
    servers::resolve_imported(*read, place);
    shown["problems"] = read->to_json()["problems"];
    if (o.as_json) std::cout << dump(shown) << "\n";
    else print_import(shown, false);
    return read->problems.empty() ? exit_ok : exit_config;
}

int import_command(const common_options& o, const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return explain({errc::invalid_argument, file + ": it cannot be read: " + std::strerror(errno)});
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    int code = exit_ok;
    auto host = connect_or_explain(o, code);
    if (!host) return code;
    auto r = host->call("server.import", {{"file", std::filesystem::absolute(file).string()}, {"text", text}}, seconds(120));
    if (!r) return explain(r.error());
    if (o.as_json) std::cout << dump(*r) << "\n";
    else print_import(*r, true);
    return member(*r, "problems").empty() ? exit_ok : exit_config;
}

}  // namespace holdfast::app
