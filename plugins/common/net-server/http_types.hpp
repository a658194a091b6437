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

/// A body that is sent in pieces, such as server-sent events. [any thread] Dropped without end(): the connection is cut, so that the
/// client does not take a part for the whole.
class response_stream {
  public:
    virtual ~response_stream() = default;
    /// Queues bytes of the body. False: the client is gone, or was cut because it does not read; write no more.
    virtual bool write(std::string_view bytes) = 0;
    virtual void end() = 0;
};

/// Where an answer goes. Each function: [any thread]
class answer_sink {
  public:
    virtual ~answer_sink() = default;
    virtual void answer(http_response response) = 0;
    virtual std::shared_ptr<response_stream> stream(http_response head, bool endless) = 0;
    virtual void on_gone(std::function<void()> f) = 0;
};

/// Answers one request. Move-only, callable from any thread, at most once; a responder that is dropped answers 500.
class responder {
  public:
    explicit responder(std::shared_ptr<answer_sink> s) : sink_(std::move(s)) {}
    responder(responder&& o) noexcept = default;
    responder& operator=(responder&&) = delete;
    ~responder();
    void operator()(http_response response);
    /// Instead of an answer: `head` (its body is not used) and then what the stream is given. endless: has no end of its own, so it is
    /// ended when the server gives its clients away or stops; others are waited for.
    std::shared_ptr<response_stream> stream(http_response head, bool endless = false);
    /// `f` is called once if the client goes away, is cut or loses the server before its answer is complete. [server thread] Must not block.
    /// A client that closes only its sending half counts as gone. [within on_request]
    void on_gone(std::function<void()> f);

  private:
    std::shared_ptr<answer_sink> sink_;  // shared with the connection
};

}  // namespace holdfast::web
