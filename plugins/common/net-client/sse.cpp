#include "net-client/sse.hpp"

#include <charconv>

namespace holdfast::net {

bool sse_parser::feed(std::string_view bytes, const handler& on_event) {
    std::size_t i = 0;
    while (i < bytes.size() && !failed_) {
        if (after_cr_) {
            after_cr_ = false;
            if (bytes[i] == '\n') {
                ++i;
                continue;
            }
        }
        const std::size_t end = bytes.find_first_of("\r\n", i);
        const std::string_view part = bytes.substr(i, end == std::string_view::npos ? end : end - i);
        if (part.size() > limit_ - line_.size()) {
            failed_ = true;
            break;
        }
        line_ += part;
        if (end == std::string_view::npos) break;
        after_cr_ = bytes[end] == '\r';
        i = end + 1;
        if (!end_line(on_event)) failed_ = true;
    }
    return !failed_;
}

bool sse_parser::finish(const handler& on_event) {
    if (failed_) return false;
    if (!line_.empty() && !end_line(on_event)) failed_ = true;
    if (!failed_) dispatch(on_event);
    return !failed_;
}

bool sse_parser::end_line(const handler& on_event) {
    std::string line;
    line.swap(line_);
    std::string_view text = line;
    if (first_line_ && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    first_line_ = false;
    if (text.empty()) {
        dispatch(on_event);
        return true;
    }
    const std::size_t colon = text.find(':');
    if (colon == 0) {
        ++comments_;
        return true;
    }
    if (colon == std::string_view::npos) return field(text, {});
    std::string_view value = text.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    return field(text.substr(0, colon), value);
}

bool sse_parser::field(std::string_view name, std::string_view value) {
    if (name == "data") {
        if (value.size() + 1 > limit_ - std::min(limit_, data_.size())) return false;
        if (has_data_) data_ += '\n';
        data_ += value;
        has_data_ = true;
    } else if (name == "event") {
        event_ = value;
    } else if (name == "id") {
        if (value.find('\0') == std::string_view::npos) id_ = value;
    } else if (name == "retry") {
        std::uint32_t ms = 0;
        const auto r = std::from_chars(value.data(), value.data() + value.size(), ms);
        if (!value.empty() && r.ec == std::errc() && r.ptr == value.data() + value.size()) retry_ms_ = ms;
    }
    return true;
}

void sse_parser::dispatch(const handler& on_event) {
    last_id_ = id_;
    sse_event e{std::move(event_), std::move(data_), last_id_};
    event_.clear();
    data_.clear();
    const bool report = has_data_ && !e.data.empty();
    has_data_ = false;
    if (report && on_event) on_event(e);
}

}  // namespace holdfast::net
