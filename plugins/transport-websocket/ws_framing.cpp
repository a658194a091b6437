#include "transport-websocket/ws_framing.hpp"

#include "net-client/http_text.hpp"
#include "transport-websocket/ws_handshake.hpp"

namespace holdfast::transport_websocket {
namespace {
constexpr std::size_t key_bytes = 16;
constexpr std::uint16_t http = 80, https = 443;

std::string host_header(const net::stream_address& a) {
    const std::string host = a.host.find(':') == std::string::npos ? a.host : "[" + a.host + "]";
    return a.port == (a.secure ? https : http) ? host : host + ":" + std::to_string(a.port);
}
}  // namespace

ws_framing::ws_framing(ws_options options) : options_(std::move(options)), reader_(options_.max_message_bytes) {}

void ws_framing::connected(net::framing_port& port, time_point now) {
    begun_ = heard_ = now;
    key_ = net::base64(options_.random(key_bytes));
    port.write(upgrade_request({host_header(options_.server.to), options_.server.to.path, options_.server.headers, key_}));
}

void ws_framing::received(net::framing_port& port, std::string_view bytes, time_point now) {
    if (over_) return;
    heard_ = now;
    pinged_ = false;
    if (open_) return read_frames(port, bytes);
    answer_ += bytes;
    read_answer(port);
}

void ws_framing::read_answer(net::framing_port& port) {
    const auto verdict = read_upgrade_answer(answer_, key_);
    if (!verdict) return;
    if (!verdict->accepted) {
        over_ = true;
        const int http_status = verdict->status;
        sdk::status s{HF_E_PEER, options_.server.to.origin + " " + verdict->why + ".", false, http_status};
        if (http_status == 401 || http_status == 403) {
            s.code = HF_E_AUTH;
            s.message += " Set \"headers\" in this server's configuration, for example \"Authorization\".";
        } else if (http_status == 429 || http_status == 408 || http_status >= 500) {
            s.code = http_status == 429 ? HF_E_RATE_LIMITED : HF_E_UNAVAILABLE;
            s.retryable = true;
        } else if (http_status == 404 || (http_status >= 300 && http_status < 400)) {
            s.message += " Is \"url\" the final address of the MCP endpoint?";
        } else if (http_status == 0) {
            s.code = HF_E_PROTOCOL;
        }
        return port.over(s);
    }
    open_ = true;
    const std::string rest = answer_.substr(verdict->size);
    answer_.clear();
    answer_.shrink_to_fit();
    port.ready();
    if (!rest.empty()) read_frames(port, rest);
}

void ws_framing::read_frames(net::framing_port& port, std::string_view bytes) {
    const frame_handlers on{[&port](std::string_view text) {
                                if (!text.empty()) port.message(text);
                            },
                            [&](std::string_view payload) {
                                ping_ = payload;
                                answer_ping(port);
                            },
                            [](std::string_view) {}, [&](std::uint16_t code, std::string_view reason) { on_close(port, code, reason); }};
    const auto fault = reader_.feed(bytes, on);
    if (!fault || over_) return;
    over_ = true;
    say_goodbye(port, fault->code, fault->why);
    port.over({HF_E_PROTOCOL, options_.server.to.origin + " sent " + fault->why + "; the connection was closed with code " + std::to_string(fault->code) + "."});
}

/// A server that pings without reading costs one answer: when nothing waits for it any more, the newest ping has it (RFC 6455, 5.5.3).
void ws_framing::answer_ping(net::framing_port& port) {
    if (ping_ && !said_goodbye_ && port.idle()) port.write(frame(opcode::pong, *std::exchange(ping_, {})));
}

void ws_framing::on_close(net::framing_port& port, std::uint16_t code, std::string_view reason) {
    over_ = true;
    if (said_goodbye_) return port.over({});  // its answer to ours
    say_goodbye(port, code == close_code::no_status ? close_code::normal : code, {});
    std::string words = options_.server.to.origin + " closed the connection";
    if (code != close_code::no_status) words += " with code " + std::to_string(code);
    if (!reason.empty()) words += ": " + net::excerpt(reason, 120);
    const std::int32_t kind = code == close_code::policy ? HF_E_AUTH : HF_E_TRANSPORT;
    port.over({kind, words + ".", code != close_code::policy, code});
}

std::string ws_framing::frame(opcode op, std::string_view payload) {
    const std::string bytes = options_.random(4);
    mask_key mask{};
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = static_cast<unsigned char>(bytes[i]);
    return encode_frame(op, payload, mask);
}

void ws_framing::say_goodbye(net::framing_port& port, std::uint16_t code, std::string_view reason) {
    if (std::exchange(said_goodbye_, true)) return;
    port.write(frame(opcode::close, close_payload(code, reason)));
}

std::string ws_framing::encode(std::string_view message) { return said_goodbye_ ? std::string() : frame(opcode::text, message); }

void ws_framing::goodbye(net::framing_port& port) { say_goodbye(port, close_code::normal, {}); }

void ws_framing::tick(net::framing_port& port, time_point now) {
    if (over_) return;
    const auto& origin = options_.server.to.origin;
    if (!open_) {
        if (now - begun_ < options_.handshake) return;
        over_ = true;
        return port.over({HF_E_TIMEOUT, origin + " did not answer the handshake in time.", true});
    }
    if (options_.ping.count() <= 0 || said_goodbye_) return;
    if (!pinged_ && now - heard_ >= options_.ping) {
        pinged_ = true;
        port.write(frame(opcode::ping, {}));
    } else if (pinged_ && now - heard_ >= 2 * options_.ping) {
        over_ = true;
        say_goodbye(port, close_code::going_away, "no answer to a ping");
        port.over({HF_E_TIMEOUT, origin + " no longer answers: it left a ping unanswered for " + std::to_string(options_.ping.count()) + " ms.", true});
    }
}

sdk::status ws_framing::ended() const {
    const auto& origin = options_.server.to.origin;
    if (!open_) return {HF_E_TRANSPORT, origin + " closed the connection during the handshake.", true};
    return {HF_E_TRANSPORT, origin + (reader_.inside_message() ? " closed the connection in the middle of a message." : " closed the connection without a goodbye."), true};
}

}  // namespace holdfast::transport_websocket
