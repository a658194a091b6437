#pragma once
// What was changed at runtime about the configured servers (PLG-2): kept in the store, put over the file, lost to a later edit of
// the same key in the file. Pure.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernel/core/json.hpp"

namespace holdfast::servers {

inline constexpr std::size_t max_override_keys = 256;  ///< of one server

/// The changes of one server, or a server that exists by them alone.
struct server_override {
    bool added = false;
    json entry;     ///< added: the whole of it
    json set = json::object();   ///< pointer ("/health/interval_s") → value; null takes the key out
    json base = json::object();  ///< pointer → hash of what the file said then: another one means that the file was edited
    std::string by, at;

    json to_row() const;
    static server_override from_row(const json& row);
};

class override_book {
  public:
    /// Row of table "overrides", key "mcpServers/<name>".
    void restore(const std::string& name, const json& row) { all_[name] = server_override::from_row(row); }

    struct effective {
        json entry;
        std::vector<std::string> keys;  ///< overridden, as "health.interval_s"
        bool added = false;
    };
    struct outcome {
        std::map<std::string, effective> servers;
        std::vector<std::string> changed;  ///< servers whose row is another now, or none: lost to the file
        std::vector<std::string> lost;      ///< "name: key", for the log
        std::vector<std::string> problems;  ///< "name: key: why": a value that cannot be resolved, left out
    };
    /// Resolves references in a value that was set at runtime; those of the file are resolved already.
    using resolver = std::function<result<json>(const json&)>;
    /// Takes out what the file has overtaken and puts the rest over it.
    outcome apply(const json& file_servers, const resolver& resolve);

    /// A merge patch (RFC 7396): null takes a key out, objects are merged. Changes nothing when it fails.
    /// Errors: invalid_argument.
    result<void> patch(const std::string& name, const json& changes, const json& file_entry, std::string by, std::string at);
    /// Errors: server_already_exists.
    result<void> add(const std::string& name, json entry, std::string by, std::string at);
    /// Forgets. false: there was nothing.
    bool drop(const std::string& name) { return all_.erase(name) > 0; }

    const server_override* find(const std::string& name) const;
    /// Puts back what find() gave before. For a change that turned out not to be valid.
    void put_back(const std::string& name, const server_override* before);

  private:
    std::map<std::string, server_override> all_;
};

}  // namespace holdfast::servers
