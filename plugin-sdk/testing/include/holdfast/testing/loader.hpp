#pragma once
// Loads a plugin the plain way and walks one instance through its life, for tests. The host's own loader does far more.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
    /// A table whose instances live in processes of their own, in the shape of a loaded one. `entry` outlives this.
    /// own_threads: how many threads the instances have started themselves, counting those that they left behind.
    plugin_file(std::string path, std::string manifest, const hf_entry& entry, std::function<std::size_t()> own_threads);
    ~plugin_file();
    plugin_file(const plugin_file&) = delete;
    plugin_file& operator=(const plugin_file&) = delete;
    const std::string& path() const { return path_; }
    std::string_view manifest() const { return manifest_; }
    const hf_entry& entry() const { return *entry_; }
    /// Nothing for a file loaded into this process: its threads are among this process's.
    std::optional<std::size_t> own_threads() const { return own_threads_ ? std::optional(own_threads_()) : std::nullopt; }

  private:
    std::string path_;
    void enter();
    std::string manifest_;
    const hf_entry* entry_ = nullptr;
    std::function<std::size_t()> own_threads_;
    bool entered_ = false;
};

/// What the plugin is being asked to do now ("init", "submit"): whoever watches this process from outside reads it when it dies.
/// At most step_size bytes with the NUL.
inline constexpr std::size_t step_size = 32;
void note_steps_in(char* place);
void note_step(const char* step);

/// A text that can be made unreadable: who kept a pointer to what was lent dies of it. [one thread]
class lent_text {
  public:
    explicit lent_text(std::string_view text);
    ~lent_text();
    lent_text(const lent_text&) = delete;
    lent_text& operator=(const lent_text&) = delete;
    std::string_view text() const { return text_; }
    void take_back();

  private:
    void* pages_ = nullptr;
    std::size_t size_ = 0;
    std::string_view text_;
};

/// One instance with a host of its own. Each step answers a status; the destructor takes it down from wherever it is.
class plugin_instance {
  public:
    plugin_instance(const plugin_file& file, fake_host_options options);
    ~plugin_instance();
    plugin_instance(const plugin_instance&) = delete;
    plugin_instance& operator=(const plugin_instance&) = delete;

    sdk::status create();
    sdk::status create(std::string_view settings);
    sdk::status init();
    sdk::status start();
    sdk::status quiesce(milliseconds within = milliseconds(2000));
    sdk::status stop();
    /// What the host does with an instance that it never started: no stop.
    sdk::status destroy();
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
    ~call_probe();  ///< waits up to 1 s for a completion that is due; if none comes, the record is leaked, not freed
    call_probe(const call_probe&) = delete;
    call_probe& operator=(const call_probe&) = delete;

    /// Submits. If the call is refused at once the probe is finished with that status.
    void submit(submit_function f, void* self, std::string_view method, std::string_view request,
                milliseconds deadline = milliseconds(0));
    /// As a caller with a longer hf_call than this SDK knows, who takes back what it lent: call before submit.
    void be_newer() { newer_ = true; }
    void take_back() { take_back_ = true; }
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
    bool newer_ = false, take_back_ = false;
    std::unique_ptr<lent_text> lent_method_, lent_request_;
    std::unique_ptr<record> record_;
};

}  // namespace holdfast::testing
