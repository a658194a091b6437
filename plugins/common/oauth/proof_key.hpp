#pragma once
// PKCE (RFC 7636) and other unguessable text.
#include <string>
#include <string_view>

namespace holdfast::oauth {

/// 256 random bits as 43 characters of base64url. Throws std::runtime_error when the system has no randomness.
std::string unguessable();
/// code_challenge of a code_verifier, method S256.
std::string s256(std::string_view verifier);

}  // namespace holdfast::oauth
