#pragma once
// One connection through a transport plugin: what the plugin reports becomes messages of the server's actor.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "holdfast/ext/transport.h"
#include "kernel/core/clock.hpp"
#include "kernel/core/json.hpp"
#include "kernel/plugins/ports.hpp"

namespace holdfast::servers {

inline constexpr std::size_t max_queued_bytes = 64u << 20;  ///< received but not yet looked at; beyond it the connection is given up
inline constexpr std::size_t max_queued_messages = 20'000;

namespace heard {
struct opened { json info; };
struct message { std::string text; };
struct request_failed { std::string id; error why; int peer_status; };
struct log { std::string line; };
struct flooded {};                          ///< once: the server sends faster than it is read
struct closed { bool by_us; error why; };   ///< last
}  // namespace heard
using transport_report = std::variant<heard::opened, heard::message, heard::request_failed, heard::log, heard::flooded, heard::closed>;

/// [any thread] Closed when destroyed, gracefully; reports after that go nowhere.
class connection {
  public:
    /// Called on the transport's thread, one at a time for one connection; must only hand it on.
    using receiver = std::function<void(std::uint64_t conn, transport_report report)>;

    /// Errors: those of the transport's open(): command_not_found, invalid_argument, unavailable …
    static result<std::unique_ptr<connection>> open(plugins::bound<hf_transport> transport, const json& config, milliseconds grace,
                                                    receiver r);
    ~connection();

    std::uint64_t id() const noexcept;
    /// Errors: overloaded, transport_lost: nothing was sent.
    result<void> send(const std::string& message);
    void abandon(const std::string& request_id);
    /// How long close() gives it. [the owner's thread, as close()]
    void set_grace(milliseconds grace) noexcept;
    /// closed{} follows.
    void close();
    /// The receiver is done with a message of that size.
    void consumed(std::size_t bytes) noexcept;

  private:
    struct shared;
    explicit connection(std::shared_ptr<shared> s) : shared_(std::move(s)) {}
    std::shared_ptr<shared> shared_;  // second owner: the transport, until on_closed has returned
};

errc errc_of(std::int32_t hf_code) noexcept;

}  // namespace holdfast::servers
