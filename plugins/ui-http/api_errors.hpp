#pragma once
// The uniform error: from what the host says to what HTTP and WebSocket clients see.
#include <cstdint>
#include <string>
#include <string_view>

#include "holdfast/status.hpp"
#include "net-server/http_types.hpp"

namespace holdfast::ui_http {

struct api_error {
    std::string code = "internal";
    std::string message;
    std::int64_t retry_after_ms = 0;

    /// {"code":…,"message":…,"retry_after_ms"?}
    std::string to_json() const;
    web::http_response to_response() const;
};

/// `result_json`: the uniform error object the host sent with the failure, or empty.
api_error api_error_from(const sdk::status& s, std::string_view result_json);

/// The table: error code → HTTP status; 500 for a code it does not know.
int http_status(std::string_view code);

}  // namespace holdfast::ui_http
