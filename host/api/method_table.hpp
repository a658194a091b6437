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
/// One piece of a streamed answer: one at a time, none after the reply. Does not block: who does not read is cut by whoever carries it,
/// perhaps from within: the cancel_fn below may be called then.
using chunk_fn = std::function<void(std::string_view)>;
/// The caller wants no more. [any thread] At most once, perhaps after the reply. The reply still comes, soon.
using cancel_fn = std::function<void()>;

struct method {
    std::string name;            ///< "session.send"
    role needs = role::viewer;
    std::string summary;         ///< one sentence, goes into the OpenAPI document
    json params_schema;          ///< JSON Schema of params (object)
    json result_schema;
    /// [any thread] Must not block; calls reply exactly once, on any thread.
    std::function<void(const identity&, json params, reply)> handler;
    /// Instead of `handler`: a method that answers in pieces, for callers that take them (plugins, the control socket; not POST
    /// /api/v1/call). As handler; what it returns may be empty: then it cannot be cancelled.
    std::function<cancel_fn(const identity&, json params, chunk_fn, reply)> stream;
    /// What it needs beyond `needs`, where that depends on what is asked. Params are valid.
    std::function<role(const json& params)> needs_for = {};
};

/// Filled at start by app, then read-only. [any thread]
class method_table {
  public:
    void add(method m);  ///< asserts that the name is new
    /// Checks rights and the shape of params (unknown field, missing field, wrong type → invalid_argument naming it), then runs the handler.
    /// Errors besides: invalid_argument for a method that streams.
    void call(const identity& who, const std::string& name, json params, reply done) const;
    /// As call, for a caller that takes chunks; methods that do not stream are called and send none.
    cancel_fn stream(const identity& who, const std::string& name, json params, chunk_fn chunk, reply done) const;
    const method* find(const std::string& name) const;
    std::vector<const method*> all() const;
    /// OpenAPI 3.1: POST /api/v1/call/{name} for each method.
    json openapi() const;

  private:
    /// The method if this call may be made; else the reply has been given.
    const method* admit(const identity& who, const std::string& name, json& params, reply& done) const;
    std::map<std::string, method> methods_;
};

}  // namespace holdfast::api
