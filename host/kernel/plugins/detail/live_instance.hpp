#pragma once
// One started instance: its generation, its tables, what the host lends it, and who uses it.
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/core/unique_function.hpp"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/detail/lane.hpp"
#include "kernel/plugins/detail/services.hpp"
#include "kernel/plugins/isolation/proxy.hpp"
#include "kernel/plugins/loader.hpp"
#include "kernel/plugins/pin.hpp"

namespace holdfast::plugins {

/// A registered end_watch. Fires at most once.
struct end_entry {
    std::mutex mutex;
    unique_function<void(const std::string&)> ended;  // under mutex until taken
    void fire(const std::string& why) {
        unique_function<void(const std::string&)> f;
        {
            std::lock_guard lock(mutex);
            f = std::move(ended);
        }
        if (f) f(why);
    }
};

namespace detail {

struct ext_binding {
    std::string ext;
    std::unique_ptr<std::byte[]> table;  ///< completed copy
    binding at;                          ///< its address is the hazard and the mark
};

/// Owners: its actor; every lease (through lease_deleter); the graveyard when it can never be destroyed.
class live_instance : public std::enable_shared_from_this<live_instance> {
  public:
    live_instance(std::string id, std::shared_ptr<crash_marks> marks);
    ~live_instance();

    std::uint64_t key() const noexcept { return reinterpret_cast<std::uint64_t>(this); }
    const std::string& id() const noexcept { return id_; }

    // Set by steps on the lane, read afterwards.
    verified_plugin verified;
    std::shared_ptr<generation> gen;      ///< second owner: the loader. Null for one in a process of its own
    std::shared_ptr<isolation::proxy> apart;  ///< second owners: its threads. Null for one in this process; set before load
    std::shared_ptr<services> host;       ///< second owners: callbacks under way
    hf_instance table{};
    std::vector<std::unique_ptr<ext_binding>> interfaces;
    std::vector<std::string> leaked_threads;

    const ext_binding* find(std::string_view ext) const;

    // Steps: each runs on the lane. What the plugin throws comes through.
    step_result load(loader& l);
    step_result create(const std::string& settings);
    step_result init();
    step_result start();
    step_result quiesce(milliseconds time);
    step_result stop();
    step_result revoke(nanoseconds deadline);
    step_result destroy();

    /// A lease on it. When the last one is gone, leases_gone() is called.
    std::shared_ptr<const void> lease();
    void on_leases_gone(std::function<void()> f);  ///< at once when there is none
    /// Completes whatever waits for an answer from this incarnation.
    void end_calls(const std::string& why);
    void watch(const std::shared_ptr<end_entry>& e);

    std::function<void(std::string)> crash;  ///< set once before load; any thread

    /// Keeps it, its generation and its services for the life of the process.
    static void bury(std::shared_ptr<live_instance> inc);

  private:
    friend struct lease_deleter;
    void lease_dropped();
    const std::string id_;
    const std::shared_ptr<crash_marks> marks_;  // second owner: the set
    std::mutex mutex_;
    std::size_t leases_ = 0;
    std::function<void()> gone_;
    bool ended_ = false;
    std::string end_reason_;
    std::vector<std::weak_ptr<end_entry>> watchers_;
};

/// Makes a lease recognisable: see instance_of().
struct lease_deleter {
    std::shared_ptr<live_instance> inc;
    void operator()(const void*) {
        inc->lease_dropped();
        inc.reset();
    }
};
live_instance* instance_of(const std::shared_ptr<const void>& lease) noexcept;

}  // namespace detail
}  // namespace holdfast::plugins
