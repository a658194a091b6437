#include "app/print.hpp"

#include <iostream>

namespace holdfast::app {
namespace {

struct column {
    const char* title;
    const char* key;
};

std::string cell(const json& row, const char* key) {
    const json& v = member(row, key);
    if (v.is_null()) return "-";
    if (v.is_string()) return printable(v.get<std::string>());
    if (std::string_view(key).ends_with("_ms") && v.is_number()) return human_duration(v.get<std::int64_t>());
    if (v.is_array()) return std::to_string(v.size());
    return printable(dump(v));
}

std::size_t width_of(const std::string& s) {
    return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

void print_table(const json& rows, const std::vector<column>& columns, const char* empty) {
    if (!rows.is_array() || rows.empty()) {
        std::cout << empty << "\n";
        return;
    }
    std::vector<std::vector<std::string>> cells{{}};
    for (const column& c : columns) cells[0].push_back(c.title);
    for (const json& row : rows) {
        cells.emplace_back();
        for (const column& c : columns) cells.back().push_back(cell(row, c.key));
    }
    for (const auto& line : cells) {
        std::string out;
        for (std::size_t i = 0; i < line.size(); ++i) {
            std::size_t widest = 0;
            for (const auto& other : cells) widest = std::max(widest, width_of(other[i]));
            out += line[i];
            if (i + 1 < line.size()) out += std::string(widest - width_of(line[i]) + 2, ' ');
        }
        std::cout << out << "\n";
    }
}

void print_node(const json& node, const std::string& indent, bool last, bool root) {
    std::string line = root ? "" : indent + (last ? "└─ " : "├─ ");
    line += printable(string_or(node, "id")) + "  [" + printable(string_or(node, "kind")) + "]  " + printable(string_or(node, "state"));
    if (const auto n = int_or(node, "restarts", 0); n > 0) line += "  restarts " + std::to_string(n);
    if (node.contains("pid")) line += "  pid " + dump(node["pid"]);
    line += "  up " + human_duration(int_or(node, "uptime_ms", 0));
    if (const json& exit = member(node, "last_exit"); exit.is_object()) line += "  last exit: " + printable(string_or(exit, "text", string_or(exit, "kind")));
    std::cout << line << "\n";
    const json& children = member(node, "children");
    for (std::size_t i = 0; i < children.size(); ++i)
        print_node(children[i], root ? "" : indent + (last ? "   " : "│  "), i + 1 == children.size(), false);
}

void print_pairs(const json& object, const std::string& indent) {
    for (const auto& [key, value] : object.items()) {
        if (value.is_object() && !value.empty()) {
            std::cout << indent << key << ":\n";
            print_pairs(value, indent + "  ");
        } else if (value.is_array()) {
            std::cout << indent << key << ":";
            for (const json& item : value) std::cout << " " << printable(item.is_string() ? item.get<std::string>() : dump(item));
            std::cout << "\n";
        } else {
            std::cout << indent << key << ": " << cell(object, key.c_str()) << "\n";
        }
    }
}

}  // namespace

std::string printable(std::string_view text, bool keep_newlines) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        // C1 controls arrive as U+0080…U+009F: C2 80 … C2 9F.
        if (c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
            out += "\xEF\xBF\xBD";
            ++i;
        } else if (c == '\n' || c == '\t') {
            out += keep_newlines ? static_cast<char>(c) : ' ';
        } else if (c < 0x20 || c == 0x7F) {
            out += "\xEF\xBF\xBD";
        } else {
            out += static_cast<char>(c);
        }
    }
    return out;
}

std::string human_duration(std::int64_t ms) {
    if (ms < 1000) return std::to_string(ms) + "ms";
    const std::int64_t s = ms / 1000;
    if (s < 60) return std::to_string(s) + "s";
    if (s < 3600) return std::to_string(s / 60) + "m " + std::to_string(s % 60) + "s";
    if (s < 86400) return std::to_string(s / 3600) + "h " + std::to_string(s / 60 % 60) + "m";
    return std::to_string(s / 86400) + "d " + std::to_string(s / 3600 % 24) + "h";
}

void print_result(const std::string& method, const json& result) {
    if (method == "host.tree") return print_node(result, "", true, true);
    if (method == "plugin.list")
        return print_table(member(result, "plugins"), {{"NAME", "id"}, {"KIND", "kind"}, {"USES", "use"}, {"STATE", "state"}, {"ISOLATION", "isolation"}, {"RESTARTS", "restarts"}, {"URL", "url"}, {"REASON", "reason"}}, "no plugins are configured");
    if (method == "server.list")
        return print_table(member(result, "servers"), {{"NAME", "name"}, {"STATUS", "status"}, {"TRANSPORT", "transport"}, {"PROTOCOL", "protocol_version"}, {"PID", "pid"}, {"TOOLS", "tools"}, {"RESTARTS", "restarts"}, {"UPTIME", "uptime_ms"}, {"REASON", "reason"}}, "no MCP servers are configured: add some under mcpServers");
    if (method == "server.bulk") {
        json rows = member(result, "results");
        for (json& row : rows) row["reason"] = string_or(member(row, "error"), "message");
        std::cout << int_or(result, "successful", 0) << " done, " << int_or(result, "failed", 0) << " failed\n";
        return print_table(rows, {{"NAME", "name"}, {"STATUS", "status"}, {"REASON", "reason"}}, "");
    }
    if (method == "server.health_log")
        return print_table(member(result, "events"), {{"TIME", "timestamp"}, {"EVENT", "event"}, {"STATUS", "status"}, {"DETAIL", "detail"}}, "nothing has happened to it yet");
    if (method == "server.get_system_health") {
        json shown = result;
        shown.erase("servers");
        print_pairs(shown, "");
        json rows = member(result, "servers");
        for (json& row : rows) {
            row["memory"] = member(row["resource_usage"], "memory");
            row["p95"] = member(row["latency"], "p95_ms");
        }
        return print_table(rows, {{"NAME", "name"}, {"STATUS", "status"}, {"UPTIME_S", "uptime"}, {"RESTARTS", "restart_count"}, {"MEMORY", "memory"}, {"P95_MS", "p95"}, {"REASON", "reason"}}, "no MCP servers are configured");
    }
    if (method == "server.get_health") return print_pairs(result, "");
    if (method == "tool.list")
        return print_table(member(result, "tools"), {{"SERVER", "server"}, {"TOOL", "name"}, {"DESCRIPTION", "description"}}, "no server offers a tool now");
    if (method == "session.list")
        return print_table(member(result, "sessions"), {{"SESSION", "session_id"}, {"STATE", "state"}, {"MESSAGES", "messages"}, {"UPDATED", "updated_at"}, {"TITLE", "title"}}, "no sessions yet: holdfast chat starts one");
    if (method == "gateway.pins")
        return print_table(member(result, "pins"), {{"SERVER", "server"}, {"TOOL", "tool"}, {"STATE", "state"}, {"SINCE", "since"}, {"HASH", "hash"}, {"NEW HASH", "new_hash"}, {"CHANGE", "change"}}, "there are no such definitions");
    if (method == "llm.list") {
        std::cout << "answers come from " << printable(string_or(result, "chosen", "nobody")) << ": " << printable(string_or(result, "reason")) << "\n";
        return print_table(member(result, "adapters"), {{"NAME", "id"}, {"USES", "use"}, {"MODEL", "model"}, {"AVAILABLE", "available"}, {"BREAKER", "breaker"}, {"REASON", "reason"}}, "no LLM adapters are configured");
    }
    if (result.is_object() && result.contains("name") && result.contains("status"))
        return print_table(json::array({result}), {{"NAME", "name"}, {"STATUS", "status"}, {"TOOLS", "tools"}, {"REASON", "reason"}}, "");
    if (result.is_object() && result.contains("id") && result.contains("state"))
        return print_table(json::array({result}), {{"NAME", "id"}, {"KIND", "kind"}, {"STATE", "state"}, {"URL", "url"}, {"REASON", "reason"}}, "");
    print_pairs(result, "");
}

}  // namespace holdfast::app
