#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "kernel/core/result.hpp"

namespace holdfast::demo {

inline constexpr std::size_t max_entries = 1000;            ///< names in one listing
inline constexpr std::int64_t default_read = 64 * 1024;     ///< bytes
inline constexpr std::int64_t max_read = 256 * 1024;        ///< bytes

/// A directory and nothing outside it: the kernel resolves every path below an open descriptor (openat2
/// RESOLVE_BENEATH), so neither `..` nor a symlink nor a rename during the call leads out. Read-only.
/// [any thread, const]
class file_root {
  public:
    /// Errors: io_error when the directory cannot be opened.
    static result<file_root> open(const std::string& directory);
    file_root(file_root&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
    file_root& operator=(file_root&&) = delete;
    ~file_root();

    struct entry {
        std::string name;
        char kind = '?';  ///< f file, d directory, l link, ? other
        std::int64_t size = 0;
    };
    struct listing {
        std::vector<entry> entries;  ///< sorted by name
        bool truncated = false;
    };
    struct piece {
        std::string text;  ///< valid UTF-8
        std::int64_t offset = 0, next = 0, size = 0;  ///< bytes; next == size at the end
    };
    /// Errors of both: invalid_argument (not relative, or leads outside), not_found, forbidden, io_error.
    result<listing> list(const std::string& path) const;
    /// Also invalid_argument when it is not a regular file or not UTF-8 text.
    result<piece> read(const std::string& path, std::int64_t offset, std::int64_t limit) const;

  private:
    explicit file_root(int fd) : fd_(fd) {}
    result<int> resolve(const std::string& path, int flags) const;

    int fd_;
};

}  // namespace holdfast::demo
