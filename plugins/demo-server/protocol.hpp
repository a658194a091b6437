#pragma once
// The words of the protocol that more than one file needs. Spec: MCP 2026-07-28 basic/, MCP 2025-11-25 basic/.
#include <atomic>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::demo {

inline constexpr std::string_view modern_version = "2026-07-28";
/// Newest first: the first is what an unknown request is offered. Spec: 2025-11-25 basic/lifecycle.
inline constexpr std::string_view legacy_versions[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};

inline constexpr const char* meta_version = "io.modelcontextprotocol/protocolVersion";
inline constexpr const char* meta_capabilities = "io.modelcontextprotocol/clientCapabilities";
inline constexpr const char* meta_log_level = "io.modelcontextprotocol/logLevel";
inline constexpr const char* meta_server_info = "io.modelcontextprotocol/serverInfo";
inline constexpr const char* meta_subscription = "io.modelcontextprotocol/subscriptionId";

namespace code {
inline constexpr int parse_error = -32700;
inline constexpr int invalid_request = -32600;
inline constexpr int method_not_found = -32601;
inline constexpr int invalid_params = -32602;
inline constexpr int internal_error = -32603;
inline constexpr int legacy_resource_not_found = -32002;  ///< 2025-11-25 and older only
inline constexpr int missing_capability = -32021;
inline constexpr int unsupported_version = -32022;
}  // namespace code

enum class era { legacy, modern };

struct rpc_error {
    int code = code::internal_error;
    std::string message;
    json data;  ///< null = absent
};

/// Why a piece of work ended without a complete result.
struct stop {
    enum class kind {
        error,           ///< answer with `error`
        input_required,  ///< modern only: answer with `result` (resultType input_required)
        cancelled,       ///< the client no longer wants an answer
    };
    kind why = kind::error;
    rpc_error error;
    json result;
};

/// A complete result without era-specific decoration, or the reason there is none.
using outcome = tl::expected<json, stop>;

inline tl::unexpected<stop> fail_with(int code, std::string message, json data = nullptr) {
    return tl::unexpected<stop>(stop{stop::kind::error, {code, std::move(message), std::move(data)}, {}});
}
inline tl::unexpected<stop> cancelled_by_client() {
    return tl::unexpected<stop>(stop{stop::kind::cancelled, {}, {}});
}

/// Set once, under the writer's lock: whoever sees it set sends nothing more for that request.
using cancel_flag = std::atomic<bool>;

json text_block(std::string text);
/// A tool result of one text block; `is_error` marks a tool execution error the model can read and act on.
json text_result(std::string text, bool is_error = false);

/// syslog order, 0 = debug … 7 = emergency; -1 = not a level.
int log_severity(std::string_view level);

/// name, title, version, websiteUrl: the same in both eras.
const json& server_info();

}  // namespace holdfast::demo
