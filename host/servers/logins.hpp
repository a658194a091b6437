#pragma once
// People who log in to servers that want OAuth. The transport does it: a login is a connection to the server whose "auth" says
// "action": "login"; it is open once the address for the browser is known ({"authorization_url"}) and closed when all has ended.
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"
#include "kernel/core/unique_function.hpp"
#include "servers/connection.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers {

inline constexpr std::size_t max_login_waiters = 64;  ///< of one login

/// [any thread]
class logins : public std::enable_shared_from_this<logins> {
  public:
    explicit logins(std::shared_ptr<server_set> set) : set_(std::move(set)) {}
    ~logins();  ///< whoever still waits gets no answer

    /// {"name","authorization_url"} of a login that begins, or is under way. Errors: server_not_found, invalid_argument (the server
    /// has no "auth"), unauthorized and others of the transport, with what to do.
    void begin(const std::string& name, row_reply done);
    /// The end of the login that is under way, or of the last one: the server's row. Errors: not_found (there was none since a
    /// logout), and why it failed.
    void wait(const std::string& name, row_reply done);
    /// Makes the transport forget what was granted: {"name"}. After this, as after a login, an enabled server is connected anew.
    void logout(const std::string& name, row_reply done);

  private:
    struct attempt {
        std::unique_ptr<connection> wire;
        std::string url;
        std::vector<row_reply> begun, ended;
        bool over = false;
    };
    using attempt_ptr = std::shared_ptr<attempt>;  // owners: under_way_, and the callbacks of its connection

    void open(const std::string& name, const char* action, const attempt_ptr& a);
    void report(const std::string& name, const attempt_ptr& a, transport_report r);
    void finish(const std::string& name, const attempt_ptr& a, result<void> how);
    result<json> told(const std::string& name, const result<void>& how) const;

    const std::shared_ptr<server_set> set_;
    std::mutex mutex_;  // leaf: under_way_ and what it holds
    std::map<std::string, attempt_ptr> under_way_;
    std::map<std::string, result<void>> last_;  // a person may be faster than who waits for the end; one for each server
};

}  // namespace holdfast::servers
