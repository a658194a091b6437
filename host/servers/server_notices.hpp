#pragma once
// What servers say of their own accord, handed to whoever serves clients of its own; and what that one wants to be told.
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "kernel/core/json.hpp"

namespace holdfast::servers {

/// [any thread]
class server_notices {
  public:
    using listener = std::function<void(const std::string& server, const std::string& method, const json& params)>;

    void listen(listener f) {
        auto fresh = f ? std::make_shared<const listener>(std::move(f)) : nullptr;
        std::lock_guard lock(mutex_);
        listener_.swap(fresh);
    }
    void say(const std::string& server, const std::string& method, const json& params) const {
        std::shared_ptr<const listener> f;
        {
            std::lock_guard lock(mutex_);
            f = listener_;
        }
        if (f) (*f)(server, method, params);
    }
    void set_log_level(std::string level) {
        std::lock_guard lock(mutex_);
        log_level_.swap(level);
    }
    std::string log_level() const {
        std::lock_guard lock(mutex_);
        return log_level_;
    }

  private:
    mutable std::mutex mutex_;                  // leaf
    std::shared_ptr<const listener> listener_;  // second owners: notices under way
    std::string log_level_;
};

}  // namespace holdfast::servers
