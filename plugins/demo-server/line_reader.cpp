#include "line_reader.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace holdfast::demo {

line_reader::kind line_reader::next(std::string_view& line) {
    line_.clear();
    bool too_long = false;
    for (;;) {
        if (begin_ == end_) {
            if (ended_) break;
            const ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
            if (n < 0 && errno == EINTR) continue;
            if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
                pollfd p{fd_, POLLIN, 0};
                ::poll(&p, 1, -1);
                continue;
            }
            begin_ = 0;
            end_ = n > 0 ? static_cast<std::size_t>(n) : 0;
            if (n <= 0) ended_ = true;
            continue;
        }
        const char* from = buffer_.data() + begin_;
        const auto* newline = static_cast<const char*>(std::memchr(from, '\n', end_ - begin_));
        const std::size_t count = newline ? static_cast<std::size_t>(newline - from) : end_ - begin_;
        if (line_.size() + count > max_line)
            too_long = true;
        else if (!too_long)
            line_.append(from, count);
        begin_ += count + (newline ? 1 : 0);
        if (!newline) continue;
        if (too_long) return kind::too_long;
        if (!line_.empty() && line_.back() == '\r') line_.pop_back();
        line = line_;
        return kind::line;
    }
    if (too_long) {
        return kind::too_long;
    }
    line = line_;
    return line_.empty() ? kind::end : kind::line;
}

}  // namespace holdfast::demo
