#pragma once
// One WebSocket: the control protocol of host/doc/api.md (requests, subscriptions), and, for clients that only listen, the
// flat status messages OMNI2 dashboards expect.
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "holdfast/events.hpp"
#include "net-server/http_server.hpp"
#include "net-server/token_bucket.hpp"
#include "ui-http/api_port.hpp"

namespace holdfast::ui_http {

/// What every client needs. Outlives them all; owned by the gateway.
struct ws_services {
    api_port& api;
    const sdk::events& events;
    std::function<std::chrono::milliseconds(const std::string& user)> rate;  ///< 0 = may pass now
    std::function<void(std::function<void()>)> post;                         ///< runs later on a server thread
};

class ws_client final : public web::websocket_handler, public std::enable_shared_from_this<ws_client> {
  public:
    static constexpr std::size_t max_calls = 64;          ///< under way at once
    static constexpr std::size_t max_subscriptions = 64;
    static constexpr std::size_t max_early_events = 1024; ///< that arrive before the answer to their subscription
    static constexpr std::size_t max_early_bytes = 4u << 20;  ///< likewise: they follow the answer into its queue, which is twice as long
    static constexpr const char* protocol = "holdfast.v1";

    /// `still_allowed(used)`: asked at each message (used: true) and now and then; false ends the connection with 4401.
    ws_client(std::shared_ptr<ws_services> services, person who, std::function<bool(bool used)> still_allowed, bool listens_only)
        : services_(std::move(services)), who_(std::move(who)), still_allowed_(std::move(still_allowed)), flat_(listens_only) {}

    void on_open(std::shared_ptr<web::websocket> socket) override;
    void on_message(std::string_view text) override;
    bool busy() const override;
    void on_close() override;

    /// [server thread] Ends the connection when its login is gone.
    void check_login();

  private:
    /// Shared by the client and by the event callback. Its mutex is a leaf.
    struct subscription {
        std::uint64_t number = 0;
        std::string topic;
        std::mutex mutex;
        bool answered = false;            // events wait in `early` until the client knows the number
        bool over = false;                // closed by the host or overrun: says no more
        std::size_t early_bytes = 0;
        std::vector<std::shared_ptr<const std::string>> early;
        std::uint64_t last_seq = 0;
        sdk::subscription handle;         // guarded by the client's mutex
    };
    using subscription_ptr = std::shared_ptr<subscription>;

    void call(const json& id, const std::string& method, const json& params);
    void subscribe(const json& id, const json& options);
    void unsubscribe(const json& id, const json& number);
    void on_event(const subscription_ptr& s, std::string_view event);
    void finish_subscribe(const subscription_ptr& s, const json& id, std::uint64_t seq, const json& epoch);
    void end(const subscription_ptr& s);  ///< takes it out and closes its handle
    void start_flat();
    void stop_flat();
    void reply(std::string text);
    void reply_error(const json& id, const api_error& e);
    std::shared_ptr<web::websocket> socket() const;

    const std::shared_ptr<ws_services> services_;  // shared with the gateway: completions may outlive either
    const person who_;
    const std::function<bool(bool)> still_allowed_;

    mutable std::mutex mutex_;  // guards everything below; never held while anything else is called
    std::shared_ptr<web::websocket> socket_;  // shared with the server; null once closed
    std::map<std::uint64_t, subscription_ptr> subscriptions_;
    std::uint64_t last_number_ = 0;
    std::size_t calls_ = 0;
    bool flat_ = false;
    sdk::subscription flat_handle_;
};

}  // namespace holdfast::ui_http
