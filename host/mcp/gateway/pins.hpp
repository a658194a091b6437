#pragma once
// Which definition of each tool was approved. The first one seen is trusted; a changed one is held until somebody approves it.
// Names and `_meta` aside, any change counts; the order of keys is none. Pure.
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::mcp::gateway {

class pin_table {
  public:
    static constexpr std::size_t max_pins = 4'096;  ///< of one server; a tool beyond is held: one forgotten by itself would be trusted anew
    struct seen {
        const std::string* server;
        const std::string* tool;
        const std::string* hash;
        const json* definition;
    };
    struct alarm {
        std::string server, tool, pinned, now;
    };
    struct review_result {
        std::set<std::string> changed;  ///< servers whose row() is to be stored
        std::vector<alarm> alarms;      ///< newly held
        std::set<std::string> full;     ///< servers with tools beyond max_pins
    };
    /// What the servers offer now. `trust_changes`: a changed definition is pinned at once, with its alarm.
    review_result review(const std::vector<seen>& tools, bool trust_changes, const std::string& now);
    /// Whether a definition with this hash is another one than was approved, reviewed or not. One never seen is not, unless the table
    /// has no place for it.
    bool held(const std::string& server, const std::string& tool, const std::string& hash) const;
    /// Drops the pins of tools that the server does not offer: they are trusted like new ones when they come back. How many.
    std::size_t forget(const std::string& server, const std::set<std::string>& offered);

    /// {"pins":[{"server","tool","state":"pinned"|"held","hash","since","new_hash"?,"change"?}]}, by server and tool.
    json rows(const std::string& server, bool held_only) const;
    /// Errors: not_found (nothing held under that name), stale (it has changed again: `hash` is not what waits).
    result<void> approve(const std::string& server, const std::string& tool, const std::string& hash, const std::string& by, const std::string& now);

    json row(const std::string& server) const;  ///< for the store
    void load(const std::string& server, const json& row);

  private:
    struct pin {
        std::string hash, since, approved_by;
        json definition;  ///< null if it is large: then a change is shown without what it changed
        std::string new_hash;
        json new_definition;
    };
    std::map<std::string, std::map<std::string, pin>> pins_;
};

}  // namespace holdfast::mcp::gateway
