#pragma once
// Calls into the host's API that are under way, so that stop() leaves none behind.
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "holdfast/api.hpp"
#include "ui-http/api_errors.hpp"
#include "ui-http/logins.hpp"

namespace holdfast::ui_http {

/// The result as JSON text, or the uniform error.
struct api_result {
    std::string json_text;
    bool ok = false;
    api_error error;
};

/// [any thread]
class api_port {
  public:
    explicit api_port(const sdk::api& api) : api_(api), calls_(std::make_shared<calls>()) {}

    /// `done` runs exactly once, on any thread, perhaps before this returns; after close() at once, with `unavailable`.
    /// on_chunk: takes the pieces of a method that streams. The returned id names the call in cancel(); 0: it is over.
    std::uint64_t call(std::string_view method, std::string_view params_json, const person& who, std::function<void(api_result)> done,
                       std::function<void(std::string_view)> on_chunk = {});
    void cancel(std::uint64_t id) const { api_.cancel(id); }
    /// Throws sdk::plugin_error.
    std::string describe() const { return api_.describe(); }
    person authenticate(std::string_view token) const;

    /// Refuses new calls and cancels those under way.
    void close();
    /// Until none is under way; false when some are left after `patience`.
    bool wait(std::chrono::milliseconds patience);

  private:
    struct calls {  // shared with the completions under way
        std::mutex mutex;
        std::condition_variable none_left;
        std::unordered_set<std::uint64_t> ids;
        std::size_t under_way = 0;
        bool closed = false;
    };
    const sdk::api& api_;
    std::shared_ptr<calls> calls_;
};

}  // namespace holdfast::ui_http
