#include "sessions/sampling.hpp"

#include <algorithm>

#include "sessions/tool_text.hpp"

namespace holdfast::sessions {
namespace {

constexpr std::size_t max_shown_text = 1'000;     // bytes of one message, or of the system prompt, in a question
constexpr std::size_t max_shown_messages = 8;     // the newest ones
constexpr std::size_t max_messages = 1'000;
constexpr std::size_t max_hints = 8;
constexpr std::size_t max_shown_hint = 100;       // bytes
constexpr std::size_t max_stops = 16;

unexpected<error> wrong(std::string why) { return fail(errc::invalid_argument, std::move(why)); }

/// One block as a part of a chat message, and as words for the question.
result<json> part_of(const json& block, std::string& words) {
    const std::string type = string_or(block, "type");
    const auto line = [&](std::string_view text) { words += (words.empty() ? "" : "\n") + std::string(text); };
    if (type == "text" && member(block, "text").is_string()) {
        line(string_or(block, "text"));
        return json{{"type", "text"}, {"text", block["text"]}};
    }
    if (type == "image" && member(block, "data").is_string()) {
        line("[image " + string_or(block, "mimeType") + ", " + std::to_string(string_or(block, "data").size()) + " base64 characters]");
        return json{{"type", "image"}, {"media_type", string_or(block, "mimeType")}, {"data", block["data"]}};
    }
    if (type == "tool_use" || type == "tool_result") return wrong("tools in sampling are not supported by this client");
    return wrong(type == "audio" ? "the models of this client do not take audio" : "a message holds content that is neither text nor an image");
}

}  // namespace

std::string shortened(std::string_view text, std::size_t max_bytes) {
    if (text.size() <= max_bytes) return std::string(text);
    const std::string_view kept = utf8_prefix(text, max_bytes);
    return std::string(kept) + "… [" + std::to_string(text.size() - kept.size()) + " bytes more]";
}

result<sampling_request> read_sampling(const json& params, std::int64_t most_tokens) {
    if (params.contains("tools") || params.contains("toolChoice")) return wrong("tools in sampling are not supported by this client");
    const json& messages = member(params, "messages");
    if (!messages.is_array() || messages.empty()) return wrong("messages is missing or empty");
    if (messages.size() > max_messages) return wrong("there are more than " + std::to_string(max_messages) + " messages");
    const json& wanted = member(params, "maxTokens");
    if (!wanted.is_number_integer() || int_or(params, "maxTokens", 0) < 1) return wrong("maxTokens is missing or not a positive integer");
    const std::int64_t tokens = most_tokens > 0 ? std::min(most_tokens, int_or(params, "maxTokens", 0)) : int_or(params, "maxTokens", 0);

    sampling_request out;
    json chat = json::array(), shown = json::array();
    for (const json& m : messages) {
        const std::string role = string_or(m, "role");
        if (role != "user" && role != "assistant") return wrong("the role of a message is neither user nor assistant");
        const json& content = member(m, "content");
        json parts = json::array();
        std::string words;
        for (const json& block : content.is_array() ? content : json::array({content})) {
            auto part = part_of(block, words);
            if (!part) return unexpected<error>(part.error());
            parts.push_back(std::move(*part));
        }
        chat.push_back({{"role", role}, {"content", std::move(parts)}});
        if (messages.size() - chat.size() < max_shown_messages) shown.push_back({{"role", role}, {"text", shortened(words, max_shown_text)}});
    }
    out.body = {{"messages", std::move(chat)}, {"tools", json::array()}, {"max_tokens", tokens}};
    out.shown = {{"messages", std::move(shown)}, {"max_tokens", tokens}};
    if (messages.size() > max_shown_messages) out.shown["earlier_messages"] = messages.size() - max_shown_messages;
    if (const std::string system = string_or(params, "systemPrompt"); !system.empty()) {
        out.body["system"] = system;
        out.shown["system_prompt"] = shortened(system, max_shown_text);
    }
    if (const json& t = member(params, "temperature"); t.is_number()) out.body["temperature"] = t;
    for (const json& hint : member(member(params, "modelPreferences"), "hints")) {
        const std::string name = string_or(hint, "name");
        if (name.empty() || out.hints.size() >= max_hints) continue;
        out.hints.push_back(name);
        out.shown["model_hints"].push_back(shortened(name, max_shown_hint));
    }
    if (const json& stops = member(params, "stopSequences"); stops.is_array())
        for (const json& s : stops)
            if (s.is_string() && !s.get_ref<const std::string&>().empty() && out.stops.size() < max_stops) out.stops.push_back(s.get<std::string>());
    return out;
}

result<json> sampling_result(const sampling_request& request, const json& chat_result) {
    const std::string stop = string_or(chat_result, "stop_reason", "other");
    if (stop == "refusal") return fail(errc::server_error, "the model refused to answer");
    std::string text;
    for (const json& part : member(chat_result, "content"))
        if (string_or(part, "type") == "text") text += string_or(part, "text");
    if (text.empty()) return fail(errc::server_error, "the model said nothing (" + stop + ")");
    // No adapter takes stop sequences: what follows the first of them is cut off here.
    std::size_t end = std::string::npos;
    for (const std::string& s : request.stops) end = std::min(end, text.find(s));
    const bool stopped = end != std::string::npos;
    if (stopped) text.erase(end);
    std::string model = string_or(chat_result, "model");
    if (model.empty()) model = string_or(chat_result, "adapter", "unknown");
    json out{{"role", "assistant"}, {"content", {{"type", "text"}, {"text", std::move(text)}}}, {"model", std::move(model)}};
    if (stopped) out["stopReason"] = "stopSequence";
    else if (stop == "end_turn") out["stopReason"] = "endTurn";
    else if (stop == "max_tokens") out["stopReason"] = "maxTokens";
    return out;
}

}  // namespace holdfast::sessions
