// Prompts. Names and texts are those the official conformance scenarios ask for.
#include "catalogue.hpp"

namespace holdfast::demo {
namespace {

json user(json content) { return {{"role", "user"}, {"content", std::move(content)}}; }
json messages(std::initializer_list<json> list) { return {{"messages", json(json::array_t(list))}}; }

prompt make(const char* definition, std::function<outcome(call&)> get, bool blocking = false) {
    return {json::parse(definition), blocking, std::move(get)};
}

}  // namespace

std::vector<prompt> all_prompts() {
    std::vector<prompt> list;
    list.push_back(make(R"({"name": "test_simple_prompt", "title": "Simple prompt",
                            "description": "A prompt without arguments."})",
                        [](call&) -> outcome { return messages({user(text_block("This is a simple prompt for testing."))}); }));
    list.push_back(make(R"({"name": "test_prompt_with_arguments", "title": "Prompt with arguments",
                            "description": "A prompt with two required arguments.", "arguments": [
                              {"name": "arg1", "description": "First test argument", "required": true},
                              {"name": "arg2", "description": "Second test argument", "required": true}]})",
                        [](call& c) -> outcome {
                            return messages({user(text_block("Prompt with arguments: arg1='" + string_or(c.arguments(), "arg1") +
                                                             "', arg2='" + string_or(c.arguments(), "arg2") + "'"))});
                        }));
    list.push_back(make(R"({"name": "test_prompt_with_embedded_resource", "title": "Prompt with a resource",
                            "description": "A prompt that embeds a resource.", "arguments": [
                              {"name": "resourceUri", "description": "URI of the resource to embed", "required": true}]})",
                        [](call& c) -> outcome {
                            const json embedded = {{"uri", string_or(c.arguments(), "resourceUri")},
                                                   {"mimeType", "text/plain"},
                                                   {"text", "Embedded resource content for testing."}};
                            return messages({user({{"type", "resource"}, {"resource", embedded}}),
                                             user(text_block("Please process the embedded resource above."))});
                        }));
    list.push_back(make(R"({"name": "test_prompt_with_image", "title": "Prompt with an image",
                            "description": "A prompt that contains an image."})",
                        [](call&) -> outcome {
                            return messages({user({{"type", "image"}, {"data", sample_png_base64}, {"mimeType", "image/png"}}),
                                             user(text_block("Please analyze the image above."))});
                        }));
    list.push_back(make(R"({"name": "test_input_required_result_prompt", "title": "Prompt that asks",
                            "description": "Asks the user for the context the prompt shall use."})",
                        [](call& c) -> outcome {
                            auto answers = c.ask(elicit("user_context", "What context should the prompt use?",
                                                        {{"context", {{"type", "string"}}}}, {"context"}));
                            if (!answers) return answers;
                            const json& answer = (*answers)["user_context"];
                            const auto context = string_or(answer, "action") == "accept"
                                                     ? string_or(member(answer, "content"), "context", "unknown")
                                                     : "none given";
                            return messages({user(text_block("Prompt with context: " + context))});
                        },
                        true));
    return list;
}

prompt dynamic_prompt() {
    return make(R"({"name": "test_dynamic_prompt", "title": "Dynamic prompt",
                    "description": "Appears and disappears with test_trigger_prompt_change."})",
                [](call&) -> outcome { return messages({user(text_block("This prompt was not always here."))}); });
}

}  // namespace holdfast::demo
