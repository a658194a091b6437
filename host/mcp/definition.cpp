#include "mcp/definition.hpp"

#include <openssl/evp.h>

#include <set>

namespace holdfast::mcp {
namespace {

constexpr std::size_t max_headers = 64;

result<void> refuse(std::string why) { return fail(errc::protocol_error, std::move(why)); }

bool is_token(std::string_view s) {
    if (s.empty()) return false;
    for (unsigned char c : s) {
        const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) == std::string_view::npos) return false;
    }
    return true;
}

std::string lower(std::string s) {
    for (char& c : s)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return s;
}

struct header_walk {
    std::set<std::string> seen;  // lower case

    result<void> annotation(const json& schema, bool reachable) {
        const json& name = member(schema, "x-mcp-header");
        if (name.is_null() && !schema.contains("x-mcp-header")) return {};
        if (!name.is_string() || !is_token(name.get_ref<const std::string&>()))
            return refuse("x-mcp-header is not an HTTP field name");
        const std::string text = name.get<std::string>();
        if (!reachable) return refuse("x-mcp-header '" + text + "' is not reachable by properties alone");
        const std::string type = string_or(schema, "type");
        if (type != "string" && type != "integer" && type != "boolean")
            return refuse("x-mcp-header '" + text + "' is on a parameter that is no string, integer or boolean");
        if (!seen.insert(lower(text)).second) return refuse("x-mcp-header '" + text + "' is used twice");
        if (seen.size() > max_headers) return refuse("too many x-mcp-header annotations");
        return {};
    }

    /// `schema` is a schema position. Depth is bounded by the parser's limit.
    result<void> schema(const json& node, bool reachable) {
        if (node.is_array()) {
            for (const json& item : node)
                if (auto ok = schema(item, false); !ok) return ok;
            return {};
        }
        if (!node.is_object()) return {};
        if (auto ok = annotation(node, reachable); !ok) return ok;
        for (const auto& [key, value] : node.items()) {
            // Plain data, not schemas: an annotation-like key in there means nothing.
            if (key == "enum" || key == "const" || key == "default" || key == "examples" || key == "x-mcp-header") continue;
            const bool named = key == "properties" || key == "patternProperties" || key == "$defs" ||
                               key == "definitions" || key == "dependentSchemas";
            if (named && value.is_object()) {
                for (const auto& [name, child] : value.items())
                    if (auto ok = schema(child, reachable && key == "properties"); !ok) return ok;
            } else if (auto ok = schema(value, false); !ok) {
                return ok;
            }
        }
        return {};
    }
};

}  // namespace

std::string definition_hash(const json& definition) {
    json pinned = definition;
    if (pinned.is_object()) pinned.erase("_meta");
    const std::string text = dump(pinned);  // nlohmann's objects are sorted by key, so this is canonical
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_Digest(text.data(), text.size(), digest, &length, EVP_sha256(), nullptr) != 1) return {};
    static constexpr char digits[] = "0123456789abcdef";
    std::string out;
    for (unsigned i = 0; i < length; ++i) {
        out += digits[digest[i] >> 4];
        out += digits[digest[i] & 15];
    }
    return out;
}

result<void> tidy_definition(json& definition) {
    if (!definition.is_object()) return refuse("an entry that is no object");
    for (auto it = definition.begin(); it != definition.end();) it = it->is_null() ? definition.erase(it) : std::next(it);
    static constexpr std::pair<const char*, const char*> types[] = {
        {"name", "string"}, {"title", "string"}, {"description", "string"}, {"mimeType", "string"}, {"uri", "string"}, {"uriTemplate", "string"}, {"size", "number"},
        {"icons", "array"}, {"arguments", "array"}, {"annotations", "object"}, {"_meta", "object"}, {"inputSchema", "object"}, {"outputSchema", "object"}};
    for (const auto& [key, type] : types)
        if (const auto it = definition.find(key); it != definition.end() && std::string_view(it->type_name()) != type)
            return refuse(std::string("its ") + key + " is no " + type);
    if (!definition.contains("name")) return refuse("an entry without a name");
    for (const json& argument : member(definition, "arguments"))
        if (!member(argument, "name").is_string()) return refuse("an argument without a name");
    if (const auto schema = definition.find("inputSchema"); schema != definition.end()) {
        json& type = (*schema)["type"];
        if (type.is_null()) type = "object";
        if (type != "object") return refuse("an inputSchema that is not of an object");
    }
    return {};
}

result<void> check_tool(const json& definition) {
    if (!definition.is_object()) return refuse("a tool definition is an object");
    const json& name = member(definition, "name");
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) return refuse("a tool without a name");
    const auto& text = name.get_ref<const std::string&>();
    if (text.size() > max_tool_name_bytes) return refuse("a tool name longer than " + std::to_string(max_tool_name_bytes) + " bytes");
    for (unsigned char c : text)
        if (c < 0x20 || c == 0x7f) return refuse("a tool name with control characters");
    const json& schema = member(definition, "inputSchema");
    if (!schema.is_object()) return refuse("a tool without an inputSchema object");
    if (dump(definition).size() > max_definition_bytes)
        return refuse("a definition longer than " + std::to_string(max_definition_bytes) + " bytes");
    header_walk walk;
    return walk.schema(schema, true);
}

}  // namespace holdfast::mcp
