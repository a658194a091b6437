#pragma once
// The terminal: raw mode while it is ours, restored whatever happens, output above one row of input.
#include <termios.h>

#include <mutex>
#include <string>
#include <string_view>

#include "ui-tui/line_editor.hpp"

namespace holdfast::tui {

/// Characters that could move the cursor or change colours are shown as U+FFFD: text comes from models and servers.
std::string printable(std::string_view text, bool keep_newlines);

class terminal {
  public:
    terminal(int in, int out);
    ~terminal();  ///< restore()

    bool interactive() const { return interactive_; }
    /// Raw mode, so that keys arrive as typed (interactive only). Idempotent.
    void take();
    void restore();

    /// [any thread] Prints above the row of input. Text is made printable; `style`: an SGR sequence of ours or "".
    void print(std::string_view text, std::string_view style = {});
    /// [any thread] The row of input is shown again after every print.
    void show_input(const line_editor& line, std::string_view prompt);
    void hide_input();

    enum class wait { input, nothing, closed };
    /// Waits up to timeout_ms; bytes are appended to `out`.
    wait read(std::string& out, int timeout_ms);

  private:
    std::size_t width() const;
    void write(std::string_view bytes);
    void redraw();  // mutex_ held

    const int in_, out_;
    const bool interactive_;
    std::mutex mutex_;  // guards what follows and the output
    termios before_{};
    bool taken_ = false;
    std::size_t column_ = 0;      // where output stopped
    bool at_line_start_ = true;
    bool input_shown_ = false;
    std::string input_row_;
    std::size_t input_cursor_ = 0;
};

}  // namespace holdfast::tui
