#pragma once
// The composition root: the only place that names concrete types. Builds the host from one configuration, keeps it in step with
// the file, and takes it down in reverse order.
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/control_socket.hpp"
#include "api/identity.hpp"
#include "api/mcp_gateway.hpp"
#include "app/llm_breakers.hpp"
#include "app/plugin_board.hpp"
#include "app/server_files.hpp"
#include "app/side_thread.hpp"
#include "kernel/config/document.hpp"
#include "kernel/config/watch.hpp"
#include "kernel/supervise/guardian_link.hpp"
#include "kernel/supervise/watchdog.hpp"
#include "servers/server_set.hpp"
#include "sessions/session_directory.hpp"

namespace holdfast::app {

struct application_options {
    std::string config_path;  ///< "" = the embedded defaults
    bool watch = true;        ///< apply changes of the file while running
    std::function<void()> request_stop;      ///< asked by host.shutdown; [any thread]
    std::function<void()> request_restart;   ///< the root supervisor gave up; [any thread]
};

/// A configuration with what was found around it.
struct loaded_configuration {
    config::document document;
    std::vector<plugins::found_plugin> found;
    std::string data_dir;
    server_files files;  ///< whose servers are in document.resolved as well
};
/// plugin_files::judged also verifies the file of every plugin that would be started, as the loader will. A host that starts leaves
/// that to the loader: one plugin that is refused does not keep the rest from serving.
enum class plugin_files { taken, judged };
/// Entries of "plugins" that stand in `accepted` just so are not judged again. `before`: the files of servers as read last. Errors: the
/// problems of the file.
tl::expected<loaded_configuration, std::vector<config::problem>> load_configuration(const std::string& path, plugin_files files = plugin_files::taken,
                                                                                    const json& accepted = {}, const server_files& before = {});

class application {
  public:
    /// Builds and starts everything. [main thread] Errors: already_started (another host on this data directory), config_invalid,
    /// io_error. A plugin, server or store that does not come up is no error here: it is logged, shown, and retried by its rules.
    static result<std::unique_ptr<application>> start(application_options options);
    ~application();  ///< stop()

    /// Refuse, cancel, wait to the deadline, force. [main thread] Idempotent.
    void stop();

    /// Applies the file as it is now, soon. [any thread]
    void reload_soon();

    json info() const;                        ///< host.info
    std::vector<std::string> urls() const;    ///< with the token in the fragment

  private:
    friend void register_host_methods(api::method_table& table, application& app);
    friend void wait_ready(application* a, steady_time deadline, api::reply done);
    application(application_options options, loaded_configuration loaded) : options_(std::move(options)), loaded_(std::move(loaded)) {}

    result<void> lock_data_dir();
    result<void> build_kernel();
    result<void> build_tree();
    result<void> build_services();
    result<void> open_doors();
    void tell_ready();
    /// Applies the file as it is now. {"changed":[…],"errors":[…]}. [side thread]
    json reload();
    void configure_llm();
    void on_report(const supervise::supervision_report& report);
    void tell_crash(const plugins::crash_report& r);
    void place_log();           ///< it leaves the terminal while a user interface has it. [side thread]
    void watch_plugin_files();  ///< [side thread]
    void watch_server_files();  ///< [side thread]
    void tell_server_file_problems();
    void give_memory_back();    ///< now and then. [side thread]
    void on_stuck_thread(std::uint32_t tid, double seconds_since);
    void on_plugin_reload(const plugins::reload_news& news);
    void on_plugin_change(const plugins::plugin_change& change);
    json tree() const;
    json health() const;
    bool ready() const;  ///< everything that starts with the host has come up or failed once

    // In construction order; destruction is the reverse.
    application_options options_;
    loaded_configuration loaded_;                 // Owner: the side thread after start; others read under document_mutex_
    system_clock clock_;
    steady_time started_ = clock_.now();
    wall_time started_wall_ = clock_.wall();
    int lock_fd_ = -1;
    std::unique_ptr<events::bus> bus_;
    std::unique_ptr<supervise::pool_runtime> rt_;
    std::unique_ptr<supervise::guardian_link> guardian_;
    std::unique_ptr<supervise::watchdog> dog_;
    std::unique_ptr<supervise::process_spawner> processes_;
    plugins::metrics_registry metrics_;
    api::method_table methods_;
    std::optional<api::token_authority> authority_;
    std::shared_ptr<plugins::plugin_set> plugins_;   // second owner: plugin_board, resolvers
    std::unique_ptr<plugin_board> board_;
    std::shared_ptr<plugins::call_port> store_;      // second owners: servers, sessions
    std::shared_ptr<servers::server_set> servers_;   // second owners: sessions, methods
    std::shared_ptr<api::mcp_gateway> gateway_;      // second owner: methods
    std::shared_ptr<llm_breakers> breakers_;         // second owner: the router's gate
    std::shared_ptr<sessions::llm_pools> llm_pools_;  // second owners: the router, slots of calls under way
    std::shared_ptr<sessions::llm_router> llm_;      // second owner: sessions
    std::shared_ptr<sessions::session_directory> sessions_;
    std::mutex session_supervisor_mutex_;
    supervise::ref<supervise::supervisor> session_supervisor_;  // replaced when its parent restarts it
    supervise::ref<supervise::supervisor> root_;
    std::unique_ptr<api::control_server> control_;
    mutable std::mutex document_mutex_;              // never held while anything is applied
    std::vector<config::problem> last_problems_;     // under document_mutex_
    std::unique_ptr<config::file_watch> watch_;
    struct plugin_watch {
        std::string path;
        std::unique_ptr<config::file_watch> watch;
    };
    std::map<std::string, plugin_watch> plugin_watches_;  // Owner: the side thread; after its end the main thread
    std::map<std::string, std::unique_ptr<config::file_watch>> server_file_watches_;  // Owner: the side thread; after its end the main thread
    std::shared_ptr<plugins::crash_history> crashes_;  // second owner: the plugin set
    side_thread side_;
    supervise::timer_handle memory_timer_;  // Owner: the side thread; after its end the main thread
    std::atomic<bool> stopping_{false}, doors_open_{false}, restart_wanted_{false};
    bool stopped_ = false;
    bool log_diverted_ = false;  // Owner: the side thread; after its end the main thread
};

/// host.*, plugin.*, ui.*, llm.*, config.*
void register_host_methods(api::method_table& table, application& app);

}  // namespace holdfast::app
