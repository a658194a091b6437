#pragma once
// How messages lie in the bytes of one connection. No I/O: bytes in, bytes and messages out; time is passed in.
#include <chrono>
#include <string>
#include <string_view>

#include "holdfast/status.hpp"

namespace holdfast::net {

/// What a framing has to say. Calls come from within its functions.
class framing_port {
  public:
    virtual void write(std::string bytes) = 0;
    virtual bool idle() const = 0;                       ///< the peer has taken everything that was written
    virtual void ready() = 0;                            ///< messages may be sent from now on
    virtual void message(std::string_view text) = 0;
    virtual void dropped(const std::string& why) = 0;    ///< a message was lost; nobody can tell whose answer it was
    virtual void over(const sdk::status& why) = 0;       ///< the connection is of no use any more. ok: the peer has said goodbye
    virtual void finish() = 0;                           ///< nothing more will be written

  protected:
    ~framing_port() = default;
};

/// Owner: one connection.
class framing {
  public:
    using time_point = std::chrono::steady_clock::time_point;
    virtual ~framing() = default;
    virtual void connected(framing_port& port, time_point now) = 0;
    virtual void received(framing_port& port, std::string_view bytes, time_point now) = 0;
    /// The peer has taken something.
    virtual void taken(framing_port& /*port*/) {}
    /// One message for the peer. Only when ready.
    virtual std::string encode(std::string_view message) = 0;
    /// The host closes the connection.
    virtual void goodbye(framing_port& port) = 0;
    /// About four times a second.
    virtual void tick(framing_port& /*port*/, time_point /*now*/) {}
    /// The peer ended the stream. ok: as it may.
    virtual sdk::status ended() const = 0;
};

}  // namespace holdfast::net
