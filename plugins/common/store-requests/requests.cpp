#include "store-requests/requests.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "holdfast/json.hpp"
#include "holdfast/status.hpp"

namespace store_requests {
namespace {

using nlohmann::json;
using holdfast::sdk::plugin_error;

[[noreturn]] void wrong(std::string what) { throw plugin_error(HF_E_INVALID, std::move(what)); }

/// Checked before parsing: a document 100,000 levels deep cannot even be destroyed safely.
bool too_deep(std::string_view text) {
    int depth = 0;
    bool quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            else if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            if (++depth > max_depth) return true;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

json parsed(std::string_view text) {
    if (too_deep(text)) wrong("the request is nested deeper than " + std::to_string(max_depth) + " levels");
    json j = json::parse(text, nullptr, false);
    if (!j.is_object()) wrong("the request has to be a JSON object");
    return j;
}

const json* find(const json& o, const char* key) {
    const auto it = o.find(key);
    return it == o.end() || it->is_null() ? nullptr : &*it;
}

/// A NUL inside would end the text for some of SQLite's functions and not for others.
std::string checked(const json& v, const char* key, bool may_be_empty) {
    if (!v.is_string()) wrong(std::string("\"") + key + "\" has to be a text");
    const auto& s = v.get_ref<const std::string&>();
    if (s.empty() && !may_be_empty) wrong(std::string("\"") + key + "\" must not be empty");
    if (s.size() > max_name) wrong(std::string("\"") + key + "\" is longer than " + std::to_string(max_name) + " bytes");
    if (s.find('\0') != std::string::npos) wrong(std::string("\"") + key + "\" holds a NUL character");
    return s;
}

std::string text(const json& o, const char* key) {
    const json* v = find(o, key);
    if (!v) wrong(std::string("\"") + key + "\" is missing");
    return checked(*v, key, false);
}

std::string text_or_empty(const json& o, const char* key) {
    const json* v = find(o, key);
    return v ? checked(*v, key, true) : std::string();
}

std::optional<std::int64_t> number(const json& o, const char* key, std::int64_t least) {
    const json* v = find(o, key);
    if (!v) return std::nullopt;
    const bool fits = v->is_number_integer() && (!v->is_number_unsigned() || v->get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()});
    if (!fits || v->get<std::int64_t>() < least) wrong(std::string("\"") + key + "\" has to be an integer of at least " + std::to_string(least));
    return v->get<std::int64_t>();
}

std::int64_t limit(const json& o) {
    return std::min<std::int64_t>(number(o, "limit", 0).value_or(std::int64_t{max_rows}), std::int64_t{max_rows});
}

std::string table(const json& o) {
    std::string name = text(o, "table");
    bool fine = name.size() <= 32;
    for (const char c : name) fine = fine && ((c >= 'a' && c <= 'z') || c == '_');
    if (!fine) wrong("\"table\" has to be 1 to 32 of a-z and _");
    return name;
}

std::string value(const json& o, const char* key) {
    const auto it = o.find(key);
    if (it == o.end()) wrong(std::string("\"") + key + "\" is missing");
    std::string out = it->dump(-1, ' ', false, json::error_handler_t::replace);
    if (out.size() > max_value) wrong(std::string("\"") + key + "\" is longer than " + std::to_string(max_value >> 20) + " MiB");
    return out;
}

append append_from(const json& o) {
    const json* list = find(o, "events");
    if (!list || !list->is_array()) wrong("\"events\" has to be an array");
    if (list->size() > max_events) wrong("more than " + std::to_string(max_events) + " events in one append");
    append out;
    out.events.reserve(list->size());
    for (const json& e : *list) {
        if (!e.is_object()) wrong("an event has to be a JSON object");
        const auto seq = number(e, "seq", 1);
        if (!seq) wrong("\"seq\" is missing");
        event made{text(e, "stream"), *seq, text(e, "type"), std::nullopt, text_or_empty(e, "at"), e.contains("data") ? value(e, "data") : "{}"};
        if (find(e, "idem_key")) made.idem_key = text(e, "idem_key");
        out.events.push_back(std::move(made));
    }
    return out;
}

}  // namespace

request parse(std::string_view method, std::string_view body) {
    if (method == "status") return status{};
    static constexpr std::string_view known[] = {"append", "read", "tail", "last", "streams", "drop", "trim", "put", "get", "list", "delete"};
    if (std::find(std::begin(known), std::end(known), method) == std::end(known))
        throw plugin_error(HF_E_UNSUPPORTED, "a store has no method \"" + std::string(method.substr(0, 64)) + "\"");
    const json o = parsed(body);
    if (method == "append") return append_from(o);
    if (method == "read") return read{text(o, "stream"), number(o, "after", 0).value_or(0), limit(o)};
    if (method == "tail") return tail{text(o, "stream"), limit(o), number(o, "before", 0)};
    if (method == "last") return last{text(o, "stream")};
    if (method == "streams") return streams{text_or_empty(o, "prefix"), text_or_empty(o, "after"), limit(o)};
    if (method == "drop") return drop{text(o, "stream")};
    if (method == "trim") {
        const auto keep = number(o, "keep", 1);
        if (!keep) wrong("\"keep\" is missing");
        return trim{text(o, "stream"), *keep};
    }
    if (method == "put") return put{table(o), text(o, "key"), value(o, "value")};
    if (method == "get") return get{table(o), text(o, "key")};
    if (method == "list") return list{table(o), text_or_empty(o, "prefix"), text_or_empty(o, "after"), limit(o)};
    return erase{table(o), text(o, "key")};
}

bool is_write(const request& r) {
    return std::holds_alternative<append>(r) || std::holds_alternative<drop>(r) || std::holds_alternative<trim>(r) || std::holds_alternative<put>(r) || std::holds_alternative<erase>(r);
}

std::string after_prefix(std::string prefix) {
    while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xFF) prefix.pop_back();
    if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
    return prefix;
}

rows::rows(std::string_view name) : text_("{" + holdfast::sdk::json_quote(name) + ":[") {}

void rows::next() {
    if (!std::exchange(first_, false)) text_ += ',';
}

void rows::event(std::string_view stream, std::int64_t seq, std::string_view type, std::optional<std::string_view> idem_key, std::string_view at,
                 std::string_view data) {
    using holdfast::sdk::json_quote;
    next();
    text_.append("{\"stream\":").append(json_quote(stream)).append(",\"seq\":").append(std::to_string(seq)).append(",\"type\":").append(json_quote(type));
    if (idem_key) text_.append(",\"idem_key\":").append(json_quote(*idem_key));
    text_.append(",\"at\":").append(json_quote(at)).append(",\"data\":").append(data).append("}");
}

void rows::stream(std::string_view name, std::int64_t last, std::int64_t events) {
    next();
    text_ += holdfast::sdk::json_object({{"stream", name}, {"last", last}, {"events", events}});
}

void rows::row(std::string_view key, std::string_view value) {
    next();
    text_.append("{\"key\":").append(holdfast::sdk::json_quote(key)).append(",\"value\":").append(value).append("}");
}

std::string rows::finish() && {
    text_ += "]}";
    return std::move(text_);
}

std::string rows::finish(std::int64_t last) && {
    text_.append("],\"last\":").append(std::to_string(last)).append("}");
    return std::move(text_);
}

}  // namespace store_requests
