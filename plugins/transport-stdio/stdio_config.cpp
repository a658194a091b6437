#include "stdio_config.hpp"

#include <nlohmann/json.hpp>

#include "holdfast/status.hpp"

namespace holdfast::transport_stdio {
namespace {
using json = nlohmann::json;
constexpr std::size_t max_last_words = 200;

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

json object_of(std::string_view text, const char* what) {
    json value = json::parse(text.begin(), text.end(), nullptr, false);
    if (!value.is_object()) refuse(std::string(what) + " must be a JSON object");
    return value;
}

std::int64_t number(const json& o, const char* key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
    const auto it = o.find(key);
    if (it == o.end() || it->is_null()) return fallback;
    if (!it->is_number_integer() || it->get<std::int64_t>() < low || it->get<std::int64_t>() > high)
        refuse(std::string("\"") + key + "\" must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return it->get<std::int64_t>();
}

std::string last_line(std::string text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
    const auto line = text.rfind('\n');
    if (line != std::string::npos) text.erase(0, line + 1);
    return text.size() > max_last_words ? text.substr(0, max_last_words) + "…" : text;
}

}  // namespace

settings read_settings(std::string_view text) {
    const json o = object_of(text.empty() ? "{}" : text, "the settings");
    return {number(o, "max_line_bytes", default_max_line_bytes, 1024, 256 << 20), number(o, "memory_mb", default_memory_mb, 0, 1 << 20)};
}

process_plan plan_process(std::string_view server_config, const settings& s) {
    const json o = object_of(server_config, "the server's configuration");
    process_plan plan;
    const auto command = o.find("command");
    if (command == o.end() || !command->is_string() || command->get_ref<const std::string&>().empty())
        refuse("\"command\" must name the program to start");
    plan.command = command->get<std::string>();
    plan.max_line_bytes = number(o, "max_line_bytes", s.max_line_bytes, 1024, 256 << 20);
    double grace_s = default_stop_grace_s;
    if (auto g = o.find("stop_grace_s"); g != o.end() && g->is_number()) grace_s = std::clamp(g->get<double>(), 0.0, 600.0);
    json spec{{"name", o.value("name", plan.command)},
              {"command", plan.command},
              {"args", o.contains("args") ? o["args"] : json::array()},
              {"env", o.contains("env") ? o["env"] : json::object()},
              {"lines", true},
              {"max_line_bytes", plan.max_line_bytes},
              {"memory_mb", number(o, "memory_mb", s.memory_mb, 0, 1 << 20)},
              // Two steps, stdin closed → SIGTERM → SIGKILL, share the grace.
              {"stop_grace_ms", static_cast<std::int64_t>(grace_s * 500)}};
    if (auto cwd = o.find("cwd"); cwd != o.end() && cwd->is_string()) spec["cwd"] = *cwd;
    plan.spec = spec.dump(-1, ' ', false, json::error_handler_t::replace);
    return plan;
}

bool ended_in_order(std::string_view status_json) {
    const json s = json::parse(status_json.begin(), status_json.end(), nullptr, false);
    return s.is_object() && s.value("kind", "") == "exited" && s.value("code", 1) == 0;
}

std::string exit_sentence(std::string_view status_json) {
    const json s = json::parse(status_json.begin(), status_json.end(), nullptr, false);
    if (!s.is_object()) return "the server's process ended";
    const auto text = [&](const char* key) {
        const auto it = s.find(key);
        return it != s.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    const auto whole = [&](const char* key) {
        const auto it = s.find(key);
        return it != s.end() && it->is_number_integer() ? it->get<std::int64_t>() : 0;
    };
    const std::string kind = text("kind");
    std::string out = "the server ";
    if (kind == "signaled")
        out += "was ended by " + (text("signal").empty() ? "signal " + std::to_string(whole("code")) : text("signal"));
    else if (kind == "memory_limit")
        out += "exceeded its memory limit and was ended";
    else if (kind == "killed")
        out += "was killed";
    else
        out += "exited with status " + std::to_string(whole("code"));
    out += " after " + std::to_string(whole("uptime_ms")) + " ms";
    const std::string words = last_line(text("stderr_tail"));
    if (!words.empty()) out += "; its last words: " + words;
    return out;
}

}  // namespace holdfast::transport_stdio
