#pragma once
// Browser logins: random cookie values that stand for a checked token. Memory only; handed to a successor on restart.
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "ui-http/json_text.hpp"

namespace holdfast::ui_http {

/// Who a request is made for, as the host's authenticate() said.
struct person {
    std::string user = "local";
    std::string role = "viewer";
    /// The identity object of hf.api calls.
    std::string identity_json() const;
};

/// [any thread]
class logins {
  public:
    using clock = std::chrono::steady_clock;
    static constexpr std::chrono::minutes idle_limit{30};  ///< slides with every request
    static constexpr std::size_t max_logins = 1000;        ///< beyond it the one unused for longest is dropped

    /// 64 hexadecimal digits from the kernel's random source.
    std::string open(person who, clock::time_point now);
    /// Extends the login when it is still valid.
    std::optional<person> use(std::string_view value, clock::time_point now);
    /// Like use(), without extending it.
    bool valid(std::string_view value, clock::time_point now) const;
    void close(std::string_view value);
    void drop_expired(clock::time_point now);
    std::size_t size() const;

    json export_state(clock::time_point now) const;
    void import_state(const json& state, clock::time_point now);  ///< ignores what it does not understand

  private:
    struct entry {
        person who;
        clock::time_point used;
    };
    void make_room();
    mutable std::mutex mutex_;
    std::unordered_map<std::string, entry> entries_;
};

}  // namespace holdfast::ui_http
