#pragma once
// The credentials of one configured server while the plugin runs: hands out the token, renews it once for all who need it, and
// carries a login through.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/status.hpp"
#include "net-client/http_client.hpp"
#include "oauth/credential_file.hpp"
#include "oauth/flow.hpp"
#include "oauth/login_page.hpp"
#include "oauth/settings.hpp"

namespace holdfast::oauth {

inline constexpr net::milliseconds login_time{600'000};  ///< for the person; then the login is given up
inline constexpr std::chrono::seconds renewal_pause{10}; ///< after the token endpoint gave nothing
inline constexpr std::size_t max_waiting = 4096;         ///< for one renewal

/// What an account needs of the world around it; outlives every account.
struct surroundings {
    net::http_client* client = nullptr;
    std::function<std::shared_ptr<const credential_file>()> file;        ///< may throw sdk::plugin_error
    std::function<void(std::shared_ptr<login_page>)> serve;              ///< gives it a thread; may throw sdk::plugin_error
    std::function<wall_time()> now = [] { return std::chrono::system_clock::now(); };
};

/// Owner: the client's driving thread. Every callback comes there, perhaps before the function returns.
class account : public std::enable_shared_from_this<account> {
  public:
    using then = std::function<void(const sdk::status&)>;

    account(const surroundings& around, std::string name, std::string server_url, net::headers server_headers, settings own);

    /// Value of Authorization, or empty.
    std::string authorization() const;
    /// Calls `go` when the token is not about to expire, or cannot be renewed without a person.
    void freshen(std::function<void()> go);
    /// The server refused (401, or 403 with insufficient_scope) a request that was sent with `sent`. OK: send it again.
    void refused(const std::string& sent, oauth::refused r, then t);

    /// For the person: `shown` gets the URL, then `t` the end. A login that is under way already is joined.
    void login(std::function<void(const std::string& url)> shown, then t);
    /// Forgets everything that was granted.
    sdk::status logout();
    /// Ends a login that is under way.
    void abort(const sdk::status& why);

  private:
    struct attempt;

    void load();
    void keep(const std::function<void(credentials&)>& f);
    void keep_granted();
    bool alone() const { return own_.kind == settings::grant::client_credentials; }
    bool renewable() const { return alone() || (granted_ && !granted_->refresh_token.empty()); }
    void renew(then t);
    void renewed(const sdk::status& s);
    void refresh();
    void on_refreshed(const std::string& sent, const answer& a);
    sdk::status needs_person(const std::string& why) const;
    sdk::status not_renewed(const token_answer& t) const;

    void run(std::shared_ptr<attempt> a, next_step s);
    void finish(const std::shared_ptr<attempt>& a, const sdk::status& s);
    flow_inputs inputs(std::string redirect_uri) const;
    void perform(net::request r, std::function<void(const answer&)> on);

    const surroundings& around_;
    const std::string name_, server_url_;
    const net::headers server_headers_;
    const settings own_;

    bool loaded_ = false;
    bool unsaved_ = false;                 // the file could not be written: what is in memory is newer
    std::optional<grant> granted_;
    registrations clients_;
    std::optional<oauth::refused> known_;  // what the server said last
    std::vector<std::string> missed_;      // scopes of insufficient_scope challenges that no login has asked for yet; at most max_scopes
    wall_time renew_after_{};              // the token endpoint gave nothing; until then nothing waits for it in advance
    bool renewing_ = false;
    std::vector<then> waiting_;
    std::shared_ptr<attempt> login_;  // second owners: callbacks of its requests and its page
};

}  // namespace holdfast::oauth
