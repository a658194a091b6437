// Tools that ask the client something on the way. Each runs in both eras: call::ask hides how the question travels.
#include "catalogue.hpp"

namespace holdfast::demo {

json elicit(const std::string& key, const std::string& message, json properties, json required) {
    return {{key,
             {{"method", "elicitation/create"},
              {"params",
               {{"message", message},
                {"requestedSchema",
                 {{"type", "object"}, {"properties", std::move(properties)}, {"required", std::move(required)}}}}}}}};
}

namespace {

json sample(const std::string& key, const std::string& prompt, int max_tokens) {
    return {{key,
             {{"method", "sampling/createMessage"},
              {"params",
               {{"messages", json::array({{{"role", "user"}, {"content", text_block(prompt)}}})},
                {"maxTokens", max_tokens}}}}}};
}

json roots(const std::string& key) { return {{key, {{"method", "roots/list"}, {"params", json::object()}}}}; }

/// One string of an accepted form.
std::string field(const json& answers, const char* key, const char* name) {
    return string_or(member(member(answers, key), "content"), name, "unknown");
}

/// The text of a sampled message, whose content is a block or an array of blocks.
std::string sampled_text(const json& answers, const char* key) {
    const json& content = member(member(answers, key), "content");
    if (content.is_object()) return string_or(content, "text", "No response");
    for (const auto& block : content)
        if (block.contains("text")) return string_or(block, "text");
    return "No response";
}

std::string told(const json& answer) {
    return "action=" + string_or(answer, "action") +
           ", content=" + dump(answer.contains("content") ? answer["content"] : json::object());
}

tool make(const char* name, const char* title, const char* description, std::function<outcome(call&)> run,
          const char* schema = R"({"type": "object", "properties": {}})") {
    return {{{"name", name},
             {"title", title},
             {"description", description},
             {"inputSchema", json::parse(schema)},
             {"annotations",
              {{"title", title}, {"readOnlyHint", true}, {"destructiveHint", false}, {"idempotentHint", true}, {"openWorldHint", true}}}},
            true,
            std::move(run)};
}

const json one_string = {{"type", "string"}};
const json one_bool = {{"type", "boolean"}};

outcome ask_name(call& c) {
    const auto greeting = string_or(c.arguments(), "greeting", "Hello");
    auto answers = c.ask(elicit("name", "What is your name?",
                                {{"name", {{"type", "string"}, {"title", "Name"}, {"description", "How to greet you"}, {"minLength", 1}, {"maxLength", 100}}}},
                                {"name"}));
    if (!answers) return answers;
    const json& answer = (*answers)["name"];
    const auto action = string_or(answer, "action");
    if (action == "decline") return text_result("You would rather not say. " + greeting + " anyway!");
    if (action == "cancel") return text_result("The question was dismissed, so there is nobody to greet.");
    return text_result(greeting + ", " + string_or(member(answer, "content"), "name", "whoever you are") + "!");
}

outcome capabilities(call& c) {
    json wanted = json::object();
    if (c.can_ask("elicitation/create"))
        wanted.update(elicit("elicit_input", "Elicitation input", {{"value", one_string}}, {"value"}));
    if (c.can_ask("sampling/createMessage")) wanted.update(sample("sample_input", "Sample request", 50));
    if (wanted.empty()) return text_result("No supported capabilities declared");
    auto answers = c.ask(wanted, call::memory::sealed);
    if (!answers) return answers;
    std::string keys;
    for (const auto& [key, unused] : answers->items()) keys += (keys.empty() ? "" : ",") + key;
    return text_result("capabilities-ok: received " + keys);
}

outcome confirm(call& c, const char* good) {
    auto answers = c.ask(elicit("confirm", "Please confirm", {{"ok", one_bool}}, {"ok"}), call::memory::sealed);
    if (!answers) return answers;
    if (!bool_or(member((*answers)["confirm"], "content"), "ok", false)) return text_result("Not confirmed");
    return text_result(good);
}

outcome several_inputs(call& c) {
    json wanted = elicit("user_name", "What is your name?", {{"name", one_string}}, {"name"});
    wanted.update(sample("greeting", "Generate a greeting", 50));
    wanted.update(roots("client_roots"));
    auto answers = c.ask(wanted, call::memory::sealed);
    if (!answers) return answers;
    return text_result("Name: " + field(*answers, "user_name", "name") + "; Greeting: " + sampled_text(*answers, "greeting") +
                       "; Roots: " + std::to_string((*answers)["client_roots"]["roots"].size()));
}

outcome two_rounds(call& c) {
    auto first = c.ask(elicit("step1", "Step 1: What is your name?", {{"name", one_string}}, {"name"}), call::memory::sealed);
    if (!first) return first;
    auto second =
        c.ask(elicit("step2", "Step 2: What is your favorite color?", {{"color", one_string}}, {"color"}), call::memory::sealed);
    if (!second) return second;
    return text_result("Multi-round complete for " + field(*first, "step1", "name") + " who likes " +
                       field(*second, "step2", "color"));
}

const char* const defaults_form = R"({
  "name": {"type": "string", "description": "User name", "default": "John Doe"},
  "age": {"type": "integer", "description": "User age", "default": 30},
  "score": {"type": "number", "description": "User score", "default": 95.5},
  "status": {"type": "string", "description": "User status", "enum": ["active", "inactive", "pending"], "default": "active"},
  "verified": {"type": "boolean", "description": "Verification status", "default": true}})";

const char* const enums_form = R"json({
  "untitledSingle": {"type": "string", "description": "Select one option", "enum": ["option1", "option2", "option3"]},
  "titledSingle": {"type": "string", "description": "Select one option with titles", "oneOf": [
    {"const": "value1", "title": "First Option"}, {"const": "value2", "title": "Second Option"},
    {"const": "value3", "title": "Third Option"}]},
  "legacyEnum": {"type": "string", "description": "Select one option (legacy)", "enum": ["opt1", "opt2", "opt3"],
    "enumNames": ["Option One", "Option Two", "Option Three"]},
  "untitledMulti": {"type": "array", "description": "Select multiple options", "minItems": 1, "maxItems": 3,
    "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
  "titledMulti": {"type": "array", "description": "Select multiple options with titles", "minItems": 1, "maxItems": 3,
    "items": {"anyOf": [{"const": "value1", "title": "First Choice"}, {"const": "value2", "title": "Second Choice"},
      {"const": "value3", "title": "Third Choice"}]}}})json";

outcome form(call& c, const char* message, const char* properties) {
    auto answers = c.ask(elicit("form", message, json::parse(properties), json::array()));
    if (!answers) return answers;
    return text_result("Elicitation completed: " + told((*answers)["form"]));
}

}  // namespace

std::vector<tool> interactive_tools() {
    std::vector<tool> list;
    list.push_back(make("ask_name", "Ask for a name", "Asks the user for a name and greets them.", ask_name,
                        R"({"type": "object", "properties": {
                              "greeting": {"type": "string", "description": "The word to greet with", "default": "Hello", "maxLength": 100}},
                            "additionalProperties": false})"));
    list.push_back(make("test_sampling", "Sampling", "Asks the client's model and returns its answer.",
                        [](call& c) -> outcome {
                            auto answers = c.ask(sample("sampling", string_or(c.arguments(), "prompt"), 100));
                            if (!answers) return answers;
                            return text_result("LLM response: " + sampled_text(*answers, "sampling"));
                        },
                        R"({"type": "object", "properties": {
                              "prompt": {"type": "string", "description": "The prompt to send to the LLM"}}, "required": ["prompt"]})"));
    list.push_back(make("test_elicitation", "Elicitation", "Asks the user for a user name and an e-mail address.",
                        [](call& c) -> outcome {
                            auto answers = c.ask(elicit("elicitation", string_or(c.arguments(), "message"),
                                                        {{"username", {{"type", "string"}, {"description", "User's response"}}},
                                                         {"email", {{"type", "string"}, {"description", "User's email address"}}}},
                                                        {"username", "email"}));
                            if (!answers) return answers;
                            return text_result("User response: " + told((*answers)["elicitation"]));
                        },
                        R"({"type": "object", "properties": {
                              "message": {"type": "string", "description": "The message to show the user"}}, "required": ["message"]})"));
    list.push_back(make("test_elicitation_sep1034_defaults", "Form with defaults", "Asks with a default for every primitive type.",
                        [](call& c) { return form(c, "Please review and update the form fields with defaults", defaults_form); }));
    list.push_back(make("test_elicitation_sep1330_enums", "Form with choices", "Asks with all five kinds of enumerations.",
                        [](call& c) { return form(c, "Please select options from the enum fields", enums_form); }));
    list.push_back(make("test_missing_capability", "Needs sampling", "Refuses clients that did not declare sampling.",
                        [](call& c) -> outcome {
                            if (c.can_ask("sampling/createMessage")) return text_result("Success");
                            // Never sent: ask() refuses with the error that names the capability.
                            return c.ask(sample("unused", "unused", 1));
                        }));
    list.push_back(make("test_streaming_elicitation", "Progress, then a question", "Reports progress and then asks for input.",
                        [](call& c) -> outcome {
                            c.progress(50, 100, "Halfway");
                            // See slow(): some clients lose a report that arrives with the answer.
                            if (!c.wait(std::chrono::milliseconds(10))) return c.interrupted();
                            auto answers = c.ask(elicit("value", "Please enter a value", {{"value", one_string}}, {"value"}));
                            if (!answers) return answers;
                            return text_result("Streaming complete");
                        }));
    list.push_back(make("test_input_required_result_elicitation", "Input: a form", "Asks for the user's name.", [](call& c) -> outcome {
        auto answers = c.ask(elicit("user_name", "What is your name?", {{"name", one_string}}, {"name"}));
        if (!answers) return answers;
        return text_result("Hello, " + field(*answers, "user_name", "name") + "!");
    }));
    list.push_back(make("test_input_required_result_sampling", "Input: sampling", "Asks the client's model for a capital.", [](call& c) -> outcome {
        auto answers = c.ask(sample("capital_question", "What is the capital of France?", 100));
        if (!answers) return answers;
        return text_result("Sampling result: " + sampled_text(*answers, "capital_question"));
    }));
    list.push_back(make("test_input_required_result_list_roots", "Input: roots", "Asks for the client's roots.", [](call& c) -> outcome {
        auto answers = c.ask(roots("client_roots"));
        if (!answers) return answers;
        std::string names;
        for (const auto& root : (*answers)["client_roots"]["roots"]) names += " " + string_or(root, "uri");
        return text_result("Found " + std::to_string((*answers)["client_roots"]["roots"].size()) + " root(s)" + names);
    }));
    list.push_back(make("test_input_required_result_request_state", "Input: with state", "Asks once and checks the state it handed out.",
                        [](call& c) { return confirm(c, "state-ok: requestState validated"); }));
    list.push_back(make("test_input_required_result_tampered_state", "Input: sealed state", "Refuses a state that was changed on the way.",
                        [](call& c) { return confirm(c, "integrity-ok: state verified"); }));
    list.push_back(make("test_input_required_result_multiple_inputs", "Input: three kinds", "Asks for a name, a sampled greeting and the roots at once.",
                        several_inputs));
    list.push_back(make("test_input_required_result_multi_round", "Input: two rounds", "Asks for a name, then for a color.", two_rounds));
    list.push_back(make("test_input_required_result_capabilities", "Input: what the client can", "Asks only what the client declared.",
                        capabilities));
    return list;
}

}  // namespace holdfast::demo
