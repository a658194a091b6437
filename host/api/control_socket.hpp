#pragma once
// The local control socket: JSON lines over a Unix socket (doc/api.md, "Control socket"). The CLI and scripts use it.
#include <memory>
#include <string>

#include "api/method_table.hpp"
#include "kernel/events/bus.hpp"
#include "kernel/supervise/runtime.hpp"

namespace holdfast::api {

inline constexpr std::size_t control_max_line = (4u << 20) + (64u << 10);  ///< bytes of one request: an MCP message of 4 MiB and what goes around it
inline constexpr std::size_t control_max_output = 8u << 20;    ///< bytes queued for one client; beyond it the client is cut
inline constexpr std::size_t control_max_clients = 64;
inline constexpr std::size_t control_max_subscriptions = 64;   ///< per client
inline constexpr std::size_t control_max_calls = 256;          ///< per client, under way at once
inline constexpr seconds control_stuck_reader{10};             ///< no byte taken for so long: the client is cut

class control_server {
  public:
    /// Listens on `path` (mode 0600), replacing a socket nobody answers on. Only processes of the same user (or root) are
    /// served, as admin. Errors: already_started (another host answers there), io_error (path too long, directory missing).
    static result<std::unique_ptr<control_server>> listen(supervise::runtime& rt, const std::string& path, const method_table& methods,
                                                          events::bus& bus);
    ~control_server();  ///< refuses, closes every client, removes the socket
    std::size_t clients() const;

    struct impl;

  private:
    explicit control_server(std::shared_ptr<impl> i) : impl_(std::move(i)) {}
    std::shared_ptr<impl> impl_;  // second owner: callbacks under way
};

}  // namespace holdfast::api
