#pragma once
// The listening sockets of one configured plugin (hf.listen/1). They belong to its id: each incarnation is lent duplicates, so that
// clients which connect while none runs wait for the next one instead of being refused.
#include <sys/socket.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/core/result.hpp"
#include "kernel/plugins/isolation/channel.hpp"

namespace holdfast::plugins::detail {

inline constexpr std::size_t max_listeners = 64;  // of one plugin

/// [any thread]
class listeners {
  public:
    /// A duplicate for the incarnation `serial`: of the socket there is for this address and port, else of a new one. May look up a
    /// name. Errors, in words for whoever wrote "listen": unavailable (in use), invalid_argument; overloaded.
    result<isolation::unique_fd> lend(std::uint64_t serial, const std::string& address, std::uint16_t port);
    /// The incarnation `serial` is active: what neither it nor a newer one has asked for is not wanted any more. Older ones that still
    /// accept from it may go on.
    void settle(std::uint64_t serial);
    /// Nobody accepts for now: the ports are free when this returns, whoever still has a duplicate.
    void close();

  private:
    struct endpoint {
        sockaddr_storage at{};
        socklen_t size = 0;
    };
    struct listener {
        endpoint wanted, bound;  ///< they differ by the port when that was to be any
        isolation::unique_fd socket;
        std::uint64_t asked_by = 0;  ///< the newest incarnation that did
    };
    static result<endpoint> look_up(const std::string& address, std::uint16_t port);
    static int listen_at(listener& l);
    static bool same(const endpoint& a, const endpoint& b);
    void end(listener& l);

    std::mutex mutex_;
    std::vector<listener> all_;  // under mutex_
};

}  // namespace holdfast::plugins::detail
