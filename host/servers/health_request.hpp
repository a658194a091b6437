#pragma once
// A request of the configuration that tells whether a server is well ("probe" and "init_message" of "health"), and what has to be in
// its answer. Pure.
#include <string>

#include "kernel/core/json.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::servers {

struct health_request {
    json request;  ///< null: none is configured. {"method","params"}
    json expect;   ///< null: any answer that is no error

    explicit operator bool() const { return !request.is_null(); }
    /// `answer`: the result. Errors: protocol_error, with what was wanted and what came.
    result<void> judge(const json& answer) const;
};

/// {"tool","arguments"?,"expect"?} or {"method","params"?,"expect"?}; null gives none. Errors: config_invalid.
result<health_request> health_request_from(const json& given);

/// Whether everything of `part` is in `whole`: of objects the members, of lists the elements in their places, all else is equal.
bool holds(const json& whole, const json& part);

}  // namespace holdfast::servers
