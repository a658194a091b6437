#include "kernel/config/document.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernel/core/nearest.hpp"

namespace holdfast::config {
namespace {

bool names_a_credential(std::string key) {
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* word : {"key", "token", "secret", "password", "authorization", "credential"})
        if (key.find(word) != std::string::npos) return true;
    return false;
}

void redact(json& v, const std::string& key) {
    if (v.is_object())
        for (auto& [k, child] : v.items()) redact(child, k);
    else if (v.is_array())
        for (json& child : v) redact(child, key);
    else if (v.is_string() && names_a_credential(key) && v.get_ref<const std::string&>().rfind("${", 0) != 0)
        v = "(hidden)";
}

/// Members of each top-level section in the order of the file (a json object sorts them).
std::map<std::string, std::vector<std::string>> file_order(const located_json& located) {
    std::map<std::string, std::vector<std::string>> out;
    if (!located.value.is_object()) return out;
    for (const auto& [section, value] : located.value.items()) {
        if (!value.is_object()) continue;
        std::vector<std::pair<std::pair<std::size_t, std::size_t>, std::string>> members;
        for (const auto& [name, child] : value.items()) {
            const place at = located.key_at("/" + pointer_token(section) + "/" + pointer_token(name));
            members.push_back({{at.line, at.column}, name});
        }
        std::sort(members.begin(), members.end());
        for (auto& [at, name] : members) out[section].push_back(std::move(name));
    }
    return out;
}

/// `use` of each plugin entry must be known; its settings must fit that plugin's own schema.
void check_plugins(const json& doc, const std::vector<plugin_schema>& plugins, std::vector<violation>& found) {
    std::vector<std::string> names;
    for (const plugin_schema& p : plugins) names.push_back(p.use);
    const json& entries = member(doc, "plugins");
    if (!entries.is_object()) return;
    for (const auto& [id, entry] : entries.items()) {
        const std::string use = string_or(entry, "use");
        if (use.empty()) continue;  // the schema has said so
        const std::string at = "/plugins/" + pointer_token(id);
        auto it = std::find_if(plugins.begin(), plugins.end(), [&](const plugin_schema& p) { return p.use == use; });
        if (it == plugins.end()) {
            if (use.find('/') != std::string::npos) continue;  // no plugin that can be read: whoever loads it says why
            const std::string close = nearest(use, names);
            std::string all;
            for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
            found.push_back({at + "/use", "no plugin '" + use + "' on the search path" + (close.empty() ? ": found are " + all : ": did you mean '" + close + "'?"), false});
            continue;
        }
        if (it->settings.is_null()) continue;
        const json empty = json::object();
        const json& settings = entry.contains("settings") ? entry["settings"] : empty;
        for (violation& v : validate(it->settings, settings, at + "/settings")) found.push_back(std::move(v));
    }
}

}  // namespace

json document::redacted() const {
    json out = written;
    redact(out, "");
    return out;
}

json compose_schema(const json& root_schema, const std::vector<plugin_schema>& plugins) {
    json schema = root_schema;
    if (!schema.contains("/properties/plugins/additionalProperties"_json_pointer)) return schema;
    json& entry = schema["properties"]["plugins"]["additionalProperties"];
    json names = json::array();
    for (const plugin_schema& p : plugins) {
        names.push_back(p.use);
        if (p.settings.is_null()) continue;
        entry["allOf"].push_back({{"if", {{"properties", {{"use", {{"const", p.use}}}}}, {"required", {"use"}}}},
                                  {"then", {{"properties", {{"settings", p.settings}}}}}});
    }
    if (!names.empty()) entry["properties"]["use"]["examples"] = names;  // a path is allowed as well
    return schema;
}

tl::expected<document, std::vector<problem>> load_text(std::string_view text, const std::string& path, const load_options& options) {
    auto located = parse_located(text, path);
    if (!located) return tl::unexpected<std::vector<problem>>({located.error()});

    document doc;
    doc.path = path;
    doc.base_dir = std::filesystem::absolute(path).parent_path().string();
    doc.written = located->value;
    doc.resolved = located->value;
    doc.order = file_order(*located);
    if (options.text_only) return doc;

    std::vector<violation> found = resolve_references(doc.resolved, doc.base_dir, options.sources, doc.secrets);
    for (violation& v : validate(options.root_schema, doc.resolved)) found.push_back(std::move(v));
    check_plugins(doc.resolved, options.plugins, found);
    fill_defaults(options.root_schema, doc.resolved);
    if (found.empty())
        for (const semantic_check& check : options.checks) check(doc.resolved, found);
    if (found.empty()) return doc;

    std::vector<problem> problems;
    for (const violation& v : found)
        problems.push_back({path, v.at_key ? located->key_at(v.pointer) : located->value_at(v.pointer), v.pointer.empty() ? "/" : v.pointer, v.message});
    std::stable_sort(problems.begin(), problems.end(), [](const problem& a, const problem& b) {
        return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
    });
    return tl::unexpected<std::vector<problem>>(std::move(problems));
}

tl::expected<document, std::vector<problem>> load_file(const std::string& path, const load_options& options) {
    auto unreadable = [&](const std::string& why) {
        return tl::unexpected<std::vector<problem>>({problem{path, {}, "", "the configuration cannot be read: " + why}});
    };
    struct stat st {};
    if (stat(path.c_str(), &st) != 0) return unreadable(std::string(std::strerror(errno)) + (errno == ENOENT ? "; name another with --config" : ""));
    if (S_ISDIR(st.st_mode)) return unreadable("it is a directory, expected a file");
    if (static_cast<std::size_t>(st.st_size) > max_config_bytes) return unreadable("it is larger than " + std::to_string(max_config_bytes) + " bytes");
    std::ifstream in(path, std::ios::binary);
    if (!in) return unreadable(std::strerror(errno));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return load_text(text, path, options);
}

}  // namespace holdfast::config
