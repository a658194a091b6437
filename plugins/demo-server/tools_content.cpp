// Tools with fixed names and fixed answers: the ones the official conformance scenarios call.
#include "catalogue.hpp"

namespace holdfast::demo {

const char* const sample_png_base64 =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const char* const sample_wav_base64 = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

namespace {

using namespace std::chrono_literals;

const char* const no_arguments = R"({"type": "object", "properties": {}})";

tool make(const char* name, const char* title, const char* description, std::function<outcome(call&)> run,
          bool blocking = false, const char* schema = no_arguments) {
    return {{{"name", name},
             {"title", title},
             {"description", description},
             {"inputSchema", json::parse(schema)},
             {"annotations",
              {{"title", title}, {"readOnlyHint", true}, {"destructiveHint", false}, {"idempotentHint", true}, {"openWorldHint", false}}}},
            blocking,
            std::move(run)};
}

tool trigger(const char* name, const char* title, const char* description, effect then) {
    tool entry = make(name, title, description, [](call&) -> outcome { return text_result("Mutation triggered"); });
    entry.definition["annotations"]["readOnlyHint"] = false;
    entry.definition["annotations"]["idempotentHint"] = false;
    entry.then = then;
    return entry;
}

json content(std::initializer_list<json> blocks) { return {{"content", json(json::array_t(blocks))}}; }
json image() { return {{"type", "image"}, {"data", sample_png_base64}, {"mimeType", "image/png"}}; }
json resource(const char* uri, const char* mime, const char* text) {
    return {{"type", "resource"}, {"resource", {{"uri", uri}, {"mimeType", mime}, {"text", text}}}};
}

outcome log_three_times(call& c) {
    c.log("info", "Tool execution started");
    if (!c.wait(50ms)) return c.interrupted();
    c.log("info", "Tool processing data");
    if (!c.wait(50ms)) return c.interrupted();
    c.log("info", "Tool execution completed");
    return text_result("Tool with logging executed successfully");
}

outcome progress_in_three_steps(call& c) {
    for (const int done : {0, 50, 100}) {
        if (done > 0 && !c.wait(50ms)) return c.interrupted();
        c.progress(done, 100, "Completed step " + std::to_string(done) + " of 100");
    }
    if (!c.wait(10ms)) return c.interrupted();  // see slow(): some clients lose a report that arrives with the answer
    const json& token = c.progress_token();
    return text_result(token.is_null() ? "Done; nobody asked for progress"
                                       : token.is_string() ? token.get<std::string>() : dump(token));
}

/// allOf/anyOf/if/then/else of the schema below, in words. Its flat part was checked before.
outcome accept_contact(call& c) {
    const json& a = c.arguments();
    const bool by_phone = string_or(a, "contactMethod") == "phone";
    // A call without any argument only shows that the schema survived tools/list; the scenario makes it.
    if (!a.empty() && !a.contains(by_phone ? "phone" : "email"))
        return text_result(std::string("argument '") + (by_phone ? "phone" : "email") + "' is missing", true);
    return text_result("JSON Schema 2020-12 tool called with: " + dump(a));
}

const char* const contact_schema = R"({
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "$defs": {"address": {"$anchor": "addressDef", "type": "object",
    "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
  "properties": {
    "name": {"type": "string"},
    "address": {"$ref": "#/$defs/address"},
    "contactMethod": {"type": "string", "enum": ["phone", "email"]},
    "phone": {"type": "string"},
    "email": {"type": "string"}},
  "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
  "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
  "then": {"required": ["phone"]},
  "else": {"required": ["email"]},
  "additionalProperties": false})";

}  // namespace

std::vector<tool> content_tools() {
    std::vector<tool> list;
    list.push_back(make("test_simple_text", "Simple text", "Returns one text block.", [](call&) -> outcome {
        return text_result("This is a simple text response for testing.");
    }));
    list.push_back(make("test_image_content", "Image", "Returns a PNG image of one pixel.",
                        [](call&) -> outcome { return content({image()}); }));
    list.push_back(make("test_audio_content", "Audio", "Returns a WAV file.", [](call&) -> outcome {
        return content({{{"type", "audio"}, {"data", sample_wav_base64}, {"mimeType", "audio/wav"}}});
    }));
    list.push_back(make("test_embedded_resource", "Embedded resource", "Returns a resource inside the result.",
                        [](call&) -> outcome {
                            return content({resource("test://embedded-resource", "text/plain",
                                                     "This is an embedded resource content.")});
                        }));
    list.push_back(make("test_multiple_content_types", "Several kinds of content", "Returns text, an image and a resource.",
                        [](call&) -> outcome {
                            return content({text_block("Multiple content types test:"), image(),
                                            resource("test://mixed-content-resource", "application/json",
                                                     R"({"test":"data","value":123})")});
                        }));
    list.push_back(make("test_error_handling", "Error", "Always ends in a tool execution error.", [](call&) -> outcome {
        return text_result("This tool intentionally returns an error for testing", true);
    }));
    list.push_back(make("test_tool_with_logging", "Logging", "Sends three log messages, 50 ms apart.", log_three_times, true));
    list.push_back(make("test_tool_with_progress", "Progress", "Reports progress 0, 50 and 100 of 100.",
                        progress_in_three_steps, true));
    list.push_back(make("test_logging_tool", "Logging on request", "Sends one log message if the request asks for logs.",
                        [](call& c) -> outcome {
                            c.log("info", "Diagnostic trace logging activated");
                            return text_result("Logging evaluated");
                        }));
    list.push_back(make("test_reconnection", "Reconnection",
                        "Answers after 100 ms; a gateway in front of this server may close its stream meanwhile.",
                        [](call& c) -> outcome {
                            if (!c.wait(100ms)) return c.interrupted();
                            return text_result("Reconnection test completed successfully. If you received this, the client "
                                               "properly reconnected after stream closure.");
                        },
                        true));
    list.push_back(make("test_custom_header", "Parameter as header",
                        "Returns its region; Streamable HTTP clients mirror that parameter in a header.",
                        [](call& c) -> outcome { return text_result("Region: " + string_or(c.arguments(), "region", "none")); },
                        false, R"({"type": "object", "properties": {
                                     "region": {"type": "string", "description": "Any text", "x-mcp-header": "Region"}}})"));
    list.push_back(make("json_schema_2020_12_tool", "JSON Schema 2020-12",
                        "Takes contact details; its schema uses the vocabulary of JSON Schema 2020-12.", accept_contact, false,
                        contact_schema));
    list.push_back(trigger("test_trigger_tool_change", "Change the tool list",
                           "Adds or removes the tool test_dynamic_tool and announces it.", effect::toggle_tool));
    list.push_back(trigger("test_trigger_prompt_change", "Change the prompt list",
                           "Adds or removes the prompt test_dynamic_prompt and announces it.", effect::toggle_prompt));
    list.push_back(trigger("test_trigger_resource_change", "Change the watched resource",
                           "Changes test://watched-resource and announces it to its subscribers.", effect::touch_resource));
    return list;
}

tool dynamic_tool() {
    return make("test_dynamic_tool", "Dynamic tool", "Appears and disappears with test_trigger_tool_change.",
                [](call&) -> outcome { return text_result("This tool was not always here."); });
}

}  // namespace holdfast::demo
