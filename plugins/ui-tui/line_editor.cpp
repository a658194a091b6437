#include "ui-tui/line_editor.hpp"

#include <algorithm>

namespace holdfast::tui {
namespace {

std::size_t code_point_length(unsigned char first) {
    return first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
}

/// Length of the escape sequence at the front; 0 = not complete yet.
std::size_t escape_length(std::string_view s) {
    if (s.size() < 2) return 0;
    if (s[1] != '[' && s[1] != 'O') return 2;
    for (std::size_t i = 2; i < s.size(); ++i)
        if (s[i] >= 0x40 && s[i] <= 0x7E) return i + 1;
    return s.size() > 16 ? s.size() : 0;
}

std::size_t columns(std::string_view s) {
    return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::size_t line_editor::previous(std::size_t at) const {
    if (at == 0) return 0;
    do --at;
    while (at > 0 && (static_cast<unsigned char>(text_[at]) & 0xC0) == 0x80);
    return at;
}

std::size_t line_editor::next(std::size_t at) const {
    if (at >= text_.size()) return text_.size();
    do ++at;
    while (at < text_.size() && (static_cast<unsigned char>(text_[at]) & 0xC0) == 0x80);
    return at;
}

std::size_t line_editor::word_start() const {
    std::size_t at = cursor_;
    while (at > 0 && text_[at - 1] == ' ') --at;
    while (at > 0 && text_[at - 1] != ' ') --at;
    return at;
}

void line_editor::insert(std::string_view code_point) {
    if (text_.size() + code_point.size() > max_line_bytes) return;
    text_.insert(cursor_, code_point);
    cursor_ += code_point.size();
}

void line_editor::erase(std::size_t from, std::size_t to) {
    text_.erase(from, to - from);
    cursor_ = from;
}

void line_editor::set_text(std::string text) {
    text_ = std::move(text);
    cursor_ = text_.size();
}

void line_editor::recall(std::size_t at) {
    if (at > history_.size() || at == at_) return;
    if (at_ == history_.size()) draft_ = text_;
    at_ = at;
    set_text(at_ == history_.size() ? draft_ : history_[at_]);
}

void line_editor::key(std::string_view s) {
    if (s == "\x1b[A" || s == "\x1bOA") return recall(at_ == 0 ? 0 : at_ - 1);
    if (s == "\x1b[B" || s == "\x1bOB") return recall(at_ + 1);
    if (s == "\x1b[C" || s == "\x1bOC") cursor_ = next(cursor_);
    else if (s == "\x1b[D" || s == "\x1bOD") cursor_ = previous(cursor_);
    else if (s == "\x1b[H" || s == "\x1bOH" || s == "\x1b[1~" || s == "\x01") cursor_ = 0;
    else if (s == "\x1b[F" || s == "\x1bOF" || s == "\x1b[4~" || s == "\x05") cursor_ = text_.size();
    else if (s == "\x1b[3~") erase(cursor_, next(cursor_));
    else if (s == "\x7f" || s == "\b") erase(previous(cursor_), cursor_);
    else if (s == "\x15") erase(0, cursor_);
    else if (s == "\x0b") text_.erase(cursor_);
    else if (s == "\x17") erase(word_start(), cursor_);
}

std::vector<typed> line_editor::feed(std::string_view bytes) {
    std::vector<typed> out;
    pending_ += bytes;
    std::string_view rest = pending_;
    while (!rest.empty()) {
        const auto c = static_cast<unsigned char>(rest[0]);
        if (c == '\r' || c == '\n') {
            out.push_back({typed::kind::line, text_});
            if (!text_.empty() && (history_.empty() || history_.back() != text_)) history_.push_back(text_);
            if (history_.size() > max_history) history_.erase(history_.begin());
            at_ = history_.size();
            set_text("");
            rest.remove_prefix(1);
        } else if (c == 3) {
            out.push_back({typed::kind::interrupt, text_});
            set_text("");
            at_ = history_.size();
            rest.remove_prefix(1);
        } else if (c == 4) {
            if (text_.empty()) out.push_back({typed::kind::end, ""});
            else erase(cursor_, next(cursor_));
            rest.remove_prefix(1);
        } else if (c == 0x1B) {
            const std::size_t n = escape_length(rest);
            if (n == 0) break;
            key(rest.substr(0, n));
            rest.remove_prefix(n);
        } else if (c < 0x20 || c == 0x7F) {
            if (c == '\t') insert(" ");
            else key(rest.substr(0, 1));
            rest.remove_prefix(1);
        } else {
            const std::size_t n = code_point_length(c);
            if (rest.size() < n) break;
            if (c < 0x80 || c >= 0xC2) insert(rest.substr(0, n));
            rest.remove_prefix(n);
        }
    }
    pending_ = std::string(rest);
    return out;
}

std::vector<typed> line_editor::pause() {
    if (pending_ != "\x1b") return {};
    pending_.clear();
    return {{typed::kind::escape, text_}};
}

std::string line_editor::row(std::string_view prompt, std::size_t width, std::size_t& cursor) const {
    const std::size_t room = std::max<std::size_t>(width, columns(prompt) + 8) - columns(prompt) - 1;
    std::size_t begin = 0;
    while (columns(std::string_view(text_).substr(begin, cursor_ - begin)) >= room) begin = next(begin);
    std::size_t end = begin;
    while (end < text_.size() && columns(std::string_view(text_).substr(begin, end - begin)) < room) end = next(end);
    cursor = columns(prompt) + columns(std::string_view(text_).substr(begin, cursor_ - begin));
    return std::string(prompt) + text_.substr(begin, end - begin);
}

}  // namespace holdfast::tui
