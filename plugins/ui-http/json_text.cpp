#include "ui-http/json_text.hpp"

#include "net-server/http_text.hpp"

namespace holdfast::ui_http {

std::optional<json> parse_json(std::string_view text, std::string* why) {
    if (!web::json_depth_within(text, json_max_depth)) {
        if (why) *why = "the JSON nests deeper than " + std::to_string(json_max_depth) + " levels";
        return std::nullopt;
    }
    json out = json::parse(text, nullptr, false);
    if (out.is_discarded()) {
        if (why) *why = "the text is not valid JSON";
        return std::nullopt;
    }
    return out;
}

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

const json& member(const json& object, std::string_view key) {
    static const json null;
    if (!object.is_object()) return null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
}

std::string string_or(const json& object, std::string_view key, std::string_view fallback) {
    const json& value = member(object, key);
    return value.is_string() ? value.get<std::string>() : std::string(fallback);
}

}  // namespace holdfast::ui_http
