#include "transport-http/param_headers.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "net-client/http_text.hpp"
#include "transport-http/message.hpp"

namespace holdfast::transport_http {
namespace {
using json = nlohmann::json;
constexpr double largest_safe = 9007199254740991.0;  // 2^53 - 1

json parsed(std::string_view text) {
    return net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
}
const json* member(const json* o, const std::string& key) {
    if (!o || !o->is_object()) return nullptr;
    const auto it = o->find(key);
    return it == o->end() ? nullptr : &*it;
}

// Calls found(path, name) for every annotation that a chain of `properties` leads to.
template <class F>
void walk(const json* schema, std::vector<std::string>& path, const F& found) {
    const json* const properties = member(schema, "properties");
    if (!properties || !properties->is_object()) return;
    for (const auto& [key, value] : properties->items()) {
        path.push_back(key);
        const json* const name = member(&value, "x-mcp-header");
        if (name && name->is_string() && net::valid_header_name(name->get_ref<const std::string&>())) found(path, name->get<std::string>());
        walk(&value, path, found);
        path.pop_back();
    }
}

/// Empty for what has no place in a header.
std::string text_of(const json& v, bool& has) {
    has = true;
    if (v.is_string()) return v.get<std::string>();
    if (v.is_boolean()) return v.get<bool>() ? "true" : "false";
    if (v.is_number_integer()) return v.dump();
    if (v.is_number_float()) {
        const double d = v.get<double>();
        if (d == std::floor(d) && std::fabs(d) <= largest_safe) return std::to_string(static_cast<std::int64_t>(d));
    }
    has = false;
    return {};
}

}  // namespace

void param_headers::learn(std::string_view answer) {
    const json j = parsed(answer);
    const json* const result = member(&j, "result");
    const json* const list = member(result, "tools");
    if (!list || !list->is_array()) return;
    for (const json& tool : *list) {
        const json* const name = member(&tool, "name");
        if (!name || !name->is_string()) continue;
        std::vector<annotation> all;
        std::vector<std::string> path;
        walk(member(&tool, "inputSchema"), path, [&all](const std::vector<std::string>& at, const std::string& header) {
            if (all.size() < max_per_tool) all.push_back({"Mcp-Param-" + header, at});
        });
        const auto& key = name->get_ref<const std::string&>();
        if (all.empty()) tools_.erase(key);
        else if (tools_.size() < max_tools || tools_.count(key)) tools_[key] = std::move(all);
    }
}

net::headers param_headers::of(const std::string& tool, std::string_view message) const {
    net::headers out;
    const auto it = tools_.find(tool);
    if (it == tools_.end()) return out;
    const json j = parsed(message);
    const json* const arguments = member(member(&j, "params"), "arguments");
    for (const annotation& a : it->second) {
        const json* value = arguments;
        for (const std::string& key : a.path) value = member(value, key);
        bool has = false;
        const std::string text = value ? text_of(*value, has) : std::string();
        if (has) out.push_back({a.header, header_value(text)});
    }
    return out;
}

}  // namespace holdfast::transport_http
