#pragma once
// One WebSocket connection as its client sees it: handshake, frames, pings, goodbye. No I/O.
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "net-stream/framing.hpp"
#include "transport-websocket/ws_config.hpp"
#include "transport-websocket/ws_frames.hpp"

namespace holdfast::transport_websocket {

struct ws_options {
    server_config server;
    std::size_t max_message_bytes = 0;
    std::chrono::milliseconds ping{30'000};              ///< silence before a ping, and before its answer is given up; 0: never
    std::chrono::milliseconds handshake{10'000};
    std::function<std::string(std::size_t)> random;  ///< so many bytes nobody can foresee
};

class ws_framing final : public net::framing {
  public:
    explicit ws_framing(ws_options options);

    void connected(net::framing_port& port, time_point now) override;
    void received(net::framing_port& port, std::string_view bytes, time_point now) override;
    void taken(net::framing_port& port) override { answer_ping(port); }
    std::string encode(std::string_view message) override;
    void goodbye(net::framing_port& port) override;
    void tick(net::framing_port& port, time_point now) override;
    sdk::status ended() const override;

  private:
    std::string frame(opcode op, std::string_view payload);
    void say_goodbye(net::framing_port& port, std::uint16_t code, std::string_view reason);
    void read_answer(net::framing_port& port);
    void read_frames(net::framing_port& port, std::string_view bytes);
    void answer_ping(net::framing_port& port);
    void on_close(net::framing_port& port, std::uint16_t code, std::string_view reason);

    const ws_options options_;
    std::string key_, answer_;
    frame_reader reader_;
    std::optional<std::string> ping_;  ///< the newest that is not answered
    bool open_ = false, said_goodbye_ = false, over_ = false, pinged_ = false;
    time_point heard_, begun_;
};

}  // namespace holdfast::transport_websocket
