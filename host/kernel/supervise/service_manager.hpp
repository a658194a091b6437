#pragma once
// What a service manager (systemd) wants to know of a service: the sd_notify protocol, datagrams to $NOTIFY_SOCKET.
#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "kernel/core/clock.hpp"
#include "kernel/core/result.hpp"

namespace holdfast::supervise {

class service_manager {
  public:
    service_manager() = default;  ///< nobody listens
    ~service_manager();
    service_manager(service_manager&& o) noexcept;
    service_manager(const service_manager&) = delete;
    service_manager& operator=(const service_manager&) = delete;
    service_manager& operator=(service_manager&&) = delete;

    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment: they are for this process, not for
    /// its children. [before any thread exists] Errors: config_invalid (an address of a kind we do not know), io_error.
    static result<service_manager> from_environment();

    bool listens() const noexcept { return socket_ >= 0; }
    /// How long it waits for a sign of life before it restarts us; 0: it does not.
    nanoseconds watchdog() const noexcept { return watchdog_; }
    /// Lines "NAME=value". Waits a moment where the receiver is behind. false: not delivered.
    bool tell(std::string_view lines) const noexcept;

  private:
    int socket_ = -1;
    sockaddr_un address_{};
    socklen_t length_ = 0;
    nanoseconds watchdog_{0};
};

}  // namespace holdfast::supervise
