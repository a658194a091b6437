#pragma once
// Where the browser is sent back to: a small HTTP server on 127.0.0.1 that lives as long as one login (RFC 8252, 7.3).
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace holdfast::oauth {

class login_page {
  public:
    /// What the person gets to see; [any thread], once.
    using show = std::function<void(bool well, std::string_view sentence)>;
    /// The query of a visit to the redirect URI. [the thread in serve()]
    using on_visit = std::function<void(std::string query, show answer)>;

    /// Listens. Port 0: any free one. Throws sdk::plugin_error (HF_E_UNAVAILABLE: the port is in use).
    static std::shared_ptr<login_page> open(std::uint16_t port, on_visit visited);
    virtual ~login_page() = default;

    virtual std::string redirect_uri() const = 0;
    /// Serves on the calling thread until close() or until `go_on` says no; asked every 100 ms. What was answered is still sent.
    virtual void serve(const std::function<bool()>& go_on) = 0;
    /// [any thread]
    virtual void close() = 0;
};

}  // namespace holdfast::oauth
