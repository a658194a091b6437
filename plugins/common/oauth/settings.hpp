#pragma once
// "auth" of one server in the configuration. Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::oauth {

struct settings {
    enum class grant { authorization_code, client_credentials };
    grant kind = grant::authorization_code;
    std::string client_id, client_secret;   ///< of a client registered beforehand; the secret is never shown
    std::string client_metadata_url;        ///< a client-ID metadata document of the operator's
    std::string issuer;                     ///< the only authorization server to be trusted; empty: the one the server names
    std::vector<std::string> scopes;        ///< instead of those the server asks for
    std::uint16_t redirect_port = 0;        ///< 0: any free one

    friend bool operator==(const settings&, const settings&) = default;
};

/// What to do with the connection that is opened with these settings.
enum class purpose { connect, login, logout };

struct server_auth {
    settings own;
    purpose what = purpose::connect;
};
/// `json`: the value of "auth". Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong.
server_auth read_auth(std::string_view json);

}  // namespace holdfast::oauth
