#pragma once
// Who the host is to an authorization server: registered beforehand, described by a document of its own, or registered on the
// spot (RFC 7591), in that order. Pure.
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "net-client/http_client.hpp"
#include "oauth/metadata.hpp"
#include "oauth/settings.hpp"
#include "oauth/token.hpp"

namespace holdfast::oauth {

/// Made by dynamic registration; good at one issuer only, and for one way back.
struct registration {
    identity client;
    std::string redirect_uri;
    wall_time secret_expires_at{};  ///< epoch: never
};
using registrations = std::map<std::string, registration>;  ///< by issuer

/// How to prove who we are, of the ways both sides know.
auth_method choose_method(const std::vector<std::string>& supported, bool has_secret);

struct identity_choice {
    std::optional<identity> known;  ///< none: register
};
/// Throws sdk::plugin_error (HF_E_AUTH): there is no way, and what the operator has to set.
identity_choice choose_identity(const settings& s, const server_metadata& m, const registrations& made, const std::string& redirect_uri, wall_time now);

net::request registration_request(const server_metadata& m, const std::string& redirect_uri, const std::vector<std::string>& scopes);
/// Throws sdk::plugin_error (HF_E_AUTH): refused, and why.
registration read_registration(int status, std::string_view body, const server_metadata& m, const std::string& redirect_uri);

}  // namespace holdfast::oauth
