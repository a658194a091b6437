#pragma once
// The supervised set of plugins: one node "plugins" in the tree, one child per configured plugin, its workers below it.
//
//   auto set = plugin_set::create({.rt = &rt, .processes = &spawner, .bus = &bus, …});
//   auto root = supervisor::start(rt, "holdfast", …, {(*set)->node(), …});
//   auto up = await<plugin_info>(seconds(20), [&](auto done) { (*set)->add(spec, std::move(done)); });
//   auto llm = make_call_port((*set)->resolve<hf_llm>("claude", HF_EXT_LLM), rt, "claude");
//
// What a plugin calls itself (manifest id, "use") and what the configuration calls an instance of it ("id") are two things:
// several instances may use one file.
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel/events/bus.hpp"
#include "kernel/plugins/crash_history.hpp"
#include "kernel/plugins/discovery.hpp"
#include "kernel/plugins/host_services.hpp"
#include "kernel/plugins/instance_state.hpp"
#include "kernel/plugins/isolation/mode.hpp"
#include "kernel/plugins/loader.hpp"
#include "kernel/plugins/metrics.hpp"
#include "kernel/plugins/pin.hpp"
#include "kernel/plugins/ports.hpp"
#include "kernel/plugins/verify.hpp"
#include "kernel/supervise/process.hpp"
#include "kernel/supervise/supervisor.hpp"
#include "kernel/supervise/watchdog.hpp"

namespace holdfast::plugins {

/// "supervision" of one plugin. `how` orders its workers; restart, limit and backoff hold for the instance itself and for each
/// of its workers: workers that exceed the limit stop the instance, which is then started afresh; an instance that exceeds it is quarantined.
struct supervision_settings {
    supervise::strategy how = supervise::strategy::one_for_one;
    supervise::restart_type restart = supervise::restart_type::permanent;
    supervise::restart_intensity limit = supervise::restart_intensity::with_backoff();
    supervise::backoff_policy backoff = supervise::backoff_policy::worker();
};
/// {"strategy","restart","max_restarts","window_s","backoff":{"initial_ms","multiplier","max_ms","jitter"}} → settings.
/// Errors: config_invalid naming the member; B4 as well.
result<supervision_settings> supervision_from(const json& config);

struct plugin_spec {
    std::string id;                     ///< unique; letters, digits, - _ . ; at most 64
    std::string use;                    ///< plugin name, or a path with a slash
    std::string base;                   ///< directory a relative path in `use` starts from
    json settings = json::object();     ///< resolved (secrets included)
    std::optional<std::string> sha256;
    supervision_settings supervision;
    milliseconds init_timeout{10'000};  ///< verify + load + create + init
    milliseconds start_timeout{10'000};
    milliseconds quiesce_timeout{2'000};
    milliseconds stop_timeout{5'000};
    milliseconds drain_timeout{30'000}; ///< for work under way in a version that was replaced
    milliseconds probation{30'000};     ///< a new version that fails within this time gives way to the one before
    isolation_mode isolation = isolation_mode::in_process;
    runner_limits limits;    ///< of its process
    json sandbox = json::object();      ///< of its process: {"on","network","read":[…],"write":[…]}; its own directory is added to write
    bool unload = false;                ///< developer's option: dlclose when proven safe
};

struct plugin_info {
    std::string id, use, path, kind, version, description, sha256;
    instance_phase phase = instance_phase::discovered;
    std::string reason;                 ///< why it is not active: the refusal, the failure, the quarantine
    std::string lift;                   ///< the command that ends the quarantine; empty otherwise
    std::optional<wall_time> quarantined_until;
    std::uint32_t incarnation = 0, restarts = 0;
    std::uint32_t replaced = 0;         ///< how often a new version took over
    std::string reload;                 ///< what its replacement is doing: "proving", "draining", "starting", "probation", "restoring"; else empty
    std::string rolled_back;            ///< why the newest replacement was undone; empty when it was not
    isolation_mode isolation = isolation_mode::in_process;
    std::string isolated_because;       ///< it crashed the host: it runs in a process of its own although configured otherwise
    std::int64_t pid = 0;               ///< of its own process; 0: it runs in the host's
    json sandbox;                       ///< what took effect there; null: it runs in the host
    std::vector<std::string> interfaces;  ///< of the manifest
    std::vector<std::string> warnings;    ///< leaked threads, leases held too long …: newest last, bounded
    std::optional<wall_time> active_since;
    json to_json() const;
};

/// Something to do with an interface between init and start, on the control thread: hf_ui.import_state of a swap.
struct start_hook {
    std::string ext;
    std::function<result<void>(const void* table, void* self)> run;
};

/// One transition, told in order per plugin. Called on a pool thread: hand it on.
struct plugin_change {
    plugin_info now;
    instance_phase before;
    json to_json() const;
};

/// How a replacement went. Called on a pool thread: hand it on.
struct reload_news {
    enum class outcome : std::uint8_t { replaced, refused, rolled_back, lost };
    outcome what;
    std::string why;          ///< empty when replaced
    std::string from, to;     ///< versions; `to` is empty when the file did not get that far
    plugin_info now;
    json to_json() const;
};
std::string_view to_string(reload_news::outcome o) noexcept;

struct plugin_set_options {
    supervise::runtime* rt = nullptr;                 ///< these pointers are borrowed and outlive the set
    supervise::process_spawner* processes = nullptr;
    events::bus* bus = nullptr;
    supervise::watchdog* dog = nullptr;
    metrics_registry* metrics = nullptr;
    std::vector<std::string> search_path;
    bool use_environment = true;                      ///< HOLDFAST_PLUGIN_PATH
    std::string runtime_dir;                          ///< private (0700): copies of plugin files, the crash marks
    std::string runner;                               ///< the program that is a runner when started with runner_flag; empty: this one
    std::string data_dir;                             ///< <data_dir>/plugins/<id> is an instance's own directory
    settings_validator validate;
    log_sink log;
    api_services api;
    std::function<void(const plugin_change&)> on_change;
    std::function<void(const reload_news&)> on_reload;
    supervise::report_sink reports;                   ///< S9 of the plugins' part of the tree
    std::shared_ptr<crash_history> history;           ///< null: nothing is learned from crashes. Second owner: app
    /// A plugin's own process died. Any thread; must not block. `copy` keeps the file that the stack points into.
    std::function<void(crash_report report, std::shared_ptr<const private_copy> copy)> on_crash;
    milliseconds quarantine_for{600'000};             ///< then one attempt is made again; 0 = until a person lifts it
    std::string release_command = "holdfast plugin release %";
    std::string lift_command = "holdfast call plugin.start '{\"id\":\"%\"}'";  ///< % = the id
};

/// [any thread] All methods return at once; `done` runs on a pool thread, once.
class plugin_set {
  public:
    using done = unique_function<void(result<plugin_info>)>;

    /// Errors: invalid_argument (a pointer missing), io_error (runtime_dir cannot be made private).
    static result<std::shared_ptr<plugin_set>> create(plugin_set_options options);
    ~plugin_set();  ///< after the node has been stopped

    /// The "plugins" child for the root supervisor. Plugins added before it runs start with it. Once.
    supervise::child_spec node();

    /// Adds and starts. done: when it is active, or did not become so (it stays in the list, failed or quarantined; a
    /// refusal by verify() is not retried). Errors: already_exists, invalid_argument, plugin_refused, plugin_failed, timeout.
    /// before_start: as for start().
    void add(plugin_spec spec, done finished = {}, start_hook before_start = {});
    /// Starts a stopped, failed or quarantined one (lifts the quarantine). Errors: not_found, running, restarting, as add.
    /// before_start: for this attempt only; its error is a failed start.
    void start(const std::string& id, done finished = {}, start_hook before_start = {});
    /// Quiesce, stop, destroy; stays in the list as stopped. Errors: not_found.
    void stop(const std::string& id, done finished = {});
    void restart(const std::string& id, done finished = {});
    /// Forgets its crashes: it runs as configured again, and starts if it was quarantined for them. Errors: not_found, invalid_argument
    /// (there is nothing to lift), as start().
    void release(const std::string& id, done finished = {});
    /// Replaces what runs by what lies at its path now, or at `from` (a path with a slash): the new one is verified, loaded, created and initialised while
    /// the old one serves; then calls go to the new one, and the old one finishes what it has under way (drain_timeout) and stops. If the new one
    /// fails within `probation`, the old version is started again. Plugins that cannot overlap (manifest "reload": "exclusive") hand over in
    /// between: calls wait. One that is not active is started from the file instead. done: when the new one serves, or was given up (plugin_refused,
    /// plugin_failed …: the old one goes on). Errors: not_found, restarting (a reload is under way), overloaded (too many old versions still
    /// finish their work).
    void reload(const std::string& id, const std::string& from, done finished = {});
    /// Stop and forget. Errors: not_found.
    void remove(const std::string& id, done finished = {});
    /// New spec for an existing id: stop, then start with it. (Settings changed in the file.)
    void reconfigure(plugin_spec spec, done finished = {});

    /// Somebody found it broken: it counts as crashed and is restarted by its rules. Unknown or not running: nothing.
    void crashed(const std::string& id, const std::string& why);

    std::vector<plugin_info> list() const;  ///< in the order added
    result<plugin_info> info(const std::string& id) const;
    std::vector<found_plugin> available() const;
    const discovery& finder() const;

    /// Resolves anew at every use; cheap (tens of ns). Errors of the resolver: not_found, unavailable (not active now; with
    /// retry_after while restarting), plugin_failed (active, but without that interface).
    template <class Table>
    resolver<Table> resolve(std::string id, std::string ext) {
        return [set = impl_, id = std::move(id), ext = std::move(ext)]() -> result<bound<Table>> {
            auto r = resolve_raw(*set, id, ext);
            if (!r) return tl::unexpected<error>(std::move(r.error()));
            return bound<Table>{static_cast<const Table*>(r->table), r->self, std::move(r->lease)};
        };
    }
    /// For calls of nanoseconds (breaker, health): the way to a table without locks, pinned and crash-marked. See pin.hpp.
    template <class Table>
    fast_port<Table> fast(const std::string& id, const std::string& ext) {
        return fast_port<Table>(gate_for(id, ext));
    }

    /// Calls a [control] function of an active plugin's interface (hf_ui.describe, export_state) on its control thread.
    /// f gets the table and self; what it throws counts as a crash. A call that is not back within the plugin's stop_timeout
    /// answers timeout and the instance counts as hanging. Errors: not_found, unavailable, plugin_failed, timeout, f's own.
    void control(const std::string& id, const std::string& ext, std::function<result<json>(const void* table, void* self)> f,
                 unique_function<void(result<json>)> answered);

    /// The first added plugin of that kind that is active; its id. Errors: not_found.
    result<std::string> first_of_kind(const std::string& kind) const;

    void set_log_level(std::int32_t level) noexcept;  ///< what plugins read through hf_host.log_level
    const crash_marks& marks() const;

    struct impl;

  private:
    friend struct impl;
    explicit plugin_set(std::shared_ptr<impl> impl);
    static result<raw_bound> resolve_raw(impl& set, const std::string& id, const std::string& ext);
    std::shared_ptr<call_gate> gate_for(const std::string& id, const std::string& ext);
    std::shared_ptr<impl> impl_;  // second owners: resolvers and instances, which may outlive the set for a moment
};

}  // namespace holdfast::plugins
