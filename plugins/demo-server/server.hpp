#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "call.hpp"
#include "catalogue.hpp"
#include "line_reader.hpp"
#include "protocol.hpp"
#include "request_state.hpp"
#include "wire.hpp"
#include "workers.hpp"

namespace holdfast::demo {

inline constexpr std::size_t max_subscriptions = 64;
inline constexpr std::size_t max_watched_uris = 256;  ///< per subscription, and for the legacy session
inline constexpr std::size_t max_batch = 100;
inline constexpr std::chrono::seconds exit_deadline{2};

/// One MCP server on two pipes, for both eras at once. A request with modern `_meta` is served from that alone; a
/// request without is served by the session that `initialize` opened (one per process).
/// Spec: MCP 2026-07-28 basic/versioning, "Backward Compatibility"; MCP 2025-11-25 basic/lifecycle.
///
/// Threads: the reader runs run() and owns everything below except `active_`; blocking work runs on workers.
class server {
  public:
    server(catalogue offered, int in, int out) : catalogue_(std::move(offered)), reader_(in), wire_(out) {}

    /// Serves until the client closes its end. Returns the exit status.
    int run();

  private:
    struct session {  // legacy; exists after `initialize`
        client_view client;
        std::set<std::string> watched;
    };
    struct subscription {  // modern; lives as long as its subscriptions/listen request
        json id;
        json filter;  // what was acknowledged
    };

    void on_line(std::string_view line);
    void on_batch(const json& messages);
    void on_message(const json& message, const std::shared_ptr<batch>& group);
    void on_request(const json& message, const std::shared_ptr<batch>& group);
    void on_notification(const std::string& method, const json& params);

    /// Who asks, as far as this request tells. Errors: invalid_params, unsupported_version.
    tl::expected<client_view, stop> identify(const std::string& method, const json& params) const;
    void serve(const std::shared_ptr<call>& c);
    /// Runs `work` here or on a worker, then answers.
    void start(const std::shared_ptr<call>& c, bool blocking, std::function<outcome(call&)> work);
    void finish(call& c, outcome done);

    outcome initialize(const json& params);
    outcome discover();
    outcome list(const call& c, const char* field, json entries);
    outcome read_resource(const call& c);
    outcome complete(const call& c);
    outcome set_level(const json& params);
    outcome watch(const json& params, bool on);
    void call_tool(const std::shared_ptr<call>& c);
    void get_prompt(const std::shared_ptr<call>& c);
    void listen(const std::shared_ptr<call>& c);

    /// Tells everyone who subscribed. `uri` only for resources/updated.
    void announce(const char* filter_key, const char* method, const std::string& uri = {});
    void apply(effect what);

    catalogue catalogue_;
    line_reader reader_;
    wire wire_;
    request_state states_;
    std::optional<session> session_;
    std::map<std::string, subscription> subscriptions_;  // by dumped request id

    std::mutex active_mutex_;
    std::map<std::string, std::shared_ptr<call>> active_;  // Guarded by active_mutex_. Shared with the worker at work.

    workers workers_;  // Last: its destructor joins before anything a worker uses is gone.
};

}  // namespace holdfast::demo
