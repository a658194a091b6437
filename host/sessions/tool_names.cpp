#include "sessions/tool_names.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace holdfast::sessions {
namespace {

constexpr std::size_t hash_digits = 16;

bool plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/// Only names that split in exactly one way stay as they are.
bool unambiguous(std::string_view server, std::string_view tool) {
    if (server.empty() || tool.empty() || server.back() == '_' || tool.front() == '_') return false;
    return server.find("__") == std::string_view::npos && tool.find("__") == std::string_view::npos;
}

std::uint64_t fnv(std::uint64_t h, std::string_view text) {
    for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
    return h;
}

}  // namespace

std::string encode_tool_name(std::string_view server, std::string_view tool) {
    std::string name(server);
    name += "__";
    name += tool;
    const bool clean = std::all_of(name.begin(), name.end(), plain);
    if (clean && name.size() <= max_tool_name && unambiguous(server, tool)) return name;
    std::replace_if(name.begin(), name.end(), [](char c) { return !plain(c); }, '_');
    std::uint64_t h = fnv(0xcbf29ce484222325ull, server);
    h = fnv(fnv(h, std::string_view("\0", 1)), tool);
    char text[hash_digits + 3];
    std::snprintf(text, sizeof text, "__%016llx", static_cast<unsigned long long>(h));
    name.resize(std::min(name.size(), max_tool_name - hash_digits - 2));
    return name + text;
}

bool tool_names::add(const std::string& server, const std::string& tool) {
    return names_.try_emplace(encode_tool_name(server, tool), server, tool).second;
}

std::optional<std::pair<std::string, std::string>> tool_names::decode(const std::string& name) const {
    const auto it = names_.find(name);
    if (it == names_.end()) return std::nullopt;
    return it->second;
}

}  // namespace holdfast::sessions
