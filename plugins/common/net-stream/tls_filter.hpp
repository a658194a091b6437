#pragma once
// TLS as a filter between a socket and its owner: bytes in, bytes out, no I/O. The certificate is verified against the system's
// authorities, or those of one file, and the name of the host.
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::net {

/// Owner: one stream.
class tls_filter {
  public:
    enum class state { shaking, open, ended, failed };

    /// Never null. What cannot be set up (an authority file that cannot be read) shows as `failed` and why().
    static std::unique_ptr<tls_filter> client(const std::string& host, const std::string& ca_file);
    ~tls_filter();

    /// From the socket; what is plain is appended to `plain`. Call it with nothing to begin the handshake.
    state feed(std::string_view cipher, std::string& plain);
    /// To the other side. Only when open.
    bool write(std::string_view plain);
    /// Says goodbye.
    void close();
    /// What has to go to the socket.
    std::string take_output();
    const std::string& why() const { return why_; }

  private:
    struct impl;
    explicit tls_filter(std::unique_ptr<impl> i);
    state fail(const std::string& otherwise);
    std::unique_ptr<impl> impl_;
    state state_ = state::shaking;
    std::string why_;
};

}  // namespace holdfast::net
