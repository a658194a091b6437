#pragma once
// server.* and tool.* in the method table.
#include <memory>

#include "api/method_table.hpp"
#include "servers/server_set.hpp"

namespace holdfast::api {

/// The table keeps the set alive.
void register_server_methods(method_table& table, std::shared_ptr<servers::server_set> set);

}  // namespace holdfast::api
