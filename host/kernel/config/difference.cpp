#include "kernel/config/difference.hpp"

#include <set>

namespace holdfast::config {
namespace {

std::set<std::string> names_of(const json& a, const json& b) {
    std::set<std::string> out;
    for (const json* v : {&a, &b})
        if (v->is_object())
            for (const auto& [key, child] : v->items()) out.insert(key);
    return out;
}

void compare(const json& before, const json& after, const std::string& section, const std::string& name, std::vector<change>& out) {
    if (before == after) return;
    out.push_back({before.is_null() ? change::kind::added : after.is_null() ? change::kind::removed : change::kind::changed, section, name});
}

}  // namespace

std::string change::to_string() const {
    const char* verb = what == kind::added ? "added " : what == kind::removed ? "removed " : "changed ";
    return verb + section + (name.empty() ? "" : "/" + name);
}

std::vector<change> difference(const json& before, const json& after, const std::vector<std::string>& keyed) {
    std::vector<change> out;
    for (const std::string& section : names_of(before, after)) {
        const json& a = member(before, section);
        const json& b = member(after, section);
        if (std::find(keyed.begin(), keyed.end(), section) == keyed.end())
            compare(a, b, section, "", out);
        else
            for (const std::string& name : names_of(a, b)) compare(member(a, name), member(b, name), section, name, out);
    }
    return out;
}

}  // namespace holdfast::config
