#pragma once
// One way to a token, step by step: ask the server what it wants, read where to log in, become known there, send the person to
// the authorization server, trade the code for tokens. Pure: every step answers what is to be done next; the caller does it and
// comes back with what came of it. MCP 2026-07-28 and 2025-11-25, basic/authorization.
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "holdfast/status.hpp"
#include "net-client/http_client.hpp"
#include "oauth/challenge.hpp"
#include "oauth/client_identity.hpp"

namespace holdfast::oauth {

inline constexpr int max_redirects = 3;  ///< of one metadata request, within its origin
inline constexpr net::milliseconds fetch_time{15'000};

/// What a server said when it refused, and where it was found.
struct refused {
    challenge said;
    reach server_reach = reach::nowhere;
};

struct flow_inputs {
    settings own;
    std::string server_url;
    net::headers server_headers;     ///< the operator's, for the server alone
    std::optional<refused> known;    ///< none: the server is asked first
    std::optional<grant> before;     ///< its scopes are asked for again
    registrations made;
    std::string redirect_uri;
    std::string state, verifier;     ///< unguessable()
    std::vector<std::string> missed = {};  ///< scopes that challenges asked for since the last login
};

namespace step {
struct fetch { net::request what; };
struct visit { std::string url; };  ///< for a person; on_redirect() follows
struct done {
    grant got;
    std::optional<std::pair<std::string, registration>> registered;  ///< issuer, to be kept
};
struct failed { sdk::status why; };
}  // namespace step
using next_step = std::variant<step::fetch, step::visit, step::done, step::failed>;

struct answer {
    net::result result;
    net::headers headers;
    std::string body;
};

class flow {
  public:
    explicit flow(flow_inputs in) : in_(std::move(in)) {}

    next_step start();
    next_step on_answer(const answer& a, wall_time now);
    /// The query of the address the browser was sent back to. None: not the answer to our question, wait on.
    std::optional<next_step> on_redirect(std::string_view query);
    const std::string& issuer() const { return issuer_; }  ///< empty until one was chosen

  private:
    enum class at { probe, resource, server, registering, visiting, token };

    next_step ask(net::request r);
    next_step get(const std::string& url);
    next_step try_next();
    next_step on_probe(const answer& a);
    next_step on_document(const answer& a, wall_time now);
    next_step choose_server();
    next_step identify(wall_time now);
    next_step authorize();
    next_step on_token(const answer& a, wall_time now);
    std::vector<std::string> wanted_scopes() const;
    static step::failed failure(std::int32_t code, std::string why, bool retryable = false) { return {{code, std::move(why), retryable}}; }

    flow_inputs in_;
    at at_ = at::probe;
    std::vector<std::string> candidates_;  // of the document that is looked for, next one first
    std::string asked_;                    // the URL under way
    int redirects_ = 0;
    std::string first_problem_;
    resource_metadata resource_;
    server_metadata server_;
    std::string issuer_;
    std::optional<registration> registered_;
    identity client_;
    std::vector<std::string> scopes_;
};

}  // namespace holdfast::oauth
