#include "net-stream/lines.hpp"

#include <utility>

namespace holdfast::net {

void line_splitter::feed(std::string_view bytes, const std::function<void(std::string_view)>& line, const std::function<void(std::size_t)>& too_long) {
    const auto tell = [&](std::string_view text) {
        if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
        if (!text.empty()) line(text);
    };
    while (!bytes.empty()) {
        const auto end = bytes.find('\n');
        const std::string_view piece = bytes.substr(0, end);
        if (dropped_ || held_.size() + piece.size() > limit_) {
            dropped_ += std::exchange(held_, {}).size() + piece.size();
            if (end != std::string_view::npos) too_long(std::exchange(dropped_, 0));
        } else if (end == std::string_view::npos) {
            held_ += piece;
        } else if (held_.empty()) {
            tell(piece);
        } else {
            held_ += piece;
            tell(std::exchange(held_, {}));
        }
        if (end == std::string_view::npos) return;
        bytes.remove_prefix(end + 1);
    }
}

std::string as_line(std::string_view message) {
    std::string line;
    line.reserve(message.size() + 1);
    line = message;
    for (char& c : line)
        if (c == '\n' || c == '\r') c = ' ';
    line += '\n';
    return line;
}

}  // namespace holdfast::net
