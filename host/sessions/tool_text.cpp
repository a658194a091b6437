#include "sessions/tool_text.hpp"

namespace holdfast::sessions {

json error_result(std::string_view text) {
    return {{"content", json::array({{{"type", "text"}, {"text", text}}})}, {"isError", true}};
}

std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes) noexcept {
    if (text.size() <= max_bytes) return text;
    std::size_t n = max_bytes;
    while (n > 0 && (static_cast<unsigned char>(text[n]) & 0xC0) == 0x80) --n;
    return text.substr(0, n);
}

std::string result_text(const json& outcome, std::size_t max_bytes) {
    std::string out;
    const auto line = [&](std::string_view text) {
        if (!out.empty()) out += '\n';
        out += text;
    };
    for (const json& part : member(outcome, "content")) {
        const std::string type = string_or(part, "type");
        if (type == "text") line(string_or(part, "text"));
        else if (type == "resource") {
            const json& r = member(part, "resource");
            const std::string text = string_or(r, "text");
            line(text.empty() ? "[resource " + string_or(r, "uri") + "]" : text);
        } else if (type == "resource_link") line("[link " + string_or(part, "uri") + "]");
        else line("[" + type + " " + string_or(part, "mimeType") + ", " + std::to_string(string_or(part, "data").size()) + " base64 characters]");
    }
    if (out.empty() && outcome.is_object() && outcome.contains("structuredContent")) out = dump(outcome["structuredContent"]);
    if (out.size() > max_bytes) {
        const std::size_t all = out.size();
        out = std::string(utf8_prefix(out, max_bytes)) + "\n[cut: " + std::to_string(all) + " bytes in all]";
    }
    return out;
}

json bounded_result(const json& outcome, std::size_t max_bytes) {
    if (dump(outcome).size() <= max_bytes) return outcome;
    json short_one{{"content", json::array({{{"type", "text"}, {"text", result_text(outcome, max_bytes / 2)}}})}};
    if (bool_or(outcome, "isError", false)) short_one["isError"] = true;
    return short_one;
}

}  // namespace holdfast::sessions
