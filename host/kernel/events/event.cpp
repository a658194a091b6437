#include "kernel/events/event.hpp"

#include "kernel/core/clock.hpp"

namespace holdfast::events {
namespace {

bool envelope_name(std::string_view key) {
    return key == "topic" || key == "seq" || key == "epoch" || key == "type" || key == "timestamp";
}

void append_string(std::string& out, std::string_view s) { out += dump(json(s)); }

// An estimate of the heap a DOM takes: node sizes of the usual 64-bit standard library.
std::size_t dom_bytes(const json& v) {
    constexpr std::size_t map_node = 96;
    std::size_t n = sizeof(json);
    if (v.is_string()) n += v.get_ref<const std::string&>().size() + sizeof(std::string);
    if (v.is_binary()) n += v.get_binary().size();
    if (v.is_array())
        for (const auto& e : v) n += dom_bytes(e);
    if (v.is_object())
        for (const auto& [k, e] : v.items()) n += map_node + k.size() + dom_bytes(e);
    return n;
}

}  // namespace

void payload_traits<json>::append_fields(std::string& out, const json& p) {
    if (p.is_null()) return;
    if (!p.is_object()) {
        out += "\"value\":" + dump(p);
        return;
    }
    bool first = true;
    for (const auto& [key, value] : p.items()) {
        if (envelope_name(key)) continue;
        if (!std::exchange(first, false)) out += ',';
        append_string(out, key);
        out += ':';
        out += dump(value);
    }
}

std::size_t payload_traits<json>::bytes(const json& p) { return dom_bytes(p); }

void payload_traits<object_text>::append_fields(std::string& out, const object_text& p) {
    if (!p) return;
    const std::size_t open = p->find('{'), close = p->rfind('}');
    if (open == std::string::npos || close == std::string::npos || close <= open) return;
    const std::string_view inside = std::string_view(*p).substr(open + 1, close - open - 1);
    if (inside.find_first_not_of(" \t\r\n") != std::string_view::npos) out += inside;
}

std::size_t payload_traits<object_text>::bytes(const object_text& p) { return p ? p->size() : 0; }

const std::string& event_body::text() const {
    std::call_once(once_, [this] {
        auto out = std::make_unique<std::string>();
        *out += "{\"topic\":";
        append_string(*out, *topic_);
        *out += ",\"seq\":" + std::to_string(seq_) + ",\"epoch\":" + std::to_string(epoch_) + ",\"type\":";
        append_string(*out, type_);
        *out += ",\"timestamp\":";
        append_string(*out, rfc3339(wall_time(milliseconds(timestamp_ms_))));
        const std::size_t envelope = out->size();
        *out += ',';
        append_fields(*out);
        if (out->size() == envelope + 1) out->pop_back();  // no fields
        *out += '}';
        text_ = std::move(out);
    });
    return *text_;
}

}  // namespace holdfast::events
