#include "ui-http/api_errors.hpp"

#include "net-server/http_text.hpp"
#include "ui-http/json_text.hpp"

namespace holdfast::ui_http {
namespace {
struct row {
    std::string_view code;
    int status;
};
constexpr row table[] = {
    {"invalid_argument", 400}, {"unauthorized", 401},      {"forbidden", 403},         {"not_found", 404},
    {"session_not_found", 404}, {"server_not_found", 404}, {"command_not_found", 404}, {"already_exists", 409},
    {"already_started", 409},  {"already_present", 409},   {"running", 409},           {"restarting", 409},
    {"server_already_exists", 409}, {"cancelled", 409},    {"stale", 409},             {"config_invalid", 422},
    {"plugin_refused", 422},   {"rate_limited", 429},      {"internal", 500},          {"plugin_failed", 500},
    {"io_error", 500},         {"corrupt", 500},           {"transport_lost", 502},    {"protocol_error", 502},
    {"server_error", 502},     {"unavailable", 503},       {"overloaded", 503},        {"max_children", 503},
    {"max_overflow_reached", 503}, {"read_only", 503},     {"timeout", 504},
};

std::string_view code_name(std::int32_t code) {
    switch (code) {
        case HF_E_INVALID: return "invalid_argument";
        case HF_E_NOT_FOUND: return "not_found";
        case HF_E_EXISTS: return "already_exists";
        case HF_E_UNSUPPORTED: return "not_found";
        case HF_E_STATE: return "unavailable";
        case HF_E_TIMEOUT: return "timeout";
        case HF_E_CANCELLED: return "cancelled";
        case HF_E_UNAVAILABLE: return "unavailable";
        case HF_E_OVERLOADED: return "overloaded";
        case HF_E_TRANSPORT: return "transport_lost";
        case HF_E_PROTOCOL: return "protocol_error";
        case HF_E_PEER: return "server_error";
        case HF_E_IO: return "io_error";
        case HF_E_READ_ONLY: return "read_only";
        case HF_E_CORRUPT: return "corrupt";
        case HF_E_AUTH: return "unauthorized";
        case HF_E_RATE_LIMITED: return "rate_limited";
        case HF_E_COMMAND_NOT_FOUND: return "command_not_found";
        default: return "internal";
    }
}
}  // namespace

int http_status(std::string_view code) {
    for (const row& r : table)
        if (r.code == code) return r.status;
    return 500;
}

std::string api_error::to_json() const {
    std::string out = R"({"code":)" + web::json_quote(code) + R"(,"message":)" + web::json_quote(message);
    if (retry_after_ms > 0) out += R"(,"retry_after_ms":)" + std::to_string(retry_after_ms);
    return out + "}";
}

web::http_response api_error::to_response() const { return web::http_response::failure(http_status(code), code, message, retry_after_ms); }

api_error api_error_from(const sdk::status& s, std::string_view result_json) {
    api_error e{std::string(code_name(s.code)), s.message, s.retry_after.count()};
    if (const auto said = parse_json(result_json)) {
        const json& object = member(*said, "error").is_object() ? member(*said, "error") : *said;
        e.code = string_or(object, "code", e.code);
        e.message = string_or(object, "message", e.message);
        const json& retry = member(object, "retry_after_ms");
        if (retry.is_number_integer()) e.retry_after_ms = retry.get<std::int64_t>();
    }
    if (e.message.empty()) e.message = "the host refused the call without saying why";
    return e;
}

}  // namespace holdfast::ui_http
