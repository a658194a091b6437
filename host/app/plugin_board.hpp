#pragma once
// Which plugins the configuration wants: those it lists, and those that other sections imply (store, policies, transports).
// Owns the difference between "wanted" and "running" that start modes make; the running ones belong to the plugin_set.
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "api/method_table.hpp"
#include "kernel/plugins/plugin_set.hpp"

namespace holdfast::app {

struct wanted_plugin {
    enum class start_mode { automatic, on_demand, disabled };
    plugins::plugin_spec spec;
    std::string kind;        ///< of the manifest; "" when the file was not found
    start_mode start = start_mode::automatic;
    json shown_settings;     ///< as written in the file, credentials hidden
    json shown_supervision;  ///< as written, or null
    bool watch = false;      ///< reloaded when its file changes
    bool restarts_host = false;  ///< when it hangs
    bool implied = false;    ///< not listed under "plugins"
    friend bool same_configuration(const wanted_plugin& a, const wanted_plugin& b);
};

/// What a whole configuration wants, by id. `auth` is handed to plugins whose settings know it.
std::map<std::string, wanted_plugin> wanted_plugins(const json& resolved, const json& redacted, const std::string& base_dir,
                                                    const std::vector<plugins::found_plugin>& found);

class plugin_board {
  public:
    using done = plugins::plugin_set::done;

    explicit plugin_board(std::shared_ptr<plugins::plugin_set> set) : set_(std::move(set)) {}

    /// Makes the set equal to `wanted`: only what differs is added, removed or restarted. Returns one sentence per change.
    /// [not on a pool thread] Waits until the store (if it is new) is active or has failed; the rest starts in parallel and
    /// is awaited up to `deadline`. `order`: ids as the file lists them; others follow.
    std::vector<std::string> apply(std::map<std::string, wanted_plugin> wanted, const std::vector<std::string>& order, nanoseconds deadline);

    /// [any thread] As the API's plugin.*; unknown ids: not_found with the nearest known one.
    void start(const std::string& id, json handover, done finished);
    void stop(const std::string& id, done finished);
    void restart(const std::string& id, done finished);
    void remove(const std::string& id, done finished);
    void release(const std::string& id, done finished);
    /// The file as it is now, or another one, in place of what runs: see plugin_set::reload. One that was never started is started.
    void reload(const std::string& id, const std::string& from, done finished);
    /// Starts `to` with what `from` exported, then stops `from`. If `to` does not become active, `from` goes on.
    void swap(const std::string& from, const std::string& to, api::reply reply);

    json rows() const;
    result<json> row(const std::string& id) const;
    std::vector<std::string> urls() const;  ///< of active user interfaces
    bool terminal_taken() const;  ///< an active user interface has the host's terminal
    json counts() const;                    ///< {phase: n}

    /// The instance to use for a name in the configuration: an id, else the first with this `use`. [any thread]
    std::string instance_for(const std::string& name) const;
    bool watched(const std::string& id) const;
    bool restarts_host(const std::string& id) const;  ///< when it hangs
    std::vector<wanted_plugin> of_kind(const std::string& kind) const;
    plugins::plugin_set& set() const { return *set_; }

  private:
    result<wanted_plugin> find(const std::string& id) const;
    json row_of(const wanted_plugin& w) const;

    std::shared_ptr<plugins::plugin_set> set_;  // second owner: resolvers
    mutable std::mutex mutex_;                  // guards what follows; never held across a call
    std::map<std::string, json> left_with_;     // what a UI exported when it was swapped out: it goes on there when it comes back
    std::map<std::string, wanted_plugin> wanted_;
    std::vector<std::string> order_;            // as in the configuration
};

}  // namespace holdfast::app
