#pragma once
// What the server at base_url offers: one GET /models at a time, its answer kept for a few seconds.
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/status.hpp"
#include "llm-openai/settings.hpp"

namespace holdfast::llm_openai {

struct offer {
    bool available = false;
    std::string model;   ///< the configured one, else the first of the list; may be empty when not available
    std::string reason;  ///< one sentence either way
    sdk::status failure; ///< not available: what a chat should say
};

/// Owner: the client's driving thread.
class models {
  public:
    models(net::http_client& client, const settings& s) : client_(client), settings_(s) {}
    /// Calls `then` on the driving thread, perhaps before it returns. On shutdown it is dropped uncalled.
    void ask(std::function<void(const offer&)> then);

  private:
    void answered(const offer& o);
    net::http_client& client_;
    const settings& settings_;
    std::vector<std::function<void(const offer&)>> waiting_;
    std::optional<offer> last_;
    std::chrono::steady_clock::time_point fresh_until_{};
};

/// Pure: what an answer of GET /models means.
offer offer_of(int http_status, const net::headers& h, std::string_view body, const settings& s);

}  // namespace holdfast::llm_openai
