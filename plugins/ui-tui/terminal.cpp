#include "ui-tui/terminal.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace holdfast::tui {

std::string printable(std::string_view text, bool keep_newlines) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0) {
            out += "\xEF\xBF\xBD";
            ++i;
        } else if (c == '\n' || c == '\t') {
            out += keep_newlines ? static_cast<char>(c) : ' ';
        } else if (c < 0x20 || c == 0x7F) {
            out += "\xEF\xBF\xBD";
        } else {
            out += static_cast<char>(c);
        }
    }
    return out;
}

terminal::terminal(int in, int out) : in_(in), out_(out), interactive_(::isatty(in) == 1 && ::isatty(out) == 1) {}

terminal::~terminal() { restore(); }

void terminal::take() {
    std::lock_guard lock(mutex_);
    if (!interactive_ || taken_ || ::tcgetattr(in_, &before_) != 0) return;
    termios raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    taken_ = ::tcsetattr(in_, TCSADRAIN, &raw) == 0;
}

void terminal::restore() {
    std::lock_guard lock(mutex_);
    if (!taken_) return;
    if (input_shown_) write("\r\x1b[K");
    input_shown_ = false;
    ::tcsetattr(in_, TCSADRAIN, &before_);
    taken_ = false;
}

void terminal::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t n = ::write(out_, bytes.data(), bytes.size());
        if (n > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(n));
        } else if (n < 0 && errno == EAGAIN) {
            pollfd p{out_, POLLOUT, 0};
            if (::poll(&p, 1, 1000) <= 0) return;  // nobody reads: what is lost is only what was shown
        } else if (n < 0 && errno != EINTR) {
            return;
        }
    }
}

std::size_t terminal::width() const {
    winsize size{};
    return ::ioctl(out_, TIOCGWINSZ, &size) == 0 && size.ws_col > 10 ? size.ws_col : 80;
}

void terminal::redraw() {
    if (!input_shown_) return;
    std::string row = "\r\x1b[K" + input_row_;
    row += "\r";
    if (input_cursor_ > 0) row += "\x1b[" + std::to_string(input_cursor_) + "C";
    write(row);
}

void terminal::print(std::string_view text, std::string_view style) {
    std::lock_guard lock(mutex_);
    std::string clean = printable(text, true);
    if (!interactive_) return write(clean);
    // The input's row is erased, output goes on where it stopped, and the row comes back below it.
    std::string out;
    if (input_shown_) out += "\r\x1b[K";
    if (input_shown_ && !at_line_start_) out += "\x1b[A\x1b[" + std::to_string(column_ + 1) + "G";
    if (!style.empty()) out += style;
    const std::size_t limit = width();
    for (std::size_t i = 0; i < clean.size(); ++i) {
        const char c = clean[i];
        if (c == '\n') {
            out += "\r\n";
            column_ = 0;
            continue;
        }
        if ((static_cast<unsigned char>(c) & 0xC0) != 0x80 && ++column_ > limit) {
            out += "\r\n";  // wrapped by us, so that the column is known
            column_ = 1;
        }
        out += c;
    }
    if (!style.empty()) out += "\x1b[0m";
    at_line_start_ = column_ == 0;
    if (input_shown_ && !at_line_start_) out += "\r\n";
    write(out);
    redraw();
}

void terminal::show_input(const line_editor& line, std::string_view prompt) {
    std::lock_guard lock(mutex_);
    if (!interactive_) return;
    if (!input_shown_ && !at_line_start_) write("\r\n");
    input_shown_ = true;
    input_row_ = line.row(prompt, width(), input_cursor_);
    redraw();
}

void terminal::hide_input() {
    std::lock_guard lock(mutex_);
    if (!input_shown_) return;
    input_shown_ = false;
    write("\r\x1b[K");
    at_line_start_ = true;
    column_ = 0;
}

terminal::wait terminal::read(std::string& out, int timeout_ms) {
    pollfd p{in_, POLLIN, 0};
    const int ready = ::poll(&p, 1, timeout_ms);
    if (ready <= 0) return wait::nothing;
    char buffer[4096];
    const ssize_t n = ::read(in_, buffer, sizeof buffer);
    if (n > 0) {
        out.append(buffer, static_cast<std::size_t>(n));
        return wait::input;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return wait::nothing;
    return interactive_ && n == 0 && !(p.revents & POLLHUP) ? wait::nothing : wait::closed;
}

}  // namespace holdfast::tui
