#pragma once
// The guardian: a tiny parent that restarts a crashed host and, as child subreaper, ends what the crash left behind (O5).
#include <functional>
#include <string>
#include <vector>

#include "kernel/supervise/backoff.hpp"
#include "kernel/supervise/exit_reason.hpp"

namespace holdfast::supervise {

inline constexpr const char* host_child_flag = "--host-child";
/// The host's exit code for "restart me": its root supervisor escalated. Every other exit code is a normal exit.
inline constexpr int exit_restart_me = 70;
/// The host's pool_options::name, and the name that its first thread has by that.
inline constexpr const char* host_pool_name = "hf-pool";
inline constexpr const char* host_pool_thread = "hf-pool-0";
/// The guardian's own exit codes.
inline constexpr int exit_guardian_gave_up = 75;

struct guardian_options {
    restart_intensity intensity{5, seconds(60)};
    backoff_policy backoff = backoff_policy::worker();
    milliseconds cleanup_deadline{1000};  ///< for ending leftovers after the host's death
    std::function<void(const std::string&)> log;  ///< default: one line to stderr
};

/// "N/SECONDS" or "N/SECONDS/DELAY": more than N restarts within SECONDS is too often; DELAY seconds before the second restart, doubled
/// from there (0: always at once). An operator whose host is killed on purpose sets it: drills, tests. "": the defaults.
/// Errors: config_invalid saying what was expected.
result<guardian_options> guardian_options_from(const std::string& text);

/// Call first thing in main, before any thread exists. Without host_child_flag in argv this process becomes the guardian: it
/// re-executes /proc/self/exe with the flag inserted as argv[1], and returns the host's exit code once that ends normally. With the
/// flag, removes it and returns host_main(argc, argv).
/// SIGTERM, SIGINT, SIGHUP are forwarded: the first as it is, a second SIGTERM/SIGINT kills the host. Ctrl-C on a terminal reaches the
/// host directly (same process group) and is not forwarded; three within 2 s kill it.
/// A service manager ($NOTIFY_SOCKET) hears when the host serves, reloads and stops (service_manager.hpp, guardian_link.hpp), and of its
/// watchdog as long as the host answers (host_watch.hpp).
int run_guarded(const guardian_options& options, int argc, char** argv, const std::function<int(int, char**)>& host_main);

/// Pure part: what to do when the host ended.
class guardian_decision {
  public:
    guardian_decision(const guardian_options& options, random_source& random);
    struct verdict {
        enum class what { exit, restart, give_up } action;
        int exit_code = 0;
        nanoseconds delay{0};
    };
    /// wait_status as from waitpid; stopping: a signal to stop had been forwarded; serving: it had said that it serves, and not that it
    /// stops: whatever its exit code is, something in it called _exit.
    verdict on_host_exit(int wait_status, bool stopping, bool serving, steady_time started, steady_time now);

  private:
    const guardian_options& options_;
    random_source& random_;
    restart_window window_;
    backoff_state backoff_;
};

}  // namespace holdfast::supervise
