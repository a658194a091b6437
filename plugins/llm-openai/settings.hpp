#pragma once
#include <chrono>
#include <string>
#include <string_view>

#include "net-client/http_client.hpp"

namespace holdfast::llm_openai {

inline constexpr const char* default_base_url = "https://api.openai.com/v1";
inline constexpr const char* default_model = "gpt-6.1-sol";

struct settings {
    std::string base_url;  ///< without a slash at the end
    std::string origin;    ///< scheme://host[:port], fit to be shown
    std::string api_key;   ///< never shown
    std::string model;     ///< empty: ask the server
    std::string organization;
    net::headers headers;  ///< of every request, credentials included
    std::chrono::milliseconds idle_timeout{120'000};
    int max_retries = 2;
    bool local = false;     ///< the base URL is on this machine
    bool official = false;  ///< api.openai.com itself
};
/// Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong but no secret.
settings read_settings(std::string_view json);

}  // namespace holdfast::llm_openai
