#include "mcp/gateway/pins.hpp"

namespace holdfast::mcp::gateway {
namespace {

constexpr std::size_t max_kept_definition = 16u << 10;  // bytes; a larger one is known by its hash alone
constexpr std::size_t max_kept = 1'024;                 // definitions of one server; of the others the hash is known

}  // namespace

pin_table::review_result pin_table::review(const std::vector<seen>& tools, bool trust_changes, const std::string& now) {
    review_result out;
    for (const seen& s : tools) {
        auto& mine = pins_[*s.server];
        if (mine.size() >= max_pins && !mine.count(*s.tool)) {
            out.full.insert(*s.server);
            continue;
        }
        pin& p = mine[*s.tool];
        const auto kept = [&](const json& definition) { return mine.size() <= max_kept && dump(definition).size() <= max_kept_definition ? definition : json(); };
        if (p.hash == *s.hash) {
            if (!std::exchange(p.new_hash, {}).empty()) out.changed.insert(*s.server);  // it is again what was approved
            p.new_definition = nullptr;
            continue;
        }
        if (p.new_hash == *s.hash) continue;
        out.changed.insert(*s.server);
        if (!p.hash.empty()) out.alarms.push_back({*s.server, *s.tool, p.hash, *s.hash});
        if (p.hash.empty() || trust_changes) {
            p = pin{*s.hash, now, {}, kept(*s.definition), {}, nullptr};
        } else {
            p.new_hash = *s.hash;
            p.new_definition = kept(*s.definition);
        }
    }
    return out;
}

bool pin_table::held(const std::string& server, const std::string& tool, const std::string& hash) const {
    const auto s = pins_.find(server);
    if (s == pins_.end()) return false;
    const auto t = s->second.find(tool);
    return t == s->second.end() ? s->second.size() >= max_pins : t->second.hash != hash;
}

std::size_t pin_table::forget(const std::string& server, const std::set<std::string>& offered) {
    const auto s = pins_.find(server);
    return s == pins_.end() ? 0 : std::erase_if(s->second, [&](const auto& p) { return !offered.count(p.first); });
}

json pin_table::rows(const std::string& server, bool held_only) const {
    json out = json::array();
    for (const auto& [s, tools] : pins_) {
        if (!server.empty() && s != server) continue;
        for (const auto& [t, p] : tools) {
            const bool held = !p.new_hash.empty();
            if (held_only && !held) continue;
            json row{{"server", s}, {"tool", t}, {"state", held ? "held" : "pinned"}, {"hash", p.hash}, {"since", p.since}};
            if (!p.approved_by.empty()) row["approved_by"] = p.approved_by;
            if (held) {
                row["new_hash"] = p.new_hash;
                if (!p.definition.is_null() && !p.new_definition.is_null()) row["change"] = json::diff(p.definition, p.new_definition);
            }
            out.push_back(std::move(row));
        }
    }
    return {{"pins", std::move(out)}};
}

result<void> pin_table::approve(const std::string& server, const std::string& tool, const std::string& hash, const std::string& by, const std::string& now) {
    const auto s = pins_.find(server);
    const auto t = s == pins_.end() ? std::map<std::string, pin>::iterator{} : s->second.find(tool);
    if (s == pins_.end() || t == s->second.end() || t->second.new_hash.empty())
        return fail(errc::not_found, "nothing of '" + server + "' waits for approval under the name '" + tool + "'");
    if (!hash.empty() && hash != t->second.new_hash)
        return fail(errc::stale, "the definition has changed again: what waits is " + t->second.new_hash);
    pin& p = t->second;
    p = pin{p.new_hash, now, by, std::move(p.new_definition), {}, nullptr};
    return {};
}

json pin_table::row(const std::string& server) const {
    json tools = json::object();
    if (const auto s = pins_.find(server); s != pins_.end())
        for (const auto& [t, p] : s->second) {
            tools[t] = {{"hash", p.hash}, {"since", p.since}, {"approved_by", p.approved_by}, {"definition", p.definition}};
            if (!p.new_hash.empty()) tools[t].update({{"new_hash", p.new_hash}, {"new_definition", p.new_definition}});
        }
    return {{"tools", std::move(tools)}};
}

void pin_table::load(const std::string& server, const json& row) {
    for (const auto& [t, p] : member(row, "tools").items())
        pins_[server][t] = pin{string_or(p, "hash"), string_or(p, "since"), string_or(p, "approved_by"), member(p, "definition"), string_or(p, "new_hash"), member(p, "new_definition")};
}

}  // namespace holdfast::mcp::gateway
