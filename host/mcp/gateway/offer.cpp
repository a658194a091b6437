#include "mcp/gateway/offer.hpp"

#include <algorithm>

#include "mcp/gateway/text.hpp"
#include "mcp/gateway/uri_template.hpp"

namespace holdfast::mcp::gateway {
namespace {

constexpr int list_ttl_ms = 10'000;       // clients that listen hear of changes at once; the others look again after this
constexpr int discover_ttl_ms = 3'600'000;
constexpr std::size_t max_cursor_bytes = 4'096;
constexpr std::size_t max_header_depth = 16;
constexpr std::size_t max_owned = 20'000;  // names of one server that are kept for it; one that has had more keeps those that it offers
constexpr std::string_view separator = "__";
constexpr std::string_view cursor_head = "after:";

constexpr const char* list_keys[] = {"tools", "prompts", "resources", "resourceTemplates"};

std::string lower(std::string s) {
    for (char& c : s)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return s;
}

void find_headers(const json& schema, std::vector<std::string>& path, std::vector<param_header>& out) {
    if (path.size() > max_header_depth) return;
    for (const auto& [name, child] : member(schema, "properties").items()) {
        path.push_back(name);
        if (const auto& header = member(child, "x-mcp-header"); header.is_string()) out.push_back({lower(header.get<std::string>()), path});
        find_headers(child, path, out);
        path.pop_back();
    }
}

const visibility& seen_of(const offer_rules& rules, const std::string& server) {
    static const visibility everything;
    const visibility* found = &everything;
    for (const auto& [pattern, v] : rules.servers)
        if (glob(pattern, server)) found = &v;
    return *found;
}

}  // namespace

bool glob(std::string_view pattern, std::string_view text) {
    std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
    while (t < text.size()) {
        if (p < pattern.size() && (pattern[p] == '?' || (pattern[p] == text[t] && pattern[p] != '*'))) {
            ++p, ++t;
        } else if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            mark = t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

patterns::patterns(const json& list) : all_(!list.is_array()) {
    if (all_) return;
    for (const json& p : list) {
        if (!p.is_string()) continue;
        std::string text = p.get<std::string>();
        const bool out = !text.empty() && text.front() == '!';
        if (out) text.erase(0, 1);
        // A list that begins by leaving something out means "everything but".
        if (rules_.empty() && out) rules_.emplace_back(true, "*");
        rules_.emplace_back(!out, std::move(text));
    }
}

bool patterns::admit(std::string_view name) const {
    if (all_) return true;
    for (auto it = rules_.rbegin(); it != rules_.rend(); ++it)
        if (glob(it->second, name)) return it->first;
    return false;
}

const json& server_capabilities() {
    static const json all{{"tools", {{"listChanged", true}}}, {"prompts", {{"listChanged", true}}},
                          {"resources", {{"subscribe", true}, {"listChanged", true}}}, {"logging", json::object()}, {"completions", json::object()}};
    return all;
}

std::shared_ptr<const offer> offer::make(const offer_source& from, const offer_rules& rules, const offer* before) {
    auto out = std::make_shared<offer>();
    out->rules_ = rules;
    for (std::size_t k = 0; before && k < list_kinds; ++k) {
        std::map<std::string_view, std::size_t> names;  // of each server that is still there
        for (const auto& server : from.servers) names.emplace(server, 0);
        for (const auto& [name, server] : before->owners_[k])
            if (const auto n = names.find(server); n != names.end()) ++n->second;
        for (const auto& [name, server] : before->owners_[k])
            if (const auto n = names.find(server); n != names.end() && n->second <= max_owned) out->owners_[k].emplace(name, server);
    }
    out->add_tools(from, rules);
    out->add_labelled(list_kind::prompts, from.prompts, rules);
    out->add_labelled(list_kind::resources, from.resources, rules);
    out->add_labelled(list_kind::templates, from.templates, rules);
    out->finish();
    return out;
}

bool offer::claim(list_kind kind, const std::string& name, const std::string& server) {
    const auto [owner, fresh] = owners_[static_cast<std::size_t>(kind)].emplace(name, server);
    if (fresh || owner->second == server) return true;
    collisions_.push_back({kind, name, owner->second, server});
    return false;
}

void offer::add_tools(const offer_source& from, const offer_rules& rules) {
    auto sorted = from.tools;
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return std::tie(*a.server, *a.name) < std::tie(*b.server, *b.name); });
    for (const auto& t : sorted) {
        const visibility& seen = seen_of(rules, *t.server);
        if (!seen.expose || !seen.tools.admit(*t.name)) continue;
        const std::string name = rules.prefix ? *t.server + std::string(separator) + *t.name : *t.name;
        if (!rules.role.tools.admit(name) || !claim(list_kind::tools, name, *t.server)) continue;
        entry e{*t.server, *t.name, t.held, {}};
        std::vector<std::string> path;
        find_headers(member(*t.definition, "inputSchema"), path, e.headers);
        tools_.emplace(name, std::move(e));
        if (t.held) continue;
        json shown = *t.definition;
        shown["name"] = name;
        item made{name, dump(shown), {}};
        // A legacy client takes the whole list for broken if one tool's results are other than objects.
        if (const json& output = member(shown, "outputSchema"); output.is_object() && string_or(output, "type") != "object") {
            shown.erase("outputSchema");
            made.legacy_text = dump(shown);
        }
        lists_[static_cast<std::size_t>(list_kind::tools)].items.push_back(std::move(made));
    }
}

void offer::add_labelled(list_kind kind, const json* from, const offer_rules& rules) {
    if (!from) return;
    const bool named = kind == list_kind::prompts;
    const char* key = named ? "name" : kind == list_kind::resources ? "uri" : "uriTemplate";
    std::vector<std::tuple<std::string, std::string, const json*>> sorted;
    for (const json& item : *from) sorted.emplace_back(string_or(item, "server"), string_or(item, key), &item);
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return std::tie(std::get<0>(a), std::get<1>(a)) < std::tie(std::get<0>(b), std::get<1>(b)); });
    for (const auto& [server, own, definition] : sorted) {
        const visibility& seen = seen_of(rules, server);
        const std::string name = named && rules.prefix ? server + std::string(separator) + own : own;
        if (!seen.expose || !(named ? seen.prompts : seen.resources).admit(own)) continue;
        if (!(named ? rules.role.prompts : rules.role.resources).admit(name) || !claim(kind, name, server)) continue;
        json shown = *definition;
        shown.erase("server");
        shown[key] = name;
        lists_[static_cast<std::size_t>(kind)].items.push_back({name, dump(shown), {}});
        if (named) {
            prompts_.emplace(name, entry{server, own, false, {}});
            continue;
        }
        if (kind == list_kind::resources) resources_.emplace(name, server);
        else templates_.emplace_back(name, server);
        const auto [at, fresh] = schemes_.emplace(std::string(scheme_of(name)), server);
        if (!fresh && at->second != server) at->second.clear();
    }
}

void offer::finish() {
    for (auto& l : lists_) {
        std::sort(l.items.begin(), l.items.end(), [](const item& a, const item& b) { return a.key < b.key; });
        for (const item& i : l.items) l.digest = l.digest * 1'099'511'628'211u + std::hash<std::string>{}(i.text);
    }
    std::stable_sort(templates_.begin(), templates_.end(), [](const auto& a, const auto& b) { return literal_length(a.first) > literal_length(b.first); });
}

const offer::entry* offer::tool(const std::string& name) const {
    const auto it = tools_.find(name);
    return it == tools_.end() ? nullptr : &it->second;
}

const offer::entry* offer::prompt(const std::string& name) const {
    const auto it = prompts_.find(name);
    return it == prompts_.end() ? nullptr : &it->second;
}

const std::string* offer::resource_server(const std::string& uri) const {
    if (const auto it = resources_.find(uri); it != resources_.end()) return &it->second;
    // What is filtered out of the list is not to be had through a template either.
    if (!rules_.role.resources.admit(uri)) return nullptr;
    const auto admits = [&](const std::string& server) { return seen_of(rules_, server).resources.admit(uri); };
    for (const auto& [pattern, server] : templates_)
        if (matches(pattern, uri) && admits(server)) return &server;
    // Results link to resources that no list names.
    const auto only = schemes_.find(std::string(scheme_of(uri)));
    return only != schemes_.end() && !only->second.empty() && admits(only->second) ? &only->second : nullptr;
}

const std::string* offer::template_server(const std::string& uri_template) const {
    for (const auto& [pattern, server] : templates_)
        if (pattern == uri_template) return &server;
    return resource_server(uri_template);
}

result<std::string> offer::page(list_kind kind, const dialect& to, const std::string& cursor) const {
    const auto& items = lists_[static_cast<std::size_t>(kind)].items;
    auto from = items.begin();
    if (!cursor.empty()) {
        if (cursor.size() > max_cursor_bytes || cursor.compare(0, cursor_head.size(), cursor_head) != 0)
            return fail(errc::invalid_argument, "the cursor is not one of ours: begin again without one");
        // By name, not by number: what was added or removed meanwhile neither repeats nor skips the rest.
        from = std::upper_bound(items.begin(), items.end(), cursor.substr(cursor_head.size()), [](const std::string& k, const item& i) { return k < i.key; });
    }
    const auto until = from + static_cast<std::ptrdiff_t>(std::min<std::size_t>(std::max<std::size_t>(rules_.page_size, 1), static_cast<std::size_t>(items.end() - from)));
    std::string out = "{\"" + std::string(list_keys[static_cast<std::size_t>(kind)]) + "\":[";
    std::size_t bytes = 256;
    for (auto i = from; i != until; ++i) bytes += i->text.size() + 1;
    out.reserve(bytes);
    for (auto i = from; i != until; ++i) {
        if (i != from) out += ',';
        out += to.modern() || i->legacy_text.empty() ? i->text : i->legacy_text;
    }
    out += ']';
    if (until != items.end()) out += ",\"nextCursor\":" + dump(json(std::string(cursor_head) + std::prev(until)->key));
    if (to.modern()) {
        static const std::string tail = ",\"resultType\":\"complete\",\"ttlMs\":" + std::to_string(list_ttl_ms) + ",\"cacheScope\":\"private\",\"_meta\":" + dump({{meta::server_info, server_info()}});
        out += tail;
    }
    return out += '}';
}

std::string offer::discover() const {
    json versions = json::array({modern_version});
    json out{{"resultType", "complete"}, {"supportedVersions", std::move(versions)}, {"capabilities", server_capabilities()}, {"ttlMs", discover_ttl_ms},
             {"cacheScope", "public"}, {"_meta", {{meta::server_info, server_info()}}}};
    if (!rules_.instructions.empty()) out["instructions"] = rules_.instructions;
    return dump(out);
}

}  // namespace holdfast::mcp::gateway
