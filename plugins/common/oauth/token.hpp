#pragma once
// An access token and all it takes to get the next one. Pure.
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net-client/http_client.hpp"
#include "oauth/form.hpp"
#include "oauth/reach.hpp"

namespace holdfast::oauth {

using wall_time = std::chrono::system_clock::time_point;

inline constexpr std::chrono::seconds longest_head_start{60};     ///< a token is replaced so long before it expires …
inline constexpr int head_start_divisor = 10;                     ///< … but not before 9/10 of its life
inline constexpr std::chrono::hours longest_life{24 * 365};       ///< what an answer says beyond that is cut
inline constexpr std::size_t max_token_bytes = 16 * 1024;

enum class auth_method { none, basic, post };
std::string_view name_of(auth_method m);
std::optional<auth_method> method_of(std::string_view name);

/// Who we are to one authorization server.
struct identity {
    std::string client_id, client_secret;  ///< the secret is never shown
    auth_method method = auth_method::none;
};

struct grant {
    std::string server_url;  ///< whose requests it may go with, and nobody else's
    std::string issuer, resource, token_endpoint;
    identity client;
    std::string access_token, refresh_token;
    wall_time expires_at{};   ///< epoch: not known
    wall_time fresh_until{};  ///< epoch: until refused
    std::vector<std::string> scopes;     ///< asked for and granted, all of them so far
    reach server_reach = reach::everywhere;
};

/// What the token endpoint said. Empty access_token: `error` names why; `definite`: asking again the same way is of no use;
/// `ended`: what was shown is of no use any more. Neither when it may have been something in between that answered.
struct token_answer {
    std::string access_token, refresh_token;
    std::optional<std::chrono::seconds> lives;
    std::optional<std::vector<std::string>> scopes;
    std::string error;  ///< fit to be shown
    bool definite = false, ended = false;
};
token_answer read_token_answer(int status, std::string_view body);
/// Takes what a good answer says into the grant. A refresh token stays when none came.
void accept(grant& g, const token_answer& a, wall_time now);
inline bool expiring(const grant& g, wall_time now) { return g.fresh_until != wall_time{} && now >= g.fresh_until; }

/// POST to the token endpoint, with the client's way to authenticate.
net::request token_request(const std::string& endpoint, const identity& client, fields body);
net::request refresh_request(const grant& g);

}  // namespace holdfast::oauth
