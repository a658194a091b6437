#include "transport-websocket/ws_frames.hpp"

#include <algorithm>

namespace holdfast::transport_websocket {
namespace {
constexpr std::size_t max_control = 125;
constexpr unsigned char final_bit = 0x80, reserved_bits = 0x70, opcode_bits = 0x0F, mask_bit = 0x80;

bool control(opcode op) { return static_cast<unsigned>(op) >= 8; }
bool known(unsigned op) { return op <= 2 || (op >= 8 && op <= 10); }
bool may_be_sent(std::uint16_t code) {
    if (code < 1000 || code >= 5000) return false;
    return code >= 3000 || (code <= 1014 && code != 1004 && code != 1005 && code != 1006);
}
frame_fault broken(std::string why) { return {close_code::protocol_error, std::move(why)}; }
}  // namespace

std::string encode_frame(opcode op, std::string_view payload, mask_key mask) {
    std::string out;
    out.reserve(payload.size() + 14);
    out += static_cast<char>(final_bit | static_cast<unsigned char>(op));
    const std::uint64_t n = payload.size();
    const auto length = [&](unsigned char first, int bytes) {
        out += static_cast<char>(mask_bit | first);
        for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(n >> (8 * i) & 0xFF);
    };
    if (n <= max_control) length(static_cast<unsigned char>(n), 0);
    else if (n <= 0xFFFF) length(126, 2);
    else length(127, 8);
    for (const unsigned char m : mask) out += static_cast<char>(m);
    const std::size_t at = out.size();
    out += payload;
    for (std::size_t i = 0; i < payload.size(); ++i) out[at + i] = static_cast<char>(static_cast<unsigned char>(out[at + i]) ^ mask[i & 3]);
    return out;
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
    std::string out{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
    reason = reason.substr(0, max_control - 2);
    while (!valid_utf8(reason)) reason.remove_suffix(1);
    out += reason;
    return out;
}

bool valid_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c < 0x80) {
            ++i;
            continue;
        }
        const std::size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        if (c < 0xC2 || c > 0xF4 || i + n > text.size()) return false;
        const auto second = static_cast<unsigned char>(text[i + 1]);
        if ((c == 0xE0 && second < 0xA0) || (c == 0xED && second > 0x9F) || (c == 0xF0 && second < 0x90) || (c == 0xF4 && second > 0x8F)) return false;
        for (std::size_t k = 1; k < n; ++k)
            if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
        i += n;
    }
    return true;
}

std::optional<frame_fault> frame_reader::feed(std::string_view bytes, const frame_handlers& on) {
    while (!over_) {
        if (!in_payload_) {
            // At most 10 bytes of a header are kept; the rest is left where it is.
            const std::size_t before = buffer_.size();
            buffer_ += bytes.substr(0, 10 - std::min<std::size_t>(before, 10));
            std::size_t used = 0;
            if (auto fault = read_header(used)) {
                over_ = true;
                return fault;
            }
            if (!in_payload_) return std::nullopt;  // more bytes are needed; all are in the buffer
            bytes.remove_prefix(used - before);
            buffer_.clear();
        }
        const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
        (control(op_) ? control_ : message_) += bytes.substr(0, n);
        bytes.remove_prefix(n);
        left_ -= n;
        if (left_) return std::nullopt;
        in_payload_ = false;
        if (auto fault = finish_frame(on)) {
            over_ = true;
            return fault;
        }
        if (bytes.empty()) return std::nullopt;
    }
    return std::nullopt;
}

std::optional<frame_fault> frame_reader::read_header(std::size_t& used) {
    const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(buffer_[i]); };
    if (buffer_.empty()) return std::nullopt;
    const unsigned op = byte(0) & opcode_bits;
    final_ = byte(0) & final_bit;
    if (byte(0) & reserved_bits) return broken("a frame with reserved bits");
    if (!known(op)) return broken("a frame of unknown kind " + std::to_string(op));
    op_ = static_cast<opcode>(op);
    if (buffer_.size() < 2) return std::nullopt;
    if (byte(1) & mask_bit) return broken("a masked frame from a server");
    std::uint64_t n = byte(1);
    const std::size_t more = n == 126 ? 2 : n == 127 ? 8 : 0;
    if (control(op_)) {
        if (more) return broken("a control frame that is too long");
        if (!final_) return broken("a control frame in pieces");
    } else {
        if (op_ == opcode::binary) return frame_fault{close_code::unsupported, "a binary message"};
        if ((op_ == opcode::continuation) != fragmented_) return broken(fragmented_ ? "a new message inside another" : "a continuation of nothing");
    }
    if (buffer_.size() < 2 + more) return std::nullopt;
    if (more) {
        n = 0;
        for (std::size_t i = 0; i < more; ++i) n = n << 8 | byte(2 + i);
        if (n <= (more == 2 ? max_control : 0xFFFF) || n >> 63) return broken("a length that is not written in the shortest way");
    }
    if (!control(op_) && n > limit_ - std::min(limit_, message_.size()))
        return frame_fault{close_code::too_big, "a message of more than max_message_bytes (" + std::to_string(limit_) + ")"};
    used = 2 + more;
    left_ = n;
    in_payload_ = true;
    return std::nullopt;
}

std::optional<frame_fault> frame_reader::finish_frame(const frame_handlers& on) {
    if (!control(op_)) {
        fragmented_ = !final_;
        if (!final_) return std::nullopt;
        const std::string whole = std::exchange(message_, {});
        if (!valid_utf8(whole)) return frame_fault{close_code::bad_payload, "a text that is not UTF-8"};
        on.text(whole);
        return std::nullopt;
    }
    const std::string payload = std::exchange(control_, {});
    if (op_ == opcode::ping) on.ping(payload);
    if (op_ == opcode::pong) on.pong(payload);
    if (op_ != opcode::close) return std::nullopt;
    over_ = true;
    if (payload.empty()) {
        on.close(close_code::no_status, {});
        return std::nullopt;
    }
    if (payload.size() == 1) return broken("a close frame of one byte");
    const auto code = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]));
    if (!may_be_sent(code)) return broken("a close code that may not be sent");
    const std::string_view reason = std::string_view(payload).substr(2);
    if (!valid_utf8(reason)) return frame_fault{close_code::bad_payload, "a reason that is not UTF-8"};
    on.close(code, reason);
    return std::nullopt;
}

}  // namespace holdfast::transport_websocket
