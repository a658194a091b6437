#pragma once
// What an HTTP request and its answer are, apart from any network library.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::web {

using header_list = std::vector<std::pair<std::string, std::string>>;

struct http_request {
    std::string method;   ///< "GET", as sent
    std::string target;   ///< as sent, e.g. "/a%20b?x=1"
    std::string path;     ///< decoded, without the query; always begins with '/'
    std::string query;    ///< as sent, without '?'
    header_list headers;  ///< names in lower case, in the order sent
    std::string body;
    std::string peer;  ///< the remote IP address

    /// The first value of a header (name in lower case), or empty.
    std::string_view header(std::string_view name) const;
    /// How many times a header was sent. Security decisions refuse anything but one.
    std::size_t count(std::string_view name) const;
};

struct http_response {
    int status = 200;
    header_list headers;  ///< Content-Length and Connection are added by the server; CR and LF in values are dropped
    /// Shared with the cache of static files or with other responses; null = empty.
    std::shared_ptr<const std::string> body;

    static http_response text(int status, std::string content_type, std::string body);
    /// {"error":{"code":…,"message":…,"retry_after_ms"?}} with no-store.
    static http_response failure(int status, std::string_view code, std::string_view message, std::int64_t retry_after_ms = 0);
};

/// Answers one request. Move-only, callable from any thread, at most once; a responder that is dropped answers 500.
class responder {
  public:
    using sink = std::function<void(http_response)>;
    explicit responder(sink s) : sink_(std::move(s)) {}
    responder(responder&& o) noexcept : sink_(std::exchange(o.sink_, nullptr)) {}
    responder& operator=(responder&&) = delete;
    ~responder();
    void operator()(http_response response);

  private:
    sink sink_;
};

}  // namespace holdfast::web
