#pragma once
// A transport (hf.transport/1) of messages over byte streams: what the bindings for TCP, Unix sockets and WebSocket share. One
// supervised worker drives every connection.
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "holdfast/transport.hpp"
#include "net-stream/framing.hpp"
#include "net-stream/stream_client.hpp"

namespace holdfast::net {

inline constexpr std::size_t default_max_message_bytes = 4u << 20;
inline constexpr std::size_t default_max_queued_bytes = 16u << 20;

struct stream_settings {
    std::size_t max_message_bytes = default_max_message_bytes;  ///< of a server
    std::size_t max_queued_bytes = default_max_queued_bytes;    ///< waiting to be taken by one server; one message always fits
    stream_options stream;
};
/// "max_message_bytes", "max_queued_bytes", "keep_alive_s", "stuck_s". Throws sdk::plugin_error (HF_E_INVALID).
stream_settings read_stream_settings(std::string_view json);

/// What a server's configuration comes to.
struct stream_plan {
    stream_address to;
    stream_options options;
    std::unique_ptr<net::framing> framing;
};

/// "connect_timeout_s" and "ca_file" of a server's configuration. Throws sdk::plugin_error (HF_E_INVALID).
void read_stream_options(std::string_view server_json, stream_options& options);

class stream_link;

class stream_transport : public sdk::transport {
  public:
    stream_transport(sdk::host& h, std::string_view text);
    ~stream_transport() override;

    void start() override;
    void open(std::uint64_t conn, std::string_view config, sdk::transport_sink sink) override;
    void send(std::uint64_t conn, std::string_view message) override;
    void close(std::uint64_t conn, sdk::time_point deadline) override;
    void stop() override;

  protected:
    /// [any thread] Throws sdk::plugin_error (HF_E_INVALID), naming what is wrong.
    virtual stream_plan plan(std::string_view config) const = 0;
    /// [any thread] Throws sdk::plugin_error (HF_E_INVALID) for what the binding cannot carry.
    virtual void check_message(std::string_view /*message*/) const {}
    const stream_settings settings_;

  private:
    std::shared_ptr<stream_link> find(std::uint64_t conn);
    void forget(std::uint64_t conn);

    stream_client client_;
    std::mutex mutex_;  // leaf: links_, stopped_
    std::map<std::uint64_t, std::shared_ptr<stream_link>> links_;  // second owners: what the client holds of them
    bool stopped_ = false;
};

}  // namespace holdfast::net
