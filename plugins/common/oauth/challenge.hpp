#pragma once
// WWW-Authenticate: what a server that refuses wants to see (RFC 9110, 11.6.1; RFC 6750, 3; RFC 9728, 5.1). Pure.
#include <string>
#include <string_view>
#include <vector>

#include "net-client/http_client.hpp"

namespace holdfast::oauth {

inline constexpr std::size_t max_challenge_bytes = 8 * 1024;  ///< of all such headers; more is not looked at
inline constexpr std::size_t max_scopes = 128;                ///< of one challenge or one document
inline constexpr std::size_t max_scope_bytes = 256;

struct challenge {
    bool bearer = false;             ///< a Bearer challenge was there
    std::string resource_metadata;   ///< URL, unchecked
    std::vector<std::string> scopes;
    std::string error;               ///< "invalid_token", "insufficient_scope"; a token of RFC 6749's alphabet, or empty
};
/// The first Bearer challenge of an answer.
challenge read_challenge(const net::headers& h);

/// scope-token of RFC 6749, 3.3.
bool valid_scope(std::string_view scope);
/// `error` as RFC 6749 spells it, fit to be shown: letters, digits and _ . - only, at most 64. Empty when it is not.
std::string error_name(std::string_view text);

}  // namespace holdfast::oauth
