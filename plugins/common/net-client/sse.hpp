#pragma once
// Server-Sent Events: bytes in, events out. Pure; survives any split of the bytes.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

struct sse_event {
    std::string event;  ///< empty: "message"
    std::string data;   ///< lines joined by \n
    std::string id;     ///< the last id seen on the stream, this event's included
};

/// LF, CR and CRLF, mixed; BOM; comments; a missing space after the colon; data over several lines. Unknown fields are
/// ignored. An event without data is not reported, but its id counts.
class sse_parser {
  public:
    static constexpr std::size_t default_limit = 4u << 20;
    /// `limit`: bytes of one line, and of one event's data.
    explicit sse_parser(std::size_t limit = default_limit) : limit_(limit) {}

    using handler = std::function<void(const sse_event&)>;
    /// False when a line or an event was too long: the stream is of no use from here on.
    bool feed(std::string_view bytes, const handler& on_event);
    /// The stream ended: reports an event that lacks only its empty line. The standard drops it; some servers forget the line.
    bool finish(const handler& on_event);

    const std::string& last_event_id() const { return last_id_; }
    std::optional<std::uint32_t> retry_ms() const { return retry_ms_; }  ///< as the server last asked for
    std::size_t comments() const { return comments_; }

  private:
    bool end_line(const handler& on_event);
    bool field(std::string_view name, std::string_view value);
    void dispatch(const handler& on_event);

    std::size_t limit_;
    std::string line_;
    std::string data_, event_, id_, last_id_;
    bool has_data_ = false;
    bool after_cr_ = false;
    bool failed_ = false;
    bool first_line_ = true;
    std::size_t comments_ = 0;
    std::optional<std::uint32_t> retry_ms_;
};

}  // namespace holdfast::net
