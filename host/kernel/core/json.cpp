#include "kernel/core/json.hpp"

namespace holdfast {
namespace {

/// Offset of the bracket that exceeds the depth, or npos.
std::size_t too_deep_at(std::string_view text, std::size_t max_depth) noexcept {
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > max_depth) return i;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return std::string_view::npos;
}

}  // namespace

result<json> parse_json(std::string_view text, std::size_t max_depth) {
    if (auto at = too_deep_at(text, max_depth); at != std::string_view::npos)
        return fail(errc::invalid_argument, "JSON nested deeper than " + std::to_string(max_depth) +
                                                " levels at byte " + std::to_string(at));
    try {
        return json::parse(text.begin(), text.end());
    } catch (const json::parse_error& e) {
        return fail(errc::invalid_argument, "not JSON at byte " + std::to_string(e.byte) + ": expected a JSON value");
    } catch (const json::exception& e) {
        return fail(errc::invalid_argument, std::string("not usable JSON: ") + e.what());
    }
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

const json& member(const json& object, std::string_view key) {
    static const json null;
    if (!object.is_object()) return null;
    auto it = object.find(key);
    return it == object.end() ? null : *it;
}

std::string string_or(const json& object, std::string_view key, std::string_view fallback) {
    const json& v = member(object, key);
    return v.is_string() ? v.get<std::string>() : std::string(fallback);
}
std::int64_t int_or(const json& object, std::string_view key, std::int64_t fallback) {
    const json& v = member(object, key);
    return v.is_number_integer() ? v.get<std::int64_t>() : fallback;
}
double number_or(const json& object, std::string_view key, double fallback) {
    const json& v = member(object, key);
    return v.is_number() ? v.get<double>() : fallback;
}
bool bool_or(const json& object, std::string_view key, bool fallback) {
    const json& v = member(object, key);
    return v.is_boolean() ? v.get<bool>() : fallback;
}

}  // namespace holdfast
