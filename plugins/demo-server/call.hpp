#pragma once
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "protocol.hpp"
#include "request_state.hpp"
#include "wire.hpp"

namespace holdfast::demo {

/// What the client told about itself: in every request (modern) or in its handshake (legacy).
struct client_view {
    era speaks = era::modern;
    std::string version;
    json capabilities = json::object();
    int log_from = 8;  ///< lowest severity it wants to hear; 8 = none
};

/// Collects the answers of a JSON-RPC batch (2025-03-26 only) and sends them as one array.
class batch {
  public:
    batch(wire& out, std::size_t expected) : out_(out), waiting_(expected) {}
    /// One request of the batch is done; null = it gets no answer. [any thread]
    void done(json answer);

  private:
    wire& out_;
    std::mutex mutex_;
    std::size_t waiting_;
    json answers_ = json::array();
};

/// One request while it is being worked on: what it asked, and how to talk about it.
/// Built by the reader, then used by one thread; cancel() may come from the reader meanwhile.
class call {
  public:
    call(wire& out, const request_state& states, client_view client, json id, std::string method, json params,
         std::shared_ptr<batch> group);

    /// Reads what a retry brings (inputResponses, requestState). Errors: invalid_params.
    tl::expected<void, stop> prepare();

    const client_view& client() const { return client_; }
    const json& id() const { return id_; }
    const std::string& method() const { return method_; }
    const json& params() const { return params_; }
    /// params.arguments, or an empty object.
    const json& arguments() const;

    /// Sends notifications/progress if the client asked for it. `done` must grow from call to call.
    void progress(double done, double total, const std::string& message);
    /// The client's progress token, or null.
    const json& progress_token() const;
    /// Sends notifications/message if the client wants that level.
    void log(std::string_view level, json data);
    /// False when the request was cancelled or the client left: return `interrupted()` then.
    bool wait(std::chrono::milliseconds time) { return out_.sleep(cancelled_, time); }
    tl::unexpected<stop> interrupted() const;

    /// Whether the client can be asked `method` (elicitation/create in form mode, sampling/createMessage, roots/list).
    bool can_ask(std::string_view method) const;
    enum class memory { free, sealed };
    /// Asks the client; `requests` is {key: {method, params}}; returns {key: answer}.
    /// Legacy: blocks until the client has answered. Modern: returns input_required until a retry brings all answers,
    /// so whatever ran before it runs again on the retry and must be free of side effects. `sealed` accepts answers
    /// only together with the requestState that was handed out with the question.
    outcome ask(const json& requests, memory how = memory::free);

    void cancel() { out_.cancel(cancelled_); }
    bool cancelled() const { return cancelled_.load(); }
    /// Sends the answer, unless cancelled. At most once.
    void reply(const outcome& done);

  private:
    std::string identity() const;
    outcome ask_by_retry(const json& requests, memory how);

    wire& out_;
    const request_state& states_;
    const client_view client_;
    const json id_;
    const std::string method_;
    const json params_;
    const std::shared_ptr<batch> group_;  // Shared with the other requests of the batch.
    cancel_flag cancelled_{false};
    bool has_state_ = false;
    json answers_ = json::object();  // what earlier rounds and this one brought, by key
    json used_ = json::object();     // those of them that were asked for: what a next round must remember
};

json error_message(const json& id, const rpc_error& e);

}  // namespace holdfast::demo
