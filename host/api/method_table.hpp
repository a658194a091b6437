#pragma once
// The one API: every UI plugin, HTTP, WebSocket, the control socket and the CLI call these methods and get these errors.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"

namespace holdfast::api {

enum class role { viewer, op, admin };  // "operator" is a keyword
std::string_view to_string(role r) noexcept;
result<role> role_from(std::string_view name);

/// On whose behalf a call is made.
struct identity {
    std::string user = "local";
    role rights = role::viewer;
    std::string via;  ///< "web", "tui", "cli", "control" …: shown to the others, e.g. who answered a permission
};

using reply = unique_function<void(result<json>)>;

struct method {
    std::string name;            ///< "session.send"
    role needs = role::viewer;
    std::string summary;         ///< one sentence, goes into the OpenAPI document
    json params_schema;          ///< JSON Schema of params (object)
    json result_schema;
    /// [any thread] Must not block; calls reply exactly once, on any thread.
    std::function<void(const identity&, json params, reply)> handler;
};

/// Filled at start by app, then read-only. [any thread]
class method_table {
  public:
    void add(method m);  ///< asserts that the name is new
    /// Checks rights and the shape of params (unknown field, missing field, wrong type → invalid_argument naming it), then runs the handler.
    void call(const identity& who, const std::string& name, json params, reply done) const;
    const method* find(const std::string& name) const;
    std::vector<const method*> all() const;
    /// OpenAPI 3.1: POST /api/v1/call/{name} for each method.
    json openapi() const;

  private:
    std::map<std::string, method> methods_;
};

}  // namespace holdfast::api
