#pragma once
// One chat: the request, its attempts, its answer.
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "holdfast/call.hpp"
#include "holdfast/log.hpp"
#include "llm-openai/chat_request.hpp"
#include "llm-openai/chat_stream.hpp"
#include "llm-openai/models.hpp"
#include "net-client/sse.hpp"

namespace holdfast::llm_openai {

/// Owner: the client's driving thread, from begin() on. Completes its call exactly once, then calls `ended`.
class chat_job : public std::enable_shared_from_this<chat_job> {
  public:
    struct surroundings {
        net::http_client& client;
        models& offers;
        const settings& options;
        const sdk::log& log;
    };
    chat_job(surroundings s, sdk::call c, json request, std::function<void(chat_job&)> ended)
        : at_(s), call_(std::move(c)), id_(call_.id()), request_(std::move(request)), ended_(std::move(ended)) {}

    std::uint64_t id() const { return id_; }
    void begin();
    void cancel();
    /// Also after the driving thread has ended. Ends the transfer, if there is one.
    void fail(sdk::status s);

  private:
    void attempt();
    void on_headers(int status, const net::headers& h);
    void on_data(std::string_view bytes);
    void on_done(const net::result& r);
    void on_event(std::string_view data);
    void pass_on(const std::vector<std::string>& chunks);
    void conclude();
    bool try_again(std::optional<std::chrono::milliseconds> wait, const sdk::status& why);
    void watch(std::uint64_t transfer);
    void finish(const sdk::status& s, const std::string& result);

    surroundings at_;
    sdk::call call_;
    const std::uint64_t id_;
    json request_;
    std::function<void(chat_job&)> ended_;
    tool_names names_;
    std::string model_, body_;
    int attempts_ = 0;
    bool over_ = false;

    // Of the attempt under way
    std::uint64_t transfer_ = 0;
    int status_ = 0;
    net::headers headers_;
    std::optional<chat_stream> stream_;
    net::sse_parser sse_;
    enum class form { unknown, events, whole } form_ = form::unknown;
    std::string text_;  // a whole answer, or the beginning of an error's
    std::chrono::steady_clock::time_point last_event_;
};

}  // namespace holdfast::llm_openai
