#pragma once
// The configuration's "gateway" section.
#include "mcp/gateway/offer.hpp"

namespace holdfast::api {

enum class pinning { hold, warn, off };

struct mcp_settings {
    bool enabled = true;
    bool stdio = true;                              ///< `holdfast mcp`
    mcp::gateway::offer_rules rules;                ///< without the role's part
    std::array<mcp::gateway::visibility, 3> roles;  ///< by role
    mcp::gateway::limits limits;
    pinning pins = pinning::hold;
    std::size_t max_sessions = 1'000;               ///< legacy sessions
    std::size_t max_sessions_per_user = 256;
    std::size_t max_requests_per_user = 1'024;      ///< modern requests, their pauses and their subscriptions

    static mcp_settings from(const json& section);
};

}  // namespace holdfast::api
