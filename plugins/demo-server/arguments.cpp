#include "arguments.hpp"

namespace holdfast::demo {
namespace {

bool has_type(const json& value, std::string_view type) {
    if (type == "string") return value.is_string();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    return true;
}

std::optional<std::string> check_value(const std::string& name, const json& schema, const json& value) {
    if (const auto type = string_or(schema, "type"); !has_type(value, type))
        return "argument '" + name + "' must be of type " + type + ", not " + value.type_name();
    if (const json& allowed = member(schema, "enum"); allowed.is_array()) {
        if (std::find(allowed.begin(), allowed.end(), value) == allowed.end())
            return "argument '" + name + "' must be one of " + dump(allowed);
    }
    if (value.is_number()) {
        if (const json& low = member(schema, "minimum"); low.is_number() && value.get<double>() < low.get<double>())
            return "argument '" + name + "' must be at least " + dump(low);
        if (const json& high = member(schema, "maximum"); high.is_number() && value.get<double>() > high.get<double>())
            return "argument '" + name + "' must be at most " + dump(high);
    }
    if (value.is_string()) {
        const auto size = static_cast<std::int64_t>(value.get_ref<const std::string&>().size());
        if (size < int_or(schema, "minLength", 0)) return "argument '" + name + "' is too short";
        if (size > int_or(schema, "maxLength", size)) return "argument '" + name + "' is too long";
    }
    return std::nullopt;
}

}  // namespace

std::optional<std::string> check_arguments(const json& schema, const json& arguments) {
    for (const auto& name : member(schema, "required"))
        if (name.is_string() && !arguments.contains(name.get_ref<const std::string&>()))
            return "argument '" + name.get<std::string>() + "' is missing";
    const json& properties = member(schema, "properties");
    const bool closed = member(schema, "additionalProperties") == json(false);
    for (const auto& [name, value] : arguments.items()) {
        const json& property = member(properties, name);
        if (property.is_null()) {
            if (closed) return "there is no argument '" + name + "'";
            continue;
        }
        if (auto wrong = check_value(name, property, value)) return wrong;
    }
    return std::nullopt;
}

}  // namespace holdfast::demo
