#include "llm-openai/chat_request.hpp"

#include "holdfast/status.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::llm_openai {
namespace {

constexpr std::size_t max_tool_name = 64;

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

std::string text_of(const json& o, const char* key) {
    if (!o.is_object()) return {};
    const auto it = o.find(key);
    return it != o.end() && it->is_string() ? it->get<std::string>() : std::string();
}
std::string dumped(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }

const json& parts_of(const json& message) {
    if (!message.is_object()) refuse("every message has to be an object");
    const auto it = message.find("content");
    if (it == message.end() || !it->is_array()) refuse("every message needs \"content\", an array of parts");
    for (const json& part : *it)
        if (!part.is_object()) refuse("every part of a message has to be an object");
    return *it;
}

json user_message(const json& parts) {
    bool plain = true;
    std::string joined;
    json list = json::array();
    for (const json& part : parts) {
        const std::string type = text_of(part, "type");
        if (type == "text") {
            const std::string t = text_of(part, "text");
            if (!joined.empty()) joined += '\n';
            joined += t;
            list.push_back({{"type", "text"}, {"text", t}});
        } else if (type == "image") {
            plain = false;
            list.push_back({{"type", "image_url"}, {"image_url", {{"url", "data:" + text_of(part, "media_type") + ";base64," + text_of(part, "data")}}}});
        }
    }
    return {{"role", "user"}, {"content", plain ? json(std::move(joined)) : std::move(list)}};
}

json assistant_message(const json& parts, tool_names& names) {
    std::string text;
    json calls = json::array();
    for (const json& part : parts) {
        const std::string type = text_of(part, "type");
        if (type == "text") text += text_of(part, "text");
        if (type != "tool_use") continue;
        const auto input = part.find("input");
        calls.push_back({{"id", text_of(part, "id")},
                         {"type", "function"},
                         {"function", {{"name", names.to_wire(text_of(part, "name"))},
                                       {"arguments", input != part.end() && input->is_object() ? dumped(*input) : "{}"}}}});
    }
    json out{{"role", "assistant"}, {"content", text.empty() && !calls.empty() ? json() : json(std::move(text))}};
    if (!calls.empty()) out["tool_calls"] = std::move(calls);
    return out;
}

void add_results(const json& parts, json& out) {
    for (const json& part : parts) {
        if (text_of(part, "type") != "tool_result") continue;
        std::string text = text_of(part, "text");
        const auto bad = part.find("is_error");
        // The format has no flag for a failed tool.
        if (bad != part.end() && *bad == json(true)) text = "Error: " + text;
        out.push_back({{"role", "tool"}, {"tool_call_id", text_of(part, "tool_use_id")}, {"content", std::move(text)}});
    }
}

}  // namespace

std::string tool_names::to_wire(const std::string& name) {
    if (const auto it = wire_.find(name); it != wire_.end()) return it->second;
    std::string wire;
    for (const char c : name) {
        const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        wire += fits ? c : '_';
    }
    if (wire.empty()) wire = "_";
    if (wire.size() > max_tool_name) wire.resize(max_tool_name);
    const std::string stem = wire;
    for (int n = 2; back_.count(wire); ++n) {
        const std::string tail = "_" + std::to_string(n);
        wire = stem.substr(0, max_tool_name - tail.size()) + tail;
    }
    wire_[name] = wire;
    back_[wire] = name;
    return wire;
}

std::string tool_names::from_wire(const std::string& name) const {
    const auto it = back_.find(name);
    return it == back_.end() ? name : it->second;
}

json parse_chat_request(std::string_view text) {
    json j = net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json();
    if (!j.is_object() || !j.contains("messages") || !j["messages"].is_array())
        refuse("the request has to be a JSON object with an array \"messages\", nested no deeper than " + std::to_string(net::max_json_depth));
    return j;
}

json chat_body(const json& request, const std::string& model, bool official, tool_names& names) {
    json body{{"model", model}, {"stream", true}, {"stream_options", {{"include_usage", true}}}};
    // The tools first: their names have the first claim on the spelling.
    if (const auto tools = request.find("tools"); tools != request.end() && tools->is_array() && !tools->empty()) {
        json& list = body["tools"] = json::array();
        for (const json& t : *tools) {
            if (text_of(t, "name").empty()) refuse("every tool needs a \"name\"");
            json f{{"name", names.to_wire(text_of(t, "name"))}, {"description", text_of(t, "description")}};
            const auto schema = t.find("input_schema");
            f["parameters"] = schema != t.end() && schema->is_object() ? *schema : json{{"type", "object"}, {"properties", json::object()}};
            list.push_back({{"type", "function"}, {"function", std::move(f)}});
        }
    }
    json& messages = body["messages"] = json::array();
    if (const std::string system = text_of(request, "system"); !system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
    for (const json& m : request.at("messages")) {
        const json& parts = parts_of(m);
        const std::string role = text_of(m, "role");
        if (role == "user") messages.push_back(user_message(parts));
        else if (role == "assistant") messages.push_back(assistant_message(parts, names));
        else if (role == "tool") add_results(parts, messages);
        else refuse("a message's \"role\" has to be user, assistant or tool");
    }
    if (const auto n = request.find("max_tokens"); n != request.end() && n->is_number_integer())
        body[official ? "max_completion_tokens" : "max_tokens"] = *n;
    if (const auto t = request.find("temperature"); t != request.end() && t->is_number()) body["temperature"] = *t;
    return body;
}

}  // namespace holdfast::llm_openai
