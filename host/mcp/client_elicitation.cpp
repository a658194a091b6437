#include "mcp/client_elicitation.hpp"

namespace holdfast::mcp {

json with_defaults(const json& params, json response) {
    if (string_or(params, "mode", "form") != "form" || string_or(response, "action") != "accept") return response;
    const json& properties = member(member(params, "requestedSchema"), "properties");
    if (!properties.is_object()) return response;
    if (!member(response, "content").is_object()) response["content"] = json::object();
    json& content = response["content"];
    for (const auto& [name, schema] : properties.items())
        if (schema.is_object() && schema.contains("default") && !content.contains(name)) content[name] = schema["default"];
    return response;
}

}  // namespace holdfast::mcp
