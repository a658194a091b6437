#include "llm-demo/arguments.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "llm-demo/clauses.hpp"

namespace llm_demo {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 9> text_names{"text", "message", "input", "content", "value", "string", "prompt", "query", "id"};
constexpr std::array<std::string_view, 8> path_names{"path", "file", "filename", "file_path", "filepath", "directory", "dir", "folder"};

template <std::size_t N>
bool one_of(const std::array<std::string_view, N>& names, std::string_view n) {
    return std::find(names.begin(), names.end(), n) != names.end();
}

std::string type_of(const json& property) {
    const auto t = property.is_object() ? property.find("type") : property.end();
    if (!property.is_object() || t == property.end()) return {};
    if (t->is_string()) return t->get<std::string>();
    if (t->is_array())
        for (const json& one : *t)
            if (one.is_string() && one != "null") return one.get<std::string>();
    return {};
}

json number(double v, const std::string& type) {
    if (type == "integer" || v == std::floor(v)) return static_cast<std::int64_t>(v);
    return v;
}

json plain_value(const json& property, const std::string& type) {
    if (property.is_object() && property.contains("default")) return property["default"];
    if (property.is_object() && property.contains("enum") && property["enum"].is_array() && !property["enum"].empty()) return property["enum"][0];
    if (type == "integer" || type == "number") return property.is_object() ? property.value("minimum", json(1)) : json(1);
    if (type == "boolean") return false;
    if (type == "array") return json::array();
    if (type == "object") return json::object();
    return "example";
}

json converted(const std::string& value, const std::string& type) {
    if (type == "string") return value;
    const json parsed = json::parse(value, nullptr, false);
    const bool scalar = parsed.is_number() || parsed.is_boolean() || parsed.is_null();
    if (!parsed.is_discarded() && (scalar || type == "array" || type == "object")) return parsed;
    return value;
}

}  // namespace

std::vector<double> numbers_in(std::string_view text) {
    std::vector<double> out;
    const std::string s(text);
    for (std::size_t i = 0; i < s.size();) {
        const bool sign = s[i] == '-' && (i == 0 || std::isspace(static_cast<unsigned char>(s[i - 1])));
        const std::size_t digit = i + (sign ? 1 : 0);
        const bool inside = i > 0 && (std::isalnum(static_cast<unsigned char>(s[i - 1])) || s[i - 1] == '_');
        if (digit < s.size() && std::isdigit(static_cast<unsigned char>(s[digit])) && !inside) {
            char* end = nullptr;
            const double v = std::strtod(s.c_str() + i, &end);
            if (std::isfinite(v) && std::fabs(v) < 9e15) out.push_back(v);
            i = static_cast<std::size_t>(end - s.c_str());
        } else {
            ++i;
        }
    }
    return out;
}

json fill(const json& schema, const material& m) {
    json out = json::object();
    const auto properties = schema.is_object() ? schema.find("properties") : schema.end();
    if (!schema.is_object() || properties == schema.end() || !properties->is_object()) return out;
    const auto needed = schema.find("required");
    const auto required = [&](const std::string& name) {
        return needed != schema.end() && needed->is_array() && std::find(needed->begin(), needed->end(), json(name)) != needed->end();
    };
    std::size_t next_number = 0;
    bool text_used = false;
    for (const auto& [name, property] : properties->items()) {
        const std::string type = type_of(property), low = lower(name);
        if (one_of(path_names, low) && !m.path.empty()) out[name] = m.path;
        else if ((low == "timezone" || low == "tz" || low == "time_zone") && !m.timezone.empty()) out[name] = m.timezone;
        else if (m.duration_ms && low.find("duration") != std::string::npos && (low.ends_with("_ms") || low.ends_with("ms"))) out[name] = *m.duration_ms;
        else if (m.duration_ms && low.find("duration") != std::string::npos) out[name] = number(static_cast<double>(*m.duration_ms) / 1000, type);
        else if (one_of(text_names, low) && (type == "string" || type.empty()) && !m.text.empty()) out[name] = m.text, text_used = true;
        else if ((type == "number" || type == "integer") && required(name) && next_number < m.numbers.size()) out[name] = number(m.numbers[next_number++], type);
        else if (type == "array" && required(name) && !m.numbers.empty()) {
            out[name] = json::array();
            for (const double v : m.numbers) out[name].push_back(number(v, "number"));
        }
    }
    for (const auto& [name, property] : properties->items()) {
        if (out.contains(name) || !required(name)) continue;
        const std::string type = type_of(property);
        if (type == "string" && !text_used && !m.text.empty()) out[name] = m.text, text_used = true;
        else out[name] = plain_value(property, type);
    }
    return out;
}

json explicit_arguments(std::string_view text, const json& schema) {
    text = trim(text);
    if (!text.empty() && text.front() == '{') {
        const json parsed = json::parse(text, nullptr, false);
        return parsed.is_object() ? parsed : json::object();
    }
    const json* properties = nullptr;
    if (schema.is_object())
        if (const auto it = schema.find("properties"); it != schema.end() && it->is_object()) properties = &*it;
    json out = json::object();
    while (!text.empty()) {
        const auto equals = text.find('=');
        if (equals == std::string_view::npos) break;
        const std::string_view before = trim(text.substr(0, equals));
        const auto space = before.find_last_of(" \t,");
        const std::string key(space == std::string_view::npos ? before : before.substr(space + 1));
        text = text.substr(equals + 1);
        std::string value;
        if (!text.empty() && (text.front() == '"' || text.front() == '\'')) {
            const auto close = text.find(text.front(), 1);
            value = text.substr(1, close == std::string_view::npos ? close : close - 1);
            text = close == std::string_view::npos ? std::string_view() : text.substr(close + 1);
        } else {
            const auto end = text.find_first_of(" \t,");
            value = text.substr(0, end);
            text = end == std::string_view::npos ? std::string_view() : text.substr(end);
        }
        if (!key.empty()) out[key] = converted(value, properties && properties->contains(key) ? type_of((*properties)[key]) : "");
    }
    return out;
}

}  // namespace llm_demo
