#pragma once
// What a failed answer means, and whether to ask again. Pure.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/status.hpp"
#include "llm-openai/settings.hpp"

namespace holdfast::llm_openai {

/// An answer other than 2xx. `body` may be cut. Holds no secret.
sdk::status status_of_answer(int http_status, const net::headers& h, std::string_view body, const settings& s,
                             std::chrono::system_clock::time_point now);
/// The connection failed.
sdk::status status_of_result(const net::result& r, const settings& s);
/// The object under "error" in a chunk or a body.
sdk::status status_of_error_object(std::string_view error_json, int http_status, const settings& s);

inline constexpr std::chrono::milliseconds first_retry{500}, longest_retry{8'000}, longest_obeyed{60'000};

/// How long to wait before the next attempt, empty for none. `attempt`: 0 after the first failure. `jitter` in [0, 1).
/// The server's wish is obeyed up to a minute; when it asks for longer, trying earlier is of no use and the caller is told.
std::optional<std::chrono::milliseconds> retry_after_answer(int attempt, int http_status, const net::headers& h, double jitter,
                                                            std::chrono::system_clock::time_point now);
std::optional<std::chrono::milliseconds> retry_after_result(int attempt, net::outcome what, double jitter);

}  // namespace holdfast::llm_openai
