#pragma once
// One line of input with history, as a pure function of the bytes typed. No terminal in here.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::tui {

inline constexpr std::size_t max_line_bytes = 256 * 1024;
inline constexpr std::size_t max_history = 1000;

struct typed {
    enum class kind { line, interrupt, end, escape } what;  ///< Enter; Ctrl-C; Ctrl-D on an empty line; Esc
    std::string text;
};

class line_editor {
  public:
    /// Bytes from the terminal in raw mode, split anywhere. Returns what was completed.
    std::vector<typed> feed(std::string_view bytes);
    /// Nothing came for a while: an Esc that begins no sequence was the key.
    std::vector<typed> pause();

    /// The row to show in `width` columns: prompt and the part of the line around the cursor. `cursor`: its column.
    std::string row(std::string_view prompt, std::size_t width, std::size_t& cursor) const;

    const std::string& text() const { return text_; }
    void set_text(std::string text);
    void set_history(std::vector<std::string> lines) { history_ = std::move(lines); at_ = history_.size(); }

  private:
    void key(std::string_view sequence);
    void insert(std::string_view code_point);
    void erase(std::size_t from, std::size_t to);
    std::size_t previous(std::size_t at) const;
    std::size_t next(std::size_t at) const;
    std::size_t word_start() const;
    void recall(std::size_t at);

    std::string text_;
    std::size_t cursor_ = 0;    // byte offset, at a code point's start
    std::string pending_;       // an incomplete escape sequence or code point
    std::vector<std::string> history_;
    std::size_t at_ = 0;        // history_.size(): the line being typed
    std::string draft_;         // that line while the history is shown
};

}  // namespace holdfast::tui
