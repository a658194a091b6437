#include "llm-openai/chat_stream.hpp"

#include <algorithm>
#include <cstdio>
#include <random>

#include "llm-openai/answer_errors.hpp"
#include "net-client/http_text.hpp"

namespace holdfast::llm_openai {
namespace {

constexpr std::size_t max_calls = 256;
constexpr std::size_t max_argument_bytes = 8u << 20;

std::string dumped(const json& j) { return j.dump(-1, ' ', false, json::error_handler_t::replace); }
json parsed(std::string_view text) {
    return net::json_depth_within(text, net::max_json_depth) ? json::parse(text, nullptr, false) : json(json::value_t::discarded);
}
const json* member(const json& o, const char* key) {
    if (!o.is_object()) return nullptr;
    const auto it = o.find(key);
    return it == o.end() || it->is_null() ? nullptr : &*it;
}
std::string text_of(const json& o, const char* key) {
    const json* m = member(o, key);
    return m && m->is_string() ? m->get<std::string>() : std::string();
}
std::int64_t count_of(const json& o, const char* key, std::int64_t otherwise) {
    const json* m = member(o, key);
    return m && m->is_number_integer() ? std::max<std::int64_t>(0, m->get<std::int64_t>()) : otherwise;
}
// A conversation may not have one id twice, so a counter per answer would not do.
std::string made_up_id() {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    char text[32];
    std::snprintf(text, sizeof text, "call_%016llx", static_cast<unsigned long long>(random()));
    return text;
}
bool blank(std::string_view s) { return s.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace

std::vector<std::string> chat_stream::event(std::string_view data) {
    std::vector<std::string> out;
    while (!data.empty() && (data.front() == ' ' || data.front() == '\n' || data.front() == '\t')) data.remove_prefix(1);
    while (!data.empty() && (data.back() == ' ' || data.back() == '\n' || data.back() == '\t')) data.remove_suffix(1);
    if (done_ || !failure_.ok() || data.empty()) return out;
    if (data == "[DONE]") {
        done_ = true;
        return out;
    }
    const json j = parsed(data);
    if (j.is_discarded()) {
        failure_ = {HF_E_PROTOCOL, settings_.origin + " sent a chunk that is not JSON."};
        return out;
    }
    if (!j.is_object()) return out;
    if (const json* e = member(j, "error")) {
        failure_ = status_of_error_object(dumped(*e), 0, settings_);
        return out;
    }
    if (std::string m = text_of(j, "model"); !m.empty()) model_ = std::move(m);
    if (const json* u = member(j, "usage")) usage(*u);
    if (const json* choices = member(j, "choices"); choices && choices->is_array())
        for (const json& c : *choices)
            if (count_of(c, "index", 0) == 0) choice(c, out);
    return out;
}

std::vector<std::string> chat_stream::whole(std::string_view body) {
    auto out = event(body);
    if (failure_.ok() && !finish_seen_) failure_ = {HF_E_PROTOCOL, settings_.origin + " answered with something that is not a chat completion."};
    done_ = failure_.ok();
    return out;
}

void chat_stream::choice(const json& c, std::vector<std::string>& out) {
    if (const json* d = member(c, "delta")) delta(*d, out);
    if (const json* m = member(c, "message")) delta(*m, out);
    if (std::string f = text_of(c, "finish_reason"); !f.empty()) {
        finish_ = std::move(f);
        finish_seen_ = true;
    }
}

void chat_stream::delta(const json& d, std::vector<std::string>& out) {
    // Two names for one thing; a server that sends both sends the same twice.
    std::string thought = text_of(d, "reasoning_content");
    if (thought.empty()) thought = text_of(d, "reasoning");
    reasoning(thought, out);
    if (const json* content = member(d, "content")) {
        if (content->is_string()) {
            text(content->get<std::string>(), out);
        } else if (content->is_array()) {
            for (const json& part : *content)
                if (text_of(part, "type") == "text") text(text_of(part, "text"), out);
        }
    }
    if (std::string refusal = text_of(d, "refusal"); !refusal.empty()) {
        refused_ = true;
        text(refusal, out);
    }
    if (const json* calls = member(d, "tool_calls"); calls && calls->is_array())
        for (std::size_t i = 0; i < calls->size(); ++i) call_delta((*calls)[i], i, out);
}

void chat_stream::text(const std::string& t, std::vector<std::string>& out) {
    if (t.empty()) return;
    content_ = true;
    text_ += t;
    out.push_back(dumped({{"type", "text"}, {"text", t}}));
}

void chat_stream::reasoning(const std::string& t, std::vector<std::string>& out) {
    if (t.empty()) return;
    content_ = true;
    out.push_back(dumped({{"type", "reasoning"}, {"text", t}}));
}

// Which call a piece belongs to: by id where there is one (parallel calls may all say index 0), else by index, the newest
// first. A second name after whole arguments begins another call, too: some servers send neither id nor a new index.
void chat_stream::call_delta(const json& c, std::size_t position, std::vector<std::string>& out) {
    if (!c.is_object()) return;
    const std::string id = text_of(c, "id");
    const json* const f = member(c, "function");
    const std::string name = f ? text_of(*f, "name") : std::string();
    const bool has_index = member(c, "index") != nullptr;
    const std::int64_t index = has_index ? count_of(c, "index", 0) : static_cast<std::int64_t>(position);
    tool_call* at = nullptr;
    for (auto it = calls_.rbegin(); it != calls_.rend() && !at; ++it) {
        if (!id.empty() && !it->id.empty()) {
            if (it->id == id && (it->index == index || !has_index)) at = &*it;
        } else if (it->index == index) {
            at = &*it;
        }
    }
    if (!at && id.empty() && name.empty() && !has_index && !calls_.empty()) at = &calls_.back();
    const json* const piece = f ? member(*f, "arguments") : nullptr;
    const std::string arguments = !piece ? std::string() : piece->is_string() ? piece->get<std::string>() : dumped(*piece);
    const bool another = !name.empty() && (name != (at ? at->name : name) || !arguments.empty());
    if (at && id.empty() && another && !at->name.empty() && parsed(at->arguments).is_object()) at = nullptr;
    if (!at) {
        if (calls_.size() >= max_calls) {
            failure_ = {HF_E_PROTOCOL, settings_.origin + " asked for more than " + std::to_string(max_calls) + " tool calls at once."};
            return;
        }
        at = &calls_.emplace_back();
        at->index = index;
    }
    if (at->id.empty()) at->id = id;
    if (at->name.empty()) at->name = name;
    at->arguments += arguments;
    if (at->arguments.size() > max_argument_bytes) failure_ = {HF_E_PROTOCOL, settings_.origin + " sent tool arguments that are too long."};
    tell(*at, out);
}

void chat_stream::tell(tool_call& c, std::vector<std::string>& out) {
    if (c.told || c.name.empty()) return;
    if (c.id.empty()) c.id = made_up_id();
    c.told = content_ = true;
    out.push_back(dumped({{"type", "tool_use_start"}, {"id", c.id}, {"name", names_.from_wire(c.name)}}));
}

void chat_stream::usage(const json& u) {  // set, not added: servers that repeat it send running totals
    input_tokens_ = count_of(u, "prompt_tokens", input_tokens_);
    output_tokens_ = count_of(u, "completion_tokens", output_tokens_);
    if (const json* d = member(u, "prompt_tokens_details")) cached_tokens_ = count_of(*d, "cached_tokens", cached_tokens_);
}

sdk::status chat_stream::result(std::string& out) {
    if (!failure_.ok()) return failure_;
    if (!finished() || (!finish_seen_ && !content_))
        return {HF_E_PROTOCOL, settings_.origin + " ended the answer without saying that it is complete.", true};
    const bool cut = finish_ == "length" || finish_ == "content_filter";
    json content = json::array();
    if (!text_.empty()) content.push_back({{"type", "text"}, {"text", text_}});
    bool any_call = false;
    for (const tool_call& c : calls_) {
        json input = blank(c.arguments) && !cut ? json::object() : parsed(c.arguments);
        if (input.is_object() && !c.name.empty()) {
            any_call = true;
            content.push_back({{"type", "tool_use"}, {"id", c.id}, {"name", names_.from_wire(c.name)}, {"input", std::move(input)}});
        } else if (!cut) {
            return {HF_E_PROTOCOL, "the model asked for the tool \"" + net::excerpt(names_.from_wire(c.name), 80) + "\" with arguments that are not a whole JSON object.", true};
        }
    }
    const char* reason = "other";
    if (finish_ == "length") reason = "max_tokens";
    else if (finish_ == "content_filter" || refused_) reason = "refusal";
    else if (any_call) reason = "tool_use";  // some servers say "stop" even so
    else if (finish_ == "stop") reason = "end_turn";
    out = dumped({{"model", model_},
                  {"stop_reason", reason},
                  {"content", std::move(content)},
                  {"usage", {{"input_tokens", input_tokens_}, {"output_tokens", output_tokens_}, {"cached_tokens", cached_tokens_}}}});
    return {};
}

}  // namespace holdfast::llm_openai
