#include "llm-demo/answer.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "llm-demo/clauses.hpp"
#include "llm-demo/intents.hpp"

namespace llm_demo {
namespace {

std::string text_of(const json& o, const char* key) {
    if (!o.is_object()) return {};
    const auto it = o.find(key);
    return it != o.end() && it->is_string() ? it->get<std::string>() : std::string();
}

const json& list_of(const json& o, const char* key) {
    static const json none = json::array();
    if (!o.is_object()) return none;
    const auto it = o.find(key);
    return it != o.end() && it->is_array() ? *it : none;
}

std::string message_text(const json& message) {
    std::string out;
    for (const json& part : list_of(message, "content"))
        if (text_of(part, "type") == "text") out += text_of(part, "text");
    return out;
}

/// Names of the tools the model called, by id.
std::map<std::string, std::string> called(const json& messages) {
    std::map<std::string, std::string> out;
    for (const json& m : messages)
        for (const json& part : list_of(m, "content"))
            if (text_of(part, "type") == "tool_use") out[text_of(part, "id")] = base_name(text_of(part, "name"));
    return out;
}

std::string report(const json& results, const std::map<std::string, std::string>& names) {
    std::string out;
    for (const json& part : list_of(results, "content")) {
        if (text_of(part, "type") != "tool_result") continue;
        const auto it = names.find(text_of(part, "tool_use_id"));
        const std::string name = it == names.end() ? "the tool" : it->second;
        const bool bad = part.contains("is_error") && part["is_error"] == json(true);
        const std::string text(trim(text_of(part, "text")));
        if (!out.empty()) out += "\n\n";
        out += bad ? "The tool " + name + " did not succeed: " : "Here is what " + name + " returned: ";
        out += text.empty() ? "(nothing)" : text;
    }
    return out.empty() ? "The tools returned nothing." : out;
}

std::string story(std::int64_t words) {
    static constexpr std::array<std::string_view, 24> text{"Once", "upon", "a", "time", "a", "small", "host", "kept", "its", "plugins", "safe", "through",
                                                           "every", "storm,", "and", "when", "one", "of", "them", "fell", "it", "was", "started", "again."};
    std::string out;
    for (std::int64_t n = 0; n < words; ++n) {
        if (n > 0) out += n % static_cast<std::int64_t>(text.size()) == 0 ? '\n' : ' ';
        out += text[static_cast<std::size_t>(n) % text.size()];
    }
    return out;
}

std::string introduction(const json& tools) {
    std::string names;
    std::size_t shown = 0;
    for (const json& t : tools) {
        if (text_of(t, "name").find("test_") != std::string::npos) continue;
        if (++shown > 12) {
            names += ", …";
            break;
        }
        names += (names.empty() ? "" : ", ") + base_name(text_of(t, "name"));
    }
    return "Hello! I am Holdfast's demonstration model: I run offline, need no key, and only understand simple requests. Try: \"what time is it\", "
           "\"list files\", \"read file README.md\", \"echo hello\", \"add 2 and 3\", \"ask my name\", \"use TOOL with key=value\", \"call TOOL {json}\", "
           "or \"tell a long story of 200 words\". " +
           (names.empty() ? std::string("No tools are available in this session right now.") : "Tools I can call now: " + names + ".") +
           " For real answers, configure a real model.";
}

void act(answer& out, const intent& i, const json& tools, std::size_t history) {
    const auto say = [&](const std::string& s) { out.text += (out.text.empty() ? "" : " ") + s; };
    if (i.what == wish::story) return say(story(i.words));
    const json* tool = choose_tool(tools, i);
    if (!tool && i.what == wish::echo) return say(i.with.text);
    if (!tool)
        return say(i.what == wish::named_tool ? "There is no tool named " + i.tool + " in this session."
                                              : "I would use a tool to " + std::string(describe(i.what)) + ", but none is available in this session.");
    static const json no_schema = json::object();
    const auto found = tool->find("input_schema");
    const json& schema = found != tool->end() ? *found : no_schema;
    const bool typed = i.what == wish::named_tool && (i.arguments.find('=') != std::string::npos || (!i.arguments.empty() && i.arguments.front() == '{'));
    json input = typed ? explicit_arguments(i.arguments, schema) : fill(schema, i.with);
    // Deterministic, and new in every round of a conversation, because the history grows.
    out.calls.push_back({"demo_" + std::to_string(history) + "_" + std::to_string(out.calls.size() + 1), text_of(*tool, "name"), std::move(input)});
}

}  // namespace

answer answer_to(const json& request) {
    answer out;
    const json& messages = list_of(request, "messages");
    const json& tools = list_of(request, "tools");
    if (messages.empty()) {
        out.text = introduction(tools);
        return out;
    }
    if (text_of(messages.back(), "role") == "tool") {
        out.text = report(messages.back(), called(messages));
        return out;
    }
    std::string asked;
    for (const json& m : messages)
        if (text_of(m, "role") == "user") asked = message_text(m);
    for (const std::string& clause : clauses_of(asked, &is_request)) {
        const intent i = intent_of(clause);
        if (i.what != wish::none && out.calls.size() < max_calls) act(out, i, tools, messages.size());
    }
    if (out.calls.empty() && out.text.empty()) {
        // The bare name of a tool is a request, too.
        intent bare;
        bare.what = wish::named_tool;
        bare.tool = std::string(trim(asked));
        if (choose_tool(tools, bare)) act(out, bare, tools, messages.size());
        else out.text = introduction(tools);
    }
    if (!out.calls.empty() && out.text.empty()) {
        for (const tool_call& c : out.calls) out.text += (out.text.empty() ? "I will call " : " and ") + base_name(c.name);
        out.text += ".";
    }
    return out;
}

json chat_result(const answer& a, const json& request) {
    json content = json::array();
    if (!a.text.empty()) content.push_back({{"type", "text"}, {"text", a.text}});
    for (const tool_call& c : a.calls) content.push_back({{"type", "tool_use"}, {"id", c.id}, {"name", c.name}, {"input", c.input}});
    std::size_t read = 0;
    for (const json& m : list_of(request, "messages")) read += words_of(message_text(m)).size();
    return {{"model", model_name},
            {"stop_reason", a.calls.empty() ? "end_turn" : "tool_use"},
            {"content", std::move(content)},
            {"usage", {{"input_tokens", read}, {"output_tokens", words_of(a.text).size()}, {"cached_tokens", 0}}}};
}

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    std::size_t begin = 0;
    while (begin < text.size()) {
        auto end = text.find_first_of(" \n\t", begin);
        if (end != std::string_view::npos) end = text.find_first_not_of(" \n\t", end);
        out.emplace_back(text.substr(begin, end == std::string_view::npos ? end : end - begin));
        if (end == std::string_view::npos) break;
        begin = end;
    }
    return out;
}

}  // namespace llm_demo
