#pragma once
// What the servers tell the world: events, the health log, the stored row. One for all servers. [any thread]
#include <map>
#include <mutex>
#include <optional>

#include "kernel/events/bus.hpp"
#include "servers/failure_burst.hpp"
#include "servers/server_set.hpp"
#include "servers/status.hpp"

namespace holdfast::servers {

/// "30s", as OM2 writes it; rounded up. null when not known.
json eta_json(std::optional<nanoseconds> eta);

class reports {
  public:
    explicit reports(const server_set_options& options) : options_(options) {}

    void status_changed(const std::string& server, status from, status to, const std::string& reason, std::optional<nanoseconds> eta);
    void progress(const std::string& server, std::uint32_t attempt, std::uint32_t max, std::optional<nanoseconds> next_in, status now);
    void circuit_opened(const std::string& server, const std::string& reason, nanoseconds eta);
    void critical(const std::string& reason, const std::vector<std::string>& servers);
    void notify_admins(const std::string& severity, const std::string& message, json context);
    /// Health log: an event on topic `health` and a row of stream "health:<server>", which keeps its newest 2,000 rows.
    void health(const std::string& server, const char* event, const std::string& detail, status now);
    void log(log_level level, const std::string& server, const std::string& line) const;

  private:
    void publish(const std::string& server, const char* type, const json& fields);
    std::uint64_t next_seq();

    const server_set_options& options_;  // of the set, which outlives this
    std::mutex mutex_;                   // leaf: everything below
    failure_burst burst_;
    std::uint64_t last_seq_ = 0;
    bool store_broken_ = false;
    std::map<std::string, unsigned> untrimmed_;  ///< rows written since the log of a server was trimmed
};

}  // namespace holdfast::servers
