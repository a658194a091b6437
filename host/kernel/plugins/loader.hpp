#pragma once
// Loads verified plugins, each version under a file name of its own, and keeps them.
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "holdfast/abi/plugin.h"
#include "kernel/plugins/verify.hpp"

namespace holdfast::plugins {

/// One loaded version of a plugin file. Stays mapped for the life of the process unless loader::unload() proved it unused:
/// after dlclose a library that touched thread-local storage stays resident anyway, and one with a thread in it takes the host down.
/// [any thread]
class generation {
  public:
    ~generation();
    const manifest& about() const noexcept { return about_; }
    const std::string& sha256() const noexcept { return sha256_; }
    const std::string& path() const noexcept { return path_; }  ///< of the private copy
    const hf_entry& entry() const noexcept { return entry_; }   ///< complete: no null slot
    std::uint64_t number() const noexcept { return number_; }

    /// Calls entry.init before the first create; later calls get the same answer. Blocks while another thread is in it.
    /// What it throws comes through, and is thrown again to later callers. Errors: the plugin's.
    result<void> initialise();

    /// Instances (and whatever else holds plugin code reachable) count themselves in and out.
    void enter() noexcept { users_.fetch_add(1); }
    void leave() noexcept { users_.fetch_sub(1); }
    std::size_t users() const noexcept { return users_.load(); }
    void keep_for_ever() noexcept { kept_.store(true); }  ///< a thread may be inside
    bool kept_for_ever() const noexcept { return kept_.load(); }

  private:
    friend class loader;
    generation() = default;
    struct library;
    std::unique_ptr<library> library_;
    manifest about_;
    std::string sha256_, path_;
    hf_entry entry_{};
    std::uint64_t number_ = 0;
    std::atomic<std::size_t> users_{0};
    std::atomic<bool> kept_{false};
    std::mutex init_mutex_;
    enum class init_state : std::uint8_t { not_yet, done, failed } init_ = init_state::not_yet;  // under init_mutex_
    error init_error_;
};

/// A file that is removed with its last owner.
class private_copy {
  public:
    explicit private_copy(std::string path) : path_(std::move(path)) {}
    ~private_copy();
    private_copy(const private_copy&) = delete;
    private_copy& operator=(const private_copy&) = delete;

  private:
    const std::string path_;
};

/// A verified plugin under a file name that no other version ever has.
struct staged_plugin {
    manifest about;
    std::string sha256, path;
    std::string origin;  ///< the file it was copied from, for messages
    std::uint64_t number = 0;
};

/// [any thread]
class loader {
  public:
    /// Errors: io_error (the directory cannot be made private). Copies left by processes that are gone are removed.
    static result<std::shared_ptr<loader>> create(std::string runtime_dir);

    /// A generation for exactly the bytes that were verified: the one that is loaded already, or a new one. May run the
    /// library's static constructors. Errors: those of stage() and open().
    result<std::shared_ptr<generation>> load(const verified_plugin& v, const std::string& name);

    /// The private copy alone, for a process that will open() it. The caller removes the file when it is of no more use.
    /// Errors: plugin_refused (check 'sha256': the file changed since; check 'architecture'), io_error (no room for the copy).
    result<staged_plugin> stage(const verified_plugin& v, const std::string& name);
    /// Maps a private copy. May run the library's static constructors; removes the copy when it cannot be mapped.
    /// Errors: plugin_refused (check 'load': the dynamic loader's own words; check 'entry'; check 'abi').
    static result<std::shared_ptr<generation>> open(const staged_plugin& s, const std::string& name);

    /// Only for developers: calls entry.deinit and dlclose, provided that nobody uses the generation and no thread was ever
    /// lost in it. true: the library is really gone. Errors: running (in use), forbidden (a thread may be inside),
    /// unavailable (dlclose left it resident: it uses thread-local or unique symbols).
    result<void> unload(const std::shared_ptr<generation>& g);

    std::size_t loaded() const;

  private:
    explicit loader(std::string dir) : dir_(std::move(dir)) {}
    const std::string dir_;
    mutable std::mutex mutex_;  // never held while plugin code runs
    std::vector<std::shared_ptr<generation>> all_;
};

}  // namespace holdfast::plugins
