#pragma once
// An MCP server and the authorization server it trusts, behind one port, strict about everything a client has to get right and
// wrong wherever a test wants it to be.
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "unit/net_client/script_server.hpp"

namespace holdfast::testing {

class authorization_server {
  public:
    struct faults {
        nlohmann::json resource = nullptr;          ///< merged into the resource's metadata
        nlohmann::json server = nullptr;            ///< merged into the authorization server's metadata
        std::string iss = "right";                  ///< "right", "none", or what to say
        std::string audience;                       ///< of the tokens, instead of the resource asked for
        int token_lives_s = 3600;
        int refresh_status = 200, register_status = 201;
        std::string refresh_error = "temporarily_unavailable";  ///< what goes with a refresh_status
        int refresh_page = 0;                       ///< a refresh gets a page with that status, from something in between
        bool refresh_waits = false;                 ///< the token endpoint answers a refresh when this is over
        bool denies = false;                        ///< the person says no
        std::string scope = "mcp:basic";            ///< what the server wants to see at first
        std::string write_scope;                    ///< what tools/call needs beyond
        bool older = false;                         ///< the MCP server speaks HTTP with SSE of 2024-11-05 only
        std::string scopes_granted;                 ///< instead of those asked for
    };
    struct counts {
        int registered = 0, authorized = 0, exchanged = 0, refreshed = 0, by_itself = 0, served = 0, refused = 0, wrong = 0;
    };

    authorization_server();
    ~authorization_server();

    std::string url() const { return server_.url("/mcp"); }
    std::string issuer() const { return server_.url("/as"); }
    void set(const std::function<void(faults&)>& f);
    counts counted() const;
    /// Every token so far is of no use from now on; refresh tokens are.
    void forget_tokens();
    std::vector<heard_request> heard() const { return server_.heard(); }
    /// Everything secret that was given out.
    std::vector<std::string> secrets() const;
    std::vector<std::string> problems() const;  ///< what clients did wrong
    std::string last_scope() const;             ///< of the last authorization request

  private:
    using fields = std::map<std::string, std::string>;
    struct token {
        std::string audience, scope;
        bool good = true;
    };
    void serve(const heard_request& q, script_server::peer& p);
    void serve_mcp(const heard_request& q, script_server::peer& p, std::unique_lock<std::mutex>& lock);
    void stream(script_server::peer& p, std::unique_lock<std::mutex>& lock);
    void authorize(const fields& query, script_server::peer& p);
    void give_token(const heard_request& q, script_server::peer& p, std::unique_lock<std::mutex>& lock);
    void complain(const std::string& what) { ++counts_.wrong, problems_.push_back(what); }
    std::string fresh(const char* kind);

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> events_;  // for the stream of an older server
    int streams_ = 0;
    bool ending_ = false;
    faults faults_;
    counts counts_;
    int last_ = 0;
    fields pending_;  // of the authorization request
    std::string code_;
    std::map<std::string, token> access_, refresh_;
    std::vector<std::string> secrets_, problems_;
    std::string last_scope_;
    script_server server_;  // last: its threads use the rest
};

}  // namespace holdfast::testing
