#pragma once
// mcp.* (for the edges) and gateway.* in the method table.
#include <memory>

#include "api/mcp_gateway.hpp"

namespace holdfast::api {

/// The table keeps the gateway alive.
void register_mcp_methods(method_table& table, std::shared_ptr<mcp_gateway> gateway);

}  // namespace holdfast::api
