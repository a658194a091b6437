#include "sessions/session_options.hpp"

namespace holdfast::sessions {
namespace {

struct field {
    const char* name;
    double low, high;
    void (*set)(session_options&, double);
};

milliseconds from_seconds(double s) { return milliseconds(static_cast<std::int64_t>(s * 1000)); }

constexpr field fields[] = {
    {"permission_timeout_s", 1, 86'400, [](session_options& o, double v) { o.permission_timeout = from_seconds(v); }},
    {"stream_idle_s", 1, 3'600, [](session_options& o, double v) { o.stream_idle = from_seconds(v); }},
    {"tool_timeout_s", 1, 86'400, [](session_options& o, double v) { o.tool_timeout = from_seconds(v); }},
    {"server_wait_s", 0, 3'600, [](session_options& o, double v) { o.server_wait = from_seconds(v); }},
    {"keep_events_s", 0, 86'400, [](session_options& o, double v) { o.keep_events = from_seconds(v); }},
    {"hibernate_after_s", 0, 1e9, [](session_options& o, double v) { o.hibernate_after = from_seconds(v); }},
    {"delete_after_s", 0, 1e9, [](session_options& o, double v) { o.delete_after = from_seconds(v); }},
    {"max_rounds", 1, 1'000, [](session_options& o, double v) { o.max_rounds = static_cast<unsigned>(v); }},
    {"recent_messages", 2, 10'000, [](session_options& o, double v) { o.recent_messages = static_cast<std::size_t>(v); }},
    {"snapshot_every", 10, 1e6, [](session_options& o, double v) { o.snapshot_every = static_cast<std::uint64_t>(v); }},
    {"max_live", 1, 1e6, [](session_options& o, double v) { o.max_live = static_cast<std::size_t>(v); }},
    {"max_message_bytes", 1, 16u << 20, [](session_options& o, double v) { o.max_message_bytes = static_cast<std::size_t>(v); }},
    {"max_tokens", 0, 1e7, [](session_options& o, double v) { o.max_tokens = static_cast<std::int64_t>(v); }},
};

}  // namespace

result<session_options> session_options_from(const json& settings) {
    session_options o;
    if (settings.is_null()) return o;
    if (!settings.is_object()) return fail(errc::config_invalid, "\"sessions\" has to be an object");
    for (const auto& [key, value] : settings.items()) {
        if (key == "system_prompt") {
            if (!value.is_string()) return fail(errc::config_invalid, "sessions.system_prompt has to be a string");
            o.system_prompt = value.get<std::string>();
            continue;
        }
        const field* known = nullptr;
        for (const field& f : fields)
            if (key == f.name) known = &f;
        if (!known) return fail(errc::config_invalid, "sessions." + key + " is not a setting");
        if (!value.is_number() || value.get<double>() < known->low || value.get<double>() > known->high)
            return fail(errc::config_invalid, "sessions." + key + " has to be a number from " + json(known->low).dump() + " to " + json(known->high).dump());
        known->set(o, value.get<double>());
    }
    return o;
}

}  // namespace holdfast::sessions
