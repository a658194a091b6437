#pragma once
// session.*, alias.*, history.* and events.read in the method table, with their schemas (host/doc/api.md).
#include <memory>

#include "api/method_table.hpp"
#include "sessions/session_directory.hpp"

namespace holdfast::api {

/// The table keeps the directory alive.
void register_session_methods(method_table& table, std::shared_ptr<sessions::session_directory> directory);

}  // namespace holdfast::api
