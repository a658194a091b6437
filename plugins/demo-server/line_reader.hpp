#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::demo {

inline constexpr std::size_t max_line = 4 * 1024 * 1024;  ///< bytes without the newline

/// Cuts a byte stream into lines. Memory is bounded: the rest of a line that is too long is thrown away as it comes.
class line_reader {
  public:
    enum class kind { line, too_long, end };

    explicit line_reader(int fd) : fd_(fd), buffer_(64 * 1024) {}

    /// Blocks for the next line. `line` stays valid until the next call. A last line without newline counts.
    kind next(std::string_view& line);

  private:
    const int fd_;
    std::vector<char> buffer_;
    std::size_t begin_ = 0, end_ = 0;  // unread bytes of buffer_
    std::string line_;
    bool ended_ = false;
};

}  // namespace holdfast::demo
