#pragma once
// Tells when a file was written or replaced (editors rename a new file over the old one), once per burst of writes.
#include <memory>
#include <string>

#include "kernel/core/result.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::config {

inline constexpr milliseconds watch_settle{150};  ///< quiet time after the last write before on_change runs

class file_watch {
  public:
    /// A path that ends in '/' is a folder: any file of it, its removal included. on_change runs on a pool thread. Errors: io_error (no such directory, inotify limits).
    static result<std::unique_ptr<file_watch>> create(supervise::runtime& rt, const std::string& path, std::function<void()> on_change);
    ~file_watch();  ///< after it returns no on_change starts

  private:
    struct impl;
    explicit file_watch(std::shared_ptr<impl> i) : impl_(std::move(i)) {}
    std::shared_ptr<impl> impl_;  // second owner: the callbacks under way
};

}  // namespace holdfast::config
