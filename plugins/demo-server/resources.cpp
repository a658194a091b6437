// Resources and argument completion. Names and contents are those the official conformance scenarios ask for.
#include "catalogue.hpp"

namespace holdfast::demo {
namespace {

constexpr std::string_view template_head = "test://template/";
constexpr std::string_view template_tail = "/data";

/// The {id} of test://template/{id}/data, or empty.
std::string_view template_id(std::string_view uri) {
    if (uri.size() <= template_head.size() + template_tail.size() || uri.substr(0, template_head.size()) != template_head ||
        uri.substr(uri.size() - template_tail.size()) != template_tail)
        return {};
    const auto id = uri.substr(template_head.size(), uri.size() - template_head.size() - template_tail.size());
    return id.find('/') == std::string_view::npos ? id : std::string_view{};
}

json contents(std::string_view uri, const char* mime, const char* field, std::string value) {
    return json::array({{{"uri", uri}, {"mimeType", mime}, {field, std::move(value)}}});
}

}  // namespace

json catalogue::list_resources() {
    static const json list = json::parse(R"([
      {"uri": "test://static-text", "name": "static-text", "title": "Static text", "mimeType": "text/plain",
       "description": "A text that never changes."},
      {"uri": "test://static-binary", "name": "static-binary", "title": "Static binary", "mimeType": "image/png",
       "description": "A PNG image of one red pixel."},
      {"uri": "test://watched-resource", "name": "watched-resource", "title": "Watched resource",
       "mimeType": "text/plain", "description": "Changes when the tool test_trigger_resource_change is called."},
      {"uri": "test://example-resource", "name": "example-resource", "title": "Example resource",
       "mimeType": "text/plain", "description": "A text for prompts that embed a resource."}])");
    return list;
}

json catalogue::list_templates() {
    static const json list = json::parse(R"([
      {"uriTemplate": "test://template/{id}/data", "name": "template", "title": "Data by id",
       "mimeType": "application/json", "description": "A JSON document that repeats the id it was asked for."}])");
    return list;
}

bool catalogue::has_resource(std::string_view uri) {
    static const json list = list_resources();
    for (const auto& entry : list)
        if (string_or(entry, "uri") == uri) return true;
    return !template_id(uri).empty();
}

json catalogue::read_resource(std::string_view uri) const {
    if (uri == "test://static-text")
        return contents(uri, "text/plain", "text", "This is the content of the static text resource.");
    if (uri == "test://static-binary") return contents(uri, "image/png", "blob", sample_png_base64);
    if (uri == watched_resource)
        return contents(uri, "text/plain", "text", "Watched resource content, revision " + std::to_string(revision_));
    if (uri == "test://example-resource")
        return contents(uri, "text/plain", "text", "This is the content of the example resource.");
    if (const auto id = template_id(uri); !id.empty())
        return contents(uri, "application/json", "text",
                        dump({{"id", id}, {"templateTest", true}, {"data", "Data for ID: " + std::string(id)}}));
    return nullptr;
}

std::optional<json> catalogue::complete(const json& ref, std::string_view argument, std::string_view typed) const {
    static const json words = json::parse(R"(["paris", "park", "party", "test", "test-two", "tester"])");
    static const json ids = json::parse(R"(["1", "12", "123", "42"])");
    static const json uris = json::parse(R"(["test://example-resource", "test://static-text"])");
    const json* from = nullptr;
    const auto type = string_or(ref, "type");
    if (type == "ref/prompt") {
        const auto* entry = find_prompt(string_or(ref, "name"));
        if (!entry) return std::nullopt;
        for (const auto& known : member(entry->definition, "arguments"))
            if (string_or(known, "name") == argument) from = argument == "resourceUri" ? &uris : &words;
    } else if (type == "ref/resource") {
        if (string_or(ref, "uri") != "test://template/{id}/data") return std::nullopt;
        if (argument == "id") from = &ids;
    } else {
        return std::nullopt;
    }
    json values = json::array();
    if (from)
        for (const auto& value : *from)
            if (value.get_ref<const std::string&>().rfind(typed, 0) == 0) values.push_back(value);
    const auto total = values.size();
    return json{{"values", std::move(values)}, {"total", total}, {"hasMore", false}};
}

}  // namespace holdfast::demo
