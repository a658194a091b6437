#include "servers/overrides.hpp"

#include "mcp/definition.hpp"

namespace holdfast::servers {
namespace {

std::string token(const std::string& key) {
    std::string out;
    for (char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    return out;
}

/// What the file says must not reach the store: it may hold a resolved secret.
std::string fingerprint(const json& value) { return mcp::definition_hash(json{{"value", value}}); }

const json& at(const json& entry, const std::string& pointer) {
    static const json none;
    const json::json_pointer p(pointer);
    return entry.contains(p) ? entry[p] : none;
}

void flatten(const json& changes, const std::string& prefix, json& out) {
    for (const auto& [key, value] : changes.items()) {
        const std::string pointer = prefix + "/" + token(key);
        if (value.is_object()) flatten(value, pointer, out);
        else out[pointer] = value;
    }
}

void put_over(json& entry, const std::string& pointer, const json& value) {
    const json::json_pointer p(pointer);
    for (auto up = p.parent_pointer(); !up.empty(); up = up.parent_pointer())
        if (entry.contains(up) && !entry[up].is_object()) entry[up] = json::object();
    if (!value.is_null()) entry[p] = value;
    else if (entry.contains(p)) entry[p.parent_pointer()].erase(p.back());
}

/// Of a key in an entry, and not of the entry.
bool is_pointer(const std::string& text) {
    try {
        return !json::json_pointer(text).empty();
    } catch (const json::parse_error&) {
        return false;
    }
}

std::string shown(const std::string& pointer) {
    std::string out = pointer.substr(1);
    for (char& c : out)
        if (c == '/') c = '.';
    return out;
}

}  // namespace

json server_override::to_row() const {
    json row{{"by", by}, {"at", at}};
    if (added) row["entry"] = entry;
    if (!set.empty()) {
        row["set"] = set;
        row["base"] = base;
    }
    return row;
}

server_override server_override::from_row(const json& row) {
    server_override o;
    o.added = member(row, "entry").is_object();
    if (o.added) o.entry = row["entry"];
    if (member(row, "set").is_object() && member(row, "base").is_object()) {
        for (const auto& [pointer, value] : row["set"].items()) {
            if (!is_pointer(pointer)) continue;  // not ours
            o.set[pointer] = value;
            o.base[pointer] = string_or(row["base"], pointer);
        }
    }
    o.by = string_or(row, "by");
    o.at = string_or(row, "at");
    return o;
}

override_book::outcome override_book::apply(const json& file_servers, const resolver& resolve) {
    outcome out;
    for (const auto& [name, entry] : file_servers.items()) out.servers[name].entry = entry;
    for (auto it = all_.begin(); it != all_.end();) {
        const std::string& name = it->first;
        server_override& o = it->second;
        const bool in_file = file_servers.is_object() && file_servers.contains(name);
        if (o.added && in_file) {  // the file describes it now
            out.lost.push_back(name + ": added at runtime");
            out.changed.push_back(name);
            it = all_.erase(it);
            continue;
        }
        if (!o.added && !in_file) {  // perhaps its file cannot be read just now
            ++it;
            continue;
        }
        effective& e = out.servers[name];
        if (o.added) {
            auto entry = resolve(o.entry);
            if (!entry) {
                out.problems.push_back(name + ": " + entry.error().message);
                out.servers.erase(name);
                ++it;
                continue;
            }
            e.entry = std::move(*entry);
            e.added = true;
        }
        std::vector<std::string> overtaken;
        for (const auto& [pointer, value] : o.set.items()) {
            if (!o.added && string_or(o.base, pointer) != fingerprint(at(file_servers[name], pointer))) {
                overtaken.push_back(pointer);
                continue;
            }
            auto fresh = resolve(value);
            if (!fresh) {
                out.problems.push_back(name + ": " + shown(pointer) + ": " + fresh.error().message);
                continue;
            }
            put_over(e.entry, pointer, *fresh);
            e.keys.push_back(shown(pointer));
        }
        for (const auto& pointer : overtaken) {
            o.set.erase(pointer);
            o.base.erase(pointer);
            out.lost.push_back(name + ": " + shown(pointer));
        }
        if (!overtaken.empty()) out.changed.push_back(name);
        if (!o.added && o.set.empty()) it = all_.erase(it);
        else ++it;
    }
    return out;
}

result<void> override_book::patch(const std::string& name, const json& changes, const json& file_entry, std::string by, std::string at_time) {
    json flat = json::object();
    flatten(changes, "", flat);
    if (flat.empty()) return fail(errc::invalid_argument, "no key is changed: give \"config\" an object like {\"health\": {\"interval_s\": 60}}");
    server_override o = find(name) ? *find(name) : server_override{};
    for (const auto& [pointer, value] : flat.items()) {
        // A key inside one that was overridden, or the other way round: the later one counts.
        for (auto it = o.set.begin(); it != o.set.end();)
            if (it.key().rfind(pointer + "/", 0) == 0 || pointer.rfind(it.key() + "/", 0) == 0) {
                o.base.erase(it.key());
                it = o.set.erase(it);
            } else {
                ++it;
            }
        o.set[pointer] = value;
        o.base[pointer] = fingerprint(at(file_entry, pointer));
    }
    if (o.set.size() > max_override_keys)
        return fail(errc::invalid_argument, "at most " + std::to_string(max_override_keys) + " keys of a server can be overridden: write them into the configuration");
    o.by = std::move(by);
    o.at = std::move(at_time);
    all_[name] = std::move(o);
    return {};
}

result<void> override_book::add(const std::string& name, json entry, std::string by, std::string at_time) {
    if (all_.count(name) && all_[name].added) return fail(errc::server_already_exists, "there is a server '" + name + "' already: update or remove it");
    server_override o;
    o.added = true;
    o.entry = std::move(entry);
    o.by = std::move(by);
    o.at = std::move(at_time);
    all_[name] = std::move(o);
    return {};
}

const server_override* override_book::find(const std::string& name) const {
    auto it = all_.find(name);
    return it == all_.end() ? nullptr : &it->second;
}

void override_book::put_back(const std::string& name, const server_override* before) {
    if (before) all_[name] = *before;
    else all_.erase(name);
}

}  // namespace holdfast::servers
