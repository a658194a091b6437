#pragma once
// server.login and server.logout.
#include <memory>

#include "api/method_table.hpp"
#include "servers/server_set.hpp"

namespace holdfast::api {

void register_login_methods(method_table& table, std::shared_ptr<servers::server_set> set);

}  // namespace holdfast::api
