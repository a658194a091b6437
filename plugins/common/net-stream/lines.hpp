#pragma once
// One message to a line. Pure; survives any split of the bytes.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace holdfast::net {

class line_splitter {
  public:
    /// `limit`: bytes of one line. A longer one is dropped whole and told once, at its end.
    explicit line_splitter(std::size_t limit) : limit_(limit) {}

    /// `line` without LF and CR; empty lines are left out.
    void feed(std::string_view bytes, const std::function<void(std::string_view)>& line, const std::function<void(std::size_t bytes)>& too_long);
    std::size_t held() const { return held_.size(); }

  private:
    const std::size_t limit_;
    std::string held_;
    std::size_t dropped_ = 0;  // bytes of the line that is being skipped
};

/// `message` as one line: line breaks become spaces (they stand between tokens only, inside JSON strings they are escaped).
std::string as_line(std::string_view message);

}  // namespace holdfast::net
