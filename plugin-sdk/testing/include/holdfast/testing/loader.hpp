#pragma once
// Loads a plugin the plain way and walks one instance through its life, for tests. The host's own loader does far more.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/abi/call.h"
#include "holdfast/status.hpp"
#include "holdfast/testing/fake_host.hpp"

namespace holdfast::testing {

/// A loaded file. Stays mapped for the rest of the process, as in the host.
class plugin_file {
  public:
    /// Throws std::runtime_error saying what is missing.
    explicit plugin_file(const std::string& path);
    ~plugin_file();
    plugin_file(const plugin_file&) = delete;
    plugin_file& operator=(const plugin_file&) = delete;
    const std::string& path() const { return path_; }
    std::string_view manifest() const { return manifest_; }
    const hf_entry& entry() const { return *entry_; }

  private:
    std::string path_;
    std::string_view manifest_;
    const hf_entry* entry_ = nullptr;
    bool entered_ = false;
};

/// One instance with a host of its own. Each step answers a status; the destructor takes it down from wherever it is.
class plugin_instance {
  public:
    plugin_instance(const plugin_file& file, fake_host_options options);
    ~plugin_instance();
    plugin_instance(const plugin_instance&) = delete;
    plugin_instance& operator=(const plugin_instance&) = delete;

    sdk::status create();
    sdk::status init();
    sdk::status start();
    sdk::status quiesce(milliseconds within = milliseconds(2000));
    sdk::status stop();
    /// quiesce and stop where due, then what the host does: revoke, destroy.
    sdk::status down();
    /// create, init, start; the first failure ends it.
    sdk::status up();

    fake_host& host() { return host_; }
    const hf_instance* table() const { return table_; }
    void* self() const { return table_->self; }
    template <class Table>
    const Table* ext(std::string_view id) const {
        return static_cast<const Table*>(table_->get_ext(table_->self, sdk::str(id)));
    }

  private:
    enum class phase { none, created, ready, active, quiescing, stopped };
    const plugin_file& file_;
    fake_host host_;
    std::string settings_;
    const hf_instance* table_ = nullptr;
    phase phase_ = phase::none;
};

/// One asynchronous call as its caller sees it, keeping account of the completion rules. [any thread]
class call_probe {
  public:
    using submit_function = std::int32_t (*)(void* self, const hf_call*, hf_error*);

    call_probe();
    ~call_probe();  ///< waits up to 10 s for a completion that is due; if none comes, the record is leaked, not freed
    call_probe(const call_probe&) = delete;
    call_probe& operator=(const call_probe&) = delete;

    /// Submits. If the call is refused at once the probe is finished with that status.
    void submit(submit_function f, void* self, std::string_view method, std::string_view request,
                milliseconds deadline = milliseconds(0));
    /// False at the timeout.
    bool wait(milliseconds timeout = milliseconds(10000));
    std::uint64_t id() const;
    bool finished() const;
    sdk::status outcome() const;
    std::string result() const;
    std::vector<std::string> chunks() const;
    int completions() const;
    /// Broken rules, one sentence each; empty when all is well.
    std::vector<std::string> faults() const;

    struct record;

  private:
    std::unique_ptr<record> record_;
};

}  // namespace holdfast::testing
