#pragma once
// WebSocket frames (RFC 6455, section 5) as a client sees them. Pure; survives any split of the bytes.
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::transport_websocket {

enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

namespace close_code {
inline constexpr std::uint16_t normal = 1000, going_away = 1001, protocol_error = 1002, unsupported = 1003, no_status = 1005, bad_payload = 1007,
                               policy = 1008, too_big = 1009;
}

using mask_key = std::array<unsigned char, 4>;
/// One whole frame of a client, masked.
std::string encode_frame(opcode op, std::string_view payload, mask_key mask);
/// Payload of a close frame; the reason is cut to what fits.
std::string close_payload(std::uint16_t code, std::string_view reason);
bool valid_utf8(std::string_view text);

struct frame_handlers {
    std::function<void(std::string_view text)> text;  ///< one message
    std::function<void(std::string_view payload)> ping, pong;
    std::function<void(std::uint16_t code, std::string_view reason)> close;  ///< no_status: it gave none
};

/// Why the connection has to be failed, and with which code.
struct frame_fault {
    std::uint16_t code = close_code::protocol_error;
    std::string why;
};

/// What a server sends. After a fault or a close frame it reads no further.
class frame_reader {
  public:
    /// `limit`: bytes of one message, all its frames together.
    explicit frame_reader(std::size_t limit) : limit_(limit) {}
    std::optional<frame_fault> feed(std::string_view bytes, const frame_handlers& on);
    bool inside_message() const { return fragmented_ || in_payload_ || !buffer_.empty(); }

  private:
    std::optional<frame_fault> read_header(std::size_t& used);
    std::optional<frame_fault> finish_frame(const frame_handlers& on);

    const std::size_t limit_;
    std::string buffer_;   // header bytes, while one is incomplete
    std::string message_;  // of the frames so far
    std::string control_;
    bool in_payload_ = false, final_ = false, fragmented_ = false, over_ = false;
    opcode op_ = opcode::continuation;
    std::uint64_t left_ = 0;  // of the payload
};

}  // namespace holdfast::transport_websocket
