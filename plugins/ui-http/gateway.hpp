#pragma once
// HTTP and WebSocket on one side, hf.api on the other: checks every request, maps paths to methods, serves the pages.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/plugin.hpp"
#include "net-server/http_server.hpp"
#include "net-server/token_bucket.hpp"
#include "ui-http/access.hpp"
#include "ui-http/api_port.hpp"
#include "ui-http/assets.hpp"
#include "ui-http/logins.hpp"
#include "ui-http/mcp_endpoint.hpp"
#include "ui-http/mcp_sse.hpp"
#include "ui-http/settings.hpp"
#include "ui-http/ws_client.hpp"

namespace holdfast::ui_http {

class gateway final : public web::http_handler {
  public:
    gateway(sdk::host& host, const settings& s);

    /// Throws sdk::plugin_error naming the port and what to do. [control]
    void listen();
    /// One of the threads that serve; returns when told to stop. [worker]
    void run(sdk::worker_ctl& ctl);
    /// Finishes what is under way and takes no new client: those wait for the next generation. [control]
    void quiesce(std::chrono::steady_clock::time_point deadline);
    /// Ends what is left. [control]
    void stop();

    std::string url() const;
    std::size_t clients() const;
    ui_http::logins& logins() { return logins_; }

    void on_request(web::http_request request, web::responder respond) override;
    web::upgrade_answer on_upgrade(const web::http_request& request) override;

  private:
    using clock = std::chrono::steady_clock;
    struct caller {
        person who;
        proof how = proof::none_needed;
        std::string secret;  ///< the cookie's value or the token
    };
    using reply_fn = std::function<void(web::http_response)>;

    std::optional<caller> identify(const web::http_request& request);
    bool still_allowed(const caller& c, bool used);
    void route(const web::http_request& request, const caller& c, reply_fn reply);
    void route_api(const web::http_request& request, const caller& c, reply_fn reply);
    void omni_path(const web::http_request& request, const caller& c, reply_fn reply);
    void mcp_request(web::http_request request, web::responder respond);
    void exchange(const web::http_request& request, reply_fn reply);
    void forward(std::string_view method, const json& params, const caller& c, reply_fn reply);
    std::string cors_origin(const web::http_request& request) const;
    std::string cookie_of(const web::http_request& request) const;
    void sweep();

    sdk::host& host_;
    const settings settings_;
    const std::map<std::string, web::static_file, std::less<>> assets_;
    const std::shared_ptr<api_port> api_;  // shared with completions that outlive a stop
    mcp_endpoint mcp_;
    const std::shared_ptr<mcp_sse> mcp_sse_;  // null: switched off. Shared with its streams
    ui_http::logins logins_;
    std::shared_ptr<ws_services> services_;  // shared with the clients
    std::shared_ptr<web::http_server> server_;  // set by listen, reset by the destructor only
    std::atomic<std::int64_t> next_sweep_ns_{0};
    std::atomic<bool> leaving_{false};

    mutable std::mutex mutex_;  // guards what follows; leaf
    web::token_bucket message_rate_;
    web::token_bucket exchange_rate_;
    std::vector<std::weak_ptr<ws_client>> clients_;

    std::chrono::milliseconds grace_;  ///< of stop [control]
};

}  // namespace holdfast::ui_http
