#pragma once
// Splits a byte stream into lines of bounded length. Pure.
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace holdfast::supervise::detail {

class line_splitter {
  public:
    enum class when_long { drop, cut };
    line_splitter(std::size_t max_line, when_long how) : max_(max_line), how_(how) {}

    /// on_line(view) for every complete line, without its newline; on_oversize(bytes) once for every line that was dropped.
    template <class OnLine, class OnOversize>
    void feed(std::string_view chunk, OnLine&& on_line, OnOversize&& on_oversize) {
        while (!chunk.empty()) {
            const auto* nl = static_cast<const char*>(std::memchr(chunk.data(), '\n', chunk.size()));
            const auto n = nl ? static_cast<std::size_t>(nl - chunk.data()) : chunk.size();
            const auto part = chunk.substr(0, n);
            chunk.remove_prefix(nl ? n + 1 : n);
            if (dropped_ == 0 && pending_.empty() && nl && part.size() <= max_) {
                on_line(part);  // the usual case copies nothing
                continue;
            }
            take(part, on_line);
            if (nl) end(on_line, on_oversize);
        }
    }
    /// The stream ended: what has no newline is a line too.
    template <class OnLine, class OnOversize>
    void finish(OnLine&& on_line, OnOversize&& on_oversize) {
        if (dropped_ > 0 || !pending_.empty()) end(on_line, on_oversize);
    }
    std::size_t buffered() const { return pending_.size(); }

  private:
    template <class OnLine>
    void take(std::string_view part, OnLine&& on_line) {
        if (dropped_ > 0) {
            dropped_ += part.size();
            return;
        }
        if (how_ == when_long::cut) {
            while (pending_.size() + part.size() > max_) {
                const auto room = max_ - pending_.size();
                pending_.append(part.substr(0, room));
                part.remove_prefix(room);
                on_line(std::string_view(pending_));
                pending_.clear();
            }
        } else if (pending_.size() + part.size() > max_) {
            dropped_ = pending_.size() + part.size();
            pending_.clear();
            pending_.shrink_to_fit();
            return;
        }
        pending_.append(part);
    }
    template <class OnLine, class OnOversize>
    void end(OnLine&& on_line, OnOversize&& on_oversize) {
        if (dropped_ > 0)
            on_oversize(std::exchange(dropped_, 0));
        else
            on_line(std::string_view(pending_));
        pending_.clear();
        if (pending_.capacity() > keep_capacity) pending_.shrink_to_fit();
    }
    static constexpr std::size_t keep_capacity = 64 << 10;  // one huge line must not hold its memory for ever
    std::size_t max_;
    when_long how_;
    std::string pending_;
    std::size_t dropped_ = 0;
};

}  // namespace holdfast::supervise::detail
