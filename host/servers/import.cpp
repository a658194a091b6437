#include "servers/import.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "servers/server_set.hpp"

namespace holdfast::servers {
namespace {

constexpr std::size_t max_name = 64;

/// Comments and trailing commas become blanks: places stay what they are.
std::string without_comments(std::string_view text) {
    std::string out(text);
    if (out.rfind("\xEF\xBB\xBF", 0) == 0) out.erase(0, 3);
    constexpr std::size_t none = std::string::npos;
    std::size_t comma = none;  // the last one, while only blanks have followed it
    for (std::size_t i = 0; i < out.size(); ++i) {
        const char c = out[i];
        if (c == '"') {
            for (++i; i < out.size() && out[i] != '"'; ++i)
                if (out[i] == '\\') ++i;
            comma = none;
        } else if (c == '/' && i + 1 < out.size() && (out[i + 1] == '/' || out[i + 1] == '*')) {
            const bool line = out[i + 1] == '/';
            const std::size_t found = out.find(line ? "\n" : "*/", i + 2);
            if (found == none && !line) return out;  // the parser says where
            const std::size_t end = found == none ? out.size() : found + (line ? 0 : 2);
            for (std::size_t k = i; k < end; ++k)
                if (out[k] != '\n' && out[k] != '\r') out[k] = ' ';
            i = end - 1;
        } else if (c == ',') {
            comma = i;
        } else if (c == '}' || c == ']') {
            if (comma != none) out[comma] = ' ';
            comma = none;
        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            comma = none;
        }
    }
    return out;
}

bool is_variable_name(std::string_view s) {
    if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
    return std::all_of(s.begin(), s.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

std::string input_variable(const std::string& id) {
    std::string out = "HOLDFAST_INPUT_";
    for (unsigned char c : id) out += std::isalnum(c) ? static_cast<char>(std::toupper(c)) : '_';
    return out;
}

struct source {
    const char* format;
    const json* servers;
    std::string pointer;
    const json* inputs;
};

struct importer {
    const import_place& place;
    import_result& out;
    const config::located_json& located;
    const json& inputs;
    std::filesystem::path workspace;
    std::string at;  ///< pointer of the server in hand
    bool good = true;

    void wrong(const std::string& pointer, std::string message) {
        good = false;
        out.problems.push_back({place.file, located.value_at(pointer), pointer, std::move(message)});
    }

    std::optional<std::string> variable(const std::string& body, const std::string& pointer) {
        if (body.rfind("env:", 0) == 0 || body.rfind("file:", 0) == 0) return "${" + body + "}";
        if (body == "workspaceFolder" || body == "workspaceRoot") return workspace.string();
        if (body == "workspaceFolderBasename") return workspace.filename().string();
        if (body == "userHome") return place.home;
        if (body == "pathSeparator" || body == "/") return "/";
        if (body.rfind("input:", 0) == 0) {
            const std::string id = body.substr(6);
            for (const json& input : inputs.is_array() ? inputs : json::array())
                if (string_or(input, "id") == id) {
                    const json& fallback = member(input, "default");
                    return "${env:" + input_variable(id) + (fallback.is_string() ? ":-" + fallback.get<std::string>() : "") + "}";
                }
            return wrong(pointer, "there is no input '" + id + "' in this file: describe it under \"inputs\""), std::nullopt;
        }
        const auto fallback = body.find(":-");
        if (is_variable_name(body.substr(0, fallback))) return "${env:" + body + "}";
        return wrong(pointer, "unknown variable ${" + body + "}: expected ${NAME}, ${NAME:-default}, ${env:NAME}, ${input:id}, "
                              "${workspaceFolder} or ${userHome}"), std::nullopt;
    }

    /// "$" before a reference would make it a literal.
    static void keep_dollars(std::string& text) {
        std::size_t n = 0;
        while (!text.empty() && text.back() == '$') text.pop_back(), ++n;
        while (n-- > 0) text += "${$}";
    }

    std::string translated(const std::string& s, const std::string& pointer) {
        std::string text;
        for (std::size_t i = 0; i < s.size();) {
            const std::size_t close = s.compare(i, 2, "${") == 0 ? s.find('}', i) : std::string::npos;
            if (close == std::string::npos) {
                if (s.compare(i, 2, "${") == 0) {
                    text += "$${";  // no variable: as it stands
                    i += 2;
                } else {
                    text += s[i++];
                }
                continue;
            }
            if (auto v = variable(s.substr(i + 2, close - i - 2), pointer)) {
                if (v->rfind("${", 0) == 0) keep_dollars(text);
                text += *v;
            }
            i = close + 1;
        }
        return text;
    }

    json translated(const json& v, const std::string& pointer) {
        if (v.is_string()) return translated(v.get<std::string>(), pointer);
        if (v.is_number() || v.is_boolean()) return dump(v);  // a port in "env", a number in "args"
        if (v.is_array()) {
            json list = json::array();
            for (std::size_t i = 0; i < v.size(); ++i) list.push_back(translated(v[i], pointer + "/" + std::to_string(i)));
            return list;
        }
        if (v.is_object()) {
            json object = json::object();
            for (const auto& [key, child] : v.items())
                if (!child.is_null()) object[key] = translated(child, pointer + "/" + config::pointer_token(key));
            return object;
        }
        return v;
    }

    /// NAME=value lines, as dotenv files have them.
    void add_env_file(json& entry, const json& name) {
        const std::string pointer = at + "/envFile";
        if (!name.is_string()) return wrong(pointer, "expected the path of a file");
        if (const json& env = member(entry, "env"); !env.is_null() && !env.is_object())
            return wrong(at + "/env", "expected an object: a variable's name → its value");
        json path = translated(name, pointer);
        std::set<std::string> secrets;
        for (const auto& v : config::resolve_references(path, workspace.string(), place.sources, secrets)) return wrong(pointer, v.message);
        const std::string file = (workspace / path.get<std::string>()).string();
        auto text = place.sources.file(file);
        if (!text) return wrong(pointer, "the file " + file + " cannot be read: " + text.error().message + "; make it, or take \"envFile\" out");
        std::size_t begin = 0;
        while (begin < text->size()) {
            const std::size_t end = std::min(text->find('\n', begin), text->size());
            std::string line = text->substr(begin, end - begin);
            begin = end + 1;
            if (!line.empty() && line.back() == '\r') line.pop_back();
            if (line.rfind("export ", 0) == 0) line.erase(0, 7);
            const auto equals = line.find('=');
            if (line.empty() || line[0] == '#' || equals == std::string::npos || !is_variable_name(line.substr(0, equals))) continue;
            std::string value = line.substr(equals + 1);
            if (value.size() >= 2 && (value[0] == '"' || value[0] == '\'') && value.back() == value[0]) value = value.substr(1, value.size() - 2);
            for (std::size_t i = value.find("${"); i != std::string::npos; i = value.find("${", i + 3)) value.insert(i, "$");
            if (!entry["env"].contains(line.substr(0, equals))) entry["env"][line.substr(0, equals)] = value;
        }
    }

    /// Whatever an entry holds costs itself alone.
    void read(const std::string& name, const json& given) {
        try {
            read_entry(name, given);
        } catch (const std::exception& e) {
            wrong(at, std::string("it cannot be read: ") + e.what());
        }
        if (!good) out.left_out.push_back(name);
    }

    void read_entry(const std::string& name, const json& given) {
        good = true;
        if (!given.is_object()) return wrong(at, "expected an object with \"command\" or \"url\"");
        imported_server s;
        s.name = name;
        s.at = located.key_at(at);
        json& e = s.entry = json::object();
        for (const auto& [key, value] : given.items()) {
            const std::string pointer = at + "/" + config::pointer_token(key);
            if (key == "command" || key == "args" || key == "env" || key == "cwd" || key == "url" || key == "headers") e[key] = translated(value, pointer);
            else if (key == "serverUrl" || key == "httpUrl") e["url"] = translated(value, pointer);  // Windsurf, Gemini CLI
            else if (key == "type" || key == "transport") e["type"] = value;
            else if (key == "disabled" || key == "enabled") e[key] = value;
            else if (key == "envFile") continue;
            else s.ignored.push_back(key);
        }
        if (given.contains("envFile")) add_env_file(e, given["envFile"]);
        const json& type = member(e, "type");
        if (!type.is_null()) {
            static const std::set<std::string> known{"stdio", "http", "sse", "ws", "websocket", "streamable-http", "streamableHttp", "streamable_http"};
            if (!type.is_string() || !known.count(type.get<std::string>()))
                wrong(at + "/type", "unknown type " + dump(type) + ": expected stdio, http, sse or ws");
            else if (type == "ws")
                e["type"] = "websocket";
        }
        for (const char* key : {"disabled", "enabled"})
            if (e.contains(key) && !e[key].is_boolean()) wrong(at + "/" + key, "expected true or false");
        if (!e.contains("command") && !e.contains("url")) wrong(at, "expected \"command\" (a program to start) or \"url\" (a server on the network)");
        // Where the program the file was written for would start it.
        if (e.contains("command") && !e.contains("cwd") && in_project()) e["cwd"] = workspace.string();
        if (good) out.servers.push_back(std::move(s));
    }

    bool in_project() const {
        const std::filesystem::path file(place.file);
        const auto folder = file.parent_path().filename();
        return folder == ".vscode" || folder == ".cursor" || file.filename() == ".mcp.json";
    }
};

std::filesystem::path workspace_of(const std::string& file) {
    const auto folder = std::filesystem::path(file).parent_path();
    return folder.filename() == ".vscode" || folder.filename() == ".cursor" ? folder.parent_path() : folder;
}

/// Names under mcpServers have an alphabet; other programs allow any text.
std::string fitting_name(const std::string& given) {
    std::string out;
    for (unsigned char c : given) out += std::isalnum(c) || c == '_' || c == '-' || c == '.' ? static_cast<char>(c) : '-';
    if (out.empty() || !std::isalnum(static_cast<unsigned char>(out[0]))) out.insert(0, "s");
    return out.substr(0, max_name);
}

std::optional<source> find_source(const json& root) {
    static const json none;
    const json& in_settings = member(root, "mcp");
    if (root.contains("mcpServers")) return source{"Claude Desktop, Claude Code or Cursor", &root["mcpServers"], "/mcpServers", &none};
    if (root.contains("servers")) return source{"VS Code", &root["servers"], "/servers", &member(root, "inputs")};
    if (in_settings.is_object() && in_settings.contains("servers"))
        return source{"VS Code settings", &in_settings["servers"], "/mcp/servers", &member(in_settings, "inputs")};
    if (root.contains("context_servers")) return source{"Zed", &root["context_servers"], "/context_servers", &none};
    return {};
}

}  // namespace

json import_result::to_json() const {
    json list = json::array(), wrong = json::array();
    for (const auto& s : servers) {
        json row{{"name", s.name}, {"transport", string_or(s.entry, "type", s.entry.contains("url") ? "http" : "stdio")}, {"ignored", s.ignored}};
        for (const char* key : {"command", "args", "url"})
            if (s.entry.contains(key)) row[key] = s.entry[key];
        list.push_back(std::move(row));
    }
    for (const auto& p : problems) wrong.push_back(p.to_json());
    return {{"format", format}, {"servers", std::move(list)}, {"problems", std::move(wrong)}};
}

import_result import_servers(std::string_view text, const import_place& place) {
    import_result out;
    out.whole = false;
    const auto whole = [&](config::place at, std::string message) { out.problems.push_back({place.file, at, "", std::move(message)}); };
    if (text.size() > max_import_bytes) {
        whole({}, "it is larger than " + std::to_string(max_import_bytes) + " bytes");
        return out;
    }
    auto located = config::parse_located(without_comments(text), place.file);
    if (!located) {
        out.problems.push_back(located.error());
        return out;
    }
    json root = located->value;
    if (!root.is_object()) {
        whole({}, "expected an object with \"mcpServers\" (Claude, Cursor) or \"servers\" (VS Code)");
        return out;
    }
    auto from = find_source(root);
    const json nothing;
    if (!from && (root.contains("command") || root.contains("url"))) {
        out.format = "one server";
        out.whole = true;
        importer one{place, out, *located, nothing, workspace_of(place.file), "", true};
        one.read(fitting_name(std::filesystem::path(place.file).stem().string()), root);
        return out;
    }
    if (!from) {
        whole({}, "no MCP servers in it: expected \"mcpServers\" (Claude, Cursor) or \"servers\" (VS Code) at the top");
        return out;
    }
    out.format = from->format;
    if (!from->servers->is_object()) {
        out.problems.push_back({place.file, located->value_at(from->pointer), from->pointer, "expected an object: a server's name → its settings"});
        return out;
    }
    out.whole = true;
    importer reader{place, out, *located, *from->inputs, workspace_of(place.file), "", true};
    std::set<std::string> taken;
    for (const auto& [name, entry] : from->servers->items()) {
        reader.at = from->pointer + "/" + config::pointer_token(name);
        const std::string fitting = fitting_name(name);
        if (!taken.insert(fitting).second)
            reader.wrong(reader.at, "two servers of this file are called '" + fitting + "' here: rename one");
        else
            reader.read(fitting, entry);
    }
    return out;
}

void resolve_imported(import_result& imported, const import_place& place) {
    std::vector<imported_server> good;
    for (auto& s : imported.servers) try {
        std::set<std::string> secrets;
        auto wrong = config::resolve_references(s.entry, workspace_of(place.file).string(), place.sources, secrets);
        if (!wrong.empty()) imported.left_out.push_back(s.name);
        for (auto& v : wrong) {
            if (v.message.find("HOLDFAST_INPUT_") != std::string::npos) v.message += " (VS Code would ask for it)";
            imported.problems.push_back({place.file, s.at, "/" + config::pointer_token(s.name) + v.pointer, std::move(v.message)});
        }
        if (!wrong.empty()) continue;
        if (auto ok = server_set::check(s.name, s.entry); !ok) {
            imported.left_out.push_back(s.name);
            imported.problems.push_back({place.file, s.at, "/" + config::pointer_token(s.name), ok.error().message});
        } else {
            good.push_back(std::move(s));
        }
    } catch (const std::exception& e) {
        imported.left_out.push_back(s.name);
        imported.problems.push_back({place.file, s.at, "/" + config::pointer_token(s.name), std::string("it cannot be used: ") + e.what()});
    }
    imported.servers = std::move(good);
}

}  // namespace holdfast::servers
