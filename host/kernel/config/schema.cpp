#include "kernel/config/schema.hpp"

#include <regex>

#include "kernel/config/located_json.hpp"
#include "kernel/core/nearest.hpp"

namespace holdfast::config {
namespace {

constexpr std::size_t max_violations = 50;
constexpr int max_ref_depth = 64;

std::string article(const std::string& type) {
    return (type == "integer" || type == "array" || type == "object" ? "an " : type == "null" ? "" : "a ") + type;
}

std::string type_name(const json& v) {
    if (v.is_null()) return "null";
    if (v.is_boolean()) return "boolean";
    if (v.is_number_integer()) return "integer";
    if (v.is_number()) return "number";
    if (v.is_string()) return "string";
    return v.is_array() ? "array" : "object";
}

bool has_type(const json& v, const std::string& type) {
    if (type == "number") return v.is_number();
    if (type == "integer") return v.is_number_integer() || (v.is_number_float() && v.get<double>() == static_cast<double>(static_cast<std::int64_t>(v.get<double>())));
    return type_name(v) == type;
}

/// What was found, short enough for one line. Strings are shown: a schema that wants secrets hidden says writeOnly.
std::string shown(const json& v, const json& schema) {
    if (schema.is_object() && bool_or(schema, "writeOnly", false)) return type_name(v);
    if (v.is_object() || v.is_array()) return article(type_name(v));
    std::string text = dump(v);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    return v.is_string() ? "the string " + text : type_name(v) + " " + text;
}

std::string list_of(const json& values) {
    std::string out;
    for (const json& v : values) out += (out.empty() ? "" : ", ") + dump(v);
    return out;
}

class checker {
  public:
    explicit checker(const json& root) : root_(root) {}
    std::vector<violation> found;

    void check(const json& schema, const json& v, const std::string& at, int depth = 0) {
        if (found.size() >= max_violations) return;
        if (schema.is_boolean()) {
            if (!schema.get<bool>()) add(at, "nothing is allowed here");
            return;
        }
        if (!schema.is_object()) return add(at, "the schema itself is broken here: expected an object");
        if (depth > max_ref_depth) return add(at, "the schema refers to itself without end");
        if (const std::string ref = string_or(schema, "$ref"); !ref.empty()) {
            const json* target = resolve(ref);
            if (!target) return add(at, "the schema refers to " + ref + ", which does not exist");
            check(*target, v, at, depth + 1);
        }
        if (!check_type(schema, v, at)) return;  // further messages would only repeat it
        check_values(schema, v, at);
        if (v.is_object()) check_object(schema, v, at, depth);
        if (v.is_array()) check_array(schema, v, at, depth);
        check_combinations(schema, v, at, depth);
    }

  private:
    void add(const std::string& at, std::string message, bool key = false) {
        found.push_back({at, std::move(message), key});
    }
    bool valid(const json& schema, const json& v, int depth) const {
        checker inner(root_);
        inner.check(schema, v, "", depth + 1);
        return inner.found.empty();
    }
    const json* resolve(const std::string& ref) const {
        if (ref.rfind("#", 0) != 0) return nullptr;  // never fetched
        try {
            return &root_.at(json::json_pointer(ref.substr(1)));
        } catch (const json::exception&) {
            return nullptr;
        }
    }
    bool check_type(const json& schema, const json& v, const std::string& at) {
        const json& type = member(schema, "type");
        if (type.is_null()) return true;
        std::string names;
        for (const json& t : type.is_array() ? type : json::array({type})) {
            if (t.is_string() && has_type(v, t.get<std::string>())) return true;
            names += (names.empty() ? "" : " or ") + article(t.is_string() ? t.get<std::string>() : "valid type");
        }
        add(at, "expected " + names + hint(schema) + ", found " + shown(v, schema));
        return false;
    }
    static std::string hint(const json& schema) {
        const std::string text = string_or(schema, "x-hint");
        return text.empty() ? "" : " (" + text + ")";
    }
    void check_values(const json& schema, const json& v, const std::string& at) {
        if (auto it = schema.find("enum"); it != schema.end() && it->is_array() && std::find(it->begin(), it->end(), v) == it->end()) {
            std::string close;
            if (v.is_string()) {
                std::vector<std::string> names;
                for (const json& e : *it)
                    if (e.is_string()) names.push_back(e.get<std::string>());
                close = nearest(v.get<std::string>(), names);
            }
            add(at, "expected one of " + list_of(*it) + ", found " + shown(v, schema) + (close.empty() ? "" : "; did you mean \"" + close + "\"?"));
        }
        if (auto it = schema.find("const"); it != schema.end() && *it != v) add(at, "expected " + dump(*it) + ", found " + shown(v, schema));
        if (v.is_number()) {
            const double d = v.get<double>();
            if (const json& m = member(schema, "minimum"); m.is_number() && d < m.get<double>())
                add(at, "expected at least " + dump(m) + ", found " + dump(v));
            if (const json& m = member(schema, "maximum"); m.is_number() && d > m.get<double>())
                add(at, "expected at most " + dump(m) + ", found " + dump(v));
            if (const json& m = member(schema, "exclusiveMinimum"); m.is_number() && d <= m.get<double>())
                add(at, "expected more than " + dump(m) + ", found " + dump(v));
        }
        if (v.is_string()) check_string(schema, v.get_ref<const std::string&>(), v, at);
    }
    void check_string(const json& schema, const std::string& s, const json& v, const std::string& at) {
        const auto length = static_cast<std::int64_t>(std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
        if (const std::int64_t m = int_or(schema, "minLength", 0); length < m)
            add(at, m == 1 ? "expected a non-empty string" : "expected at least " + std::to_string(m) + " characters, found " + std::to_string(length));
        if (const json& m = member(schema, "maxLength"); m.is_number_integer() && length > m.get<std::int64_t>())
            add(at, "expected at most " + dump(m) + " characters, found " + std::to_string(length));
        if (const std::string p = string_or(schema, "pattern"); !p.empty() && s.size() <= 4096) {
            try {
                if (!std::regex_search(s, std::regex(p, std::regex::ECMAScript)))
                    add(at, "expected " + (hint(schema).empty() ? "a string that matches " + p : string_or(schema, "x-hint")) + ", found " + shown(v, schema));
            } catch (const std::regex_error&) {
                add(at, "the schema's pattern is broken: " + p);
            }
        }
    }
    void check_object(const json& schema, const json& v, const std::string& at, int depth) {
        const json& properties = member(schema, "properties");
        const json& additional = member(schema, "additionalProperties");
        for (const json& r : member(schema, "required"))
            if (r.is_string() && !v.contains(r.get<std::string>())) add(at, "missing member '" + r.get<std::string>() + "'" + describe(properties, r.get<std::string>()));
        for (const auto& [key, child] : v.items()) {
            const std::string child_at = at + "/" + pointer_token(key);
            if (properties.is_object() && properties.contains(key)) {
                check(properties[key], child, child_at, depth + 1);
            } else if (additional.is_boolean() && !additional.get<bool>()) {
                unknown_member(key, properties, v, child_at);
            } else if (additional.is_object()) {
                check(additional, child, child_at, depth + 1);
            }
        }
        const json& names = member(schema, "propertyNames");
        if (names.is_object())
            for (const auto& [key, child] : v.items())
                if (!valid(names, json(key), depth))
                    add(at + "/" + pointer_token(key), "the name '" + key + "' is not allowed: expected " + string_or(names, "x-hint", "a name matching " + string_or(names, "pattern")), true);
        if (const json& m = member(schema, "minProperties"); m.is_number_integer() && v.size() < m.get<std::size_t>())
            add(at, "expected at least " + dump(m) + " member(s), found " + std::to_string(v.size()));
    }
    static std::string describe(const json& properties, const std::string& key) {
        const std::string d = string_or(member(properties, key), "description");
        return d.empty() ? "" : " (" + d + ")";
    }
    void unknown_member(const std::string& key, const json& properties, const json& v, const std::string& child_at) {
        std::vector<std::string> known;
        std::string all;
        if (properties.is_object())
            for (const auto& [name, s] : properties.items()) {
                all += (all.empty() ? "" : ", ") + name;
                if (!v.contains(name)) known.push_back(name);
            }
        const std::string close = nearest(key, known);
        add(child_at, "unknown member '" + key + "'" + (!close.empty() ? ": did you mean '" + close + "'?" : all.empty() ? ": no members are known here" : ": known here are " + all), true);
    }
    void check_array(const json& schema, const json& v, const std::string& at, int depth) {
        if (const json& items = member(schema, "items"); !items.is_null())
            for (std::size_t i = 0; i < v.size(); ++i) check(items, v[i], at + "/" + std::to_string(i), depth + 1);
        if (const json& m = member(schema, "minItems"); m.is_number_integer() && v.size() < m.get<std::size_t>())
            add(at, "expected at least " + dump(m) + " element(s), found " + std::to_string(v.size()));
        if (const json& m = member(schema, "maxItems"); m.is_number_integer() && v.size() > m.get<std::size_t>())
            add(at, "expected at most " + dump(m) + " element(s), found " + std::to_string(v.size()));
        if (bool_or(schema, "uniqueItems", false))
            for (std::size_t i = 0; i < v.size(); ++i)
                if (std::find(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(i), v[i]) != v.begin() + static_cast<std::ptrdiff_t>(i))
                    add(at + "/" + std::to_string(i), "duplicate element " + shown(v[i], schema));
    }
    void check_combinations(const json& schema, const json& v, const std::string& at, int depth) {
        for (const json& s : member(schema, "allOf")) check(s, v, at, depth + 1);
        if (const json& condition = member(schema, "if"); !condition.is_null()) {
            const json& branch = member(schema, valid(condition, v, depth) ? "then" : "else");
            if (!branch.is_null()) check(branch, v, at, depth + 1);
        }
        if (const json& s = member(schema, "not"); !s.is_null() && valid(s, v, depth)) add(at, string_or(schema, "x-hint", "this combination is not allowed"));
        for (const char* keyword : {"anyOf", "oneOf"}) {
            const json& options = member(schema, keyword);
            if (!options.is_array() || options.empty()) continue;
            std::size_t matches = 0;
            for (const json& s : options) matches += valid(s, v, depth) ? 1 : 0;
            if (matches == 0)
                add(at, "expected " + (string_or(schema, "x-hint").empty() ? std::string("one of ") + std::to_string(options.size()) + " allowed forms" : string_or(schema, "x-hint")) + ", found " + shown(v, schema));
            else if (matches > 1 && std::string_view(keyword) == "oneOf")
                add(at, "expected exactly one of the allowed forms, this matches " + std::to_string(matches));
        }
    }

    const json& root_;
};

}  // namespace

std::vector<violation> validate(const json& schema, const json& value, const std::string& base_pointer) {
    checker c(schema);
    c.check(schema, value, base_pointer);
    if (c.found.size() > max_violations) c.found.resize(max_violations);
    return c.found;
}

void fill_defaults(const json& schema, json& value) {
    const json& properties = member(schema, "properties");
    if (!value.is_object() || !properties.is_object()) return;
    for (const auto& [key, s] : properties.items()) {
        if (!value.contains(key) && s.is_object() && s.contains("default")) value[key] = s["default"];
        if (value.contains(key)) fill_defaults(s, value[key]);
    }
}

}  // namespace holdfast::config
