#pragma once
// Protocol versions and the era of a server. An era is a property of a server, not of a request.
#include <array>
#include <string>
#include <string_view>

namespace holdfast::mcp {

enum class era { unknown, modern, legacy };
std::string_view to_string(era e) noexcept;

inline constexpr std::string_view modern_version = "2026-07-28";
/// Newest first; the first is what initialize asks for.
inline constexpr std::array<std::string_view, 4> legacy_versions{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
bool is_modern(std::string_view version) noexcept;
bool is_legacy(std::string_view version) noexcept;

namespace meta {
inline constexpr const char* protocol_version = "io.modelcontextprotocol/protocolVersion";
inline constexpr const char* client_info = "io.modelcontextprotocol/clientInfo";
inline constexpr const char* client_capabilities = "io.modelcontextprotocol/clientCapabilities";
inline constexpr const char* log_level = "io.modelcontextprotocol/logLevel";
inline constexpr const char* server_info = "io.modelcontextprotocol/serverInfo";
inline constexpr const char* subscription_id = "io.modelcontextprotocol/subscriptionId";
}  // namespace meta

}  // namespace holdfast::mcp
