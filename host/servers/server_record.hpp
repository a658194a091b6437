#pragma once
// What outlives one incarnation of a server's actor, and the immutable snapshots others read.
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "kernel/supervise/actor.hpp"
#include "mcp/client_machine.hpp"
#include "servers/figures.hpp"
#include "servers/resources.hpp"
#include "servers/server_spec.hpp"
#include "servers/tool_port.hpp"

namespace holdfast::servers {

class server_actor;

/// One server's part of the catalogue. Immutable. Null while it is not healthy.
struct catalogue_part {
    std::vector<tool_info> tools;  ///< sorted by name
    json prompts = json::array();
    json resources = json::array();
    json resource_templates = json::array();
    friend bool operator==(const catalogue_part& a, const catalogue_part& b) {
        return std::equal(a.tools.begin(), a.tools.end(), b.tools.begin(), b.tools.end(),
                          [](const tool_info& x, const tool_info& y) { return x.name == y.name && x.hash == y.hash; }) &&
               a.prompts == b.prompts && a.resources == b.resources &&
               a.resource_templates == b.resource_templates;
    }
};
std::shared_ptr<const catalogue_part> make_part(const std::string& server, const mcp::server_lists& lists);

/// A row, ready to be made into JSON at any later moment. Immutable.
struct server_snapshot {
    std::string name, transport, era, protocol_version;
    json server_info;
    status_state state;
    std::optional<std::int64_t> pid;
    std::size_t tools = 0, prompts = 0, resources = 0;
    wall_time since{};
    std::optional<wall_time> last_check;
    json breaker = json::object();
    json health = json::object();
    std::uint64_t starts = 0;
    json protocol = json::object();  ///< counters of what the server sent wrongly
};
json row_of(const server_snapshot& s, steady_time now, wall_time wall);

class server_record;
/// The row of a server whose actor may not have run yet.
json record_row(const server_record& r, supervise::runtime& rt);

/// Second owners: the set's map, the actor's incarnations, messages under way. [any thread]
class server_record {
  public:
    server_record(std::shared_ptr<const server_spec> spec, std::uint32_t ordinal, steady_time now)
        : name(spec->name), introduced(now), ordinal(ordinal), spec_(std::move(spec)) {}

    const std::string name;
    const steady_time introduced;
    const std::uint32_t ordinal;  ///< never reused; upper half of its calls' ids

    std::shared_ptr<const server_spec> spec() const;
    void set_spec(std::shared_ptr<const server_spec> s);
    std::shared_ptr<const server_snapshot> snapshot() const;
    void publish(std::shared_ptr<const server_snapshot> s);
    std::shared_ptr<const catalogue_part> part() const;
    bool set_part(std::shared_ptr<const catalogue_part> p);  ///< true: it changed
    supervise::ref<server_actor> actor() const;
    void set_actor(supervise::ref<server_actor> a);
    resource_usage usage() const;
    void set_usage(const resource_usage& u);
    json pool_row() const;                        ///< null: it has none
    void set_pool(const supervise::pool_machine::figures& f);
    server_figures figures;
    std::atomic<std::uint64_t> calls{0}, failed_calls{0}, pending_calls{0};  ///< pending: sent or waiting. Written by the actor alone
    void add_log(std::string line);
    json log_lines(std::size_t limit) const;
    std::set<std::string> watched() const;  ///< resources whose updates are wanted
    void set_watched(std::set<std::string> uris);

    // Owner: the actor's present incarnation (turns of two incarnations never overlap).
    status_state state;           ///< as the last incarnation left it
    mcp::era known_era = mcp::era::unknown;
    std::size_t last_tools = 0;   ///< of the last healthy connection (H3)
    bool loaded = false;          ///< the stored row has been restored
    std::uint64_t starts = 0;

  private:
    mutable std::mutex mutex_;  // leaf: what follows
    std::shared_ptr<const server_spec> spec_;
    std::shared_ptr<const server_snapshot> snapshot_;
    std::shared_ptr<const catalogue_part> part_;
    supervise::ref<server_actor> actor_;
    std::set<std::string> watched_;
    resource_usage usage_;
    supervise::pool_machine::figures pool_;
    mutable std::mutex log_mutex_;  // leaf
    std::deque<std::string> log_;
};

}  // namespace holdfast::servers
