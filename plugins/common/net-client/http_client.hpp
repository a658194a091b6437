#pragma once
// Asynchronous HTTP(S) client. One thread, given by the owner, drives everything: every callback, posted function and timer
// runs on it, one at a time, so what they alone touch needs no lock. No type of the library underneath is seen here.
//
// Redirects are not followed: a message is delivered to the address the operator wrote, or not at all. A body is never sent
// a second time behind the caller's back, not even when a kept connection turns out to be dead: a tool may have run.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::net {

using std::chrono::milliseconds;

struct header {
    std::string name, value;
};
using headers = std::vector<header>;
/// Value of the first header of that name, compared without case; empty when there is none.
std::string_view find_header(const headers& all, std::string_view name);

struct timeouts {
    milliseconds connect{10'000};
    milliseconds idle{0};   ///< longest silence, from sending on; 0: none
    milliseconds total{0};  ///< 0: none
};

inline constexpr std::size_t default_max_body_bytes = 64u << 20;
inline constexpr std::size_t max_response_header_bytes = 64u << 10;
inline constexpr std::size_t max_expansion = 10;               ///< decoded to received bytes
inline constexpr std::size_t expansion_floor_bytes = 1u << 20; ///< smaller answers may expand as they like

struct request {
    std::string method = "GET";
    std::string url;  ///< http: or https: only
    net::headers headers;
    std::string body;
    net::timeouts timeouts;
    std::size_t max_body_bytes = default_max_body_bytes;  ///< 0: unbounded, for streams whose events are bounded
    /// Offer gzip and deflate. Not for streams: some servers hold events back to compress them.
    bool compressed = false;
    /// Asked with each numeric address before a connection is made to it; false: not there. A request that asks shares no
    /// connection with others. Behind a proxy it is the proxy's address that is asked about. On the driving thread.
    std::function<bool(std::string_view address)> may_connect;
};

enum class outcome {
    ok,          ///< a whole response, whatever its status
    invalid,     ///< the request cannot be sent as it is
    unresolved,  ///< no such host
    refused,     ///< no connection: nothing was sent
    tls,         ///< the certificate or the handshake was refused: nothing was sent
    timed_out,   ///< connect or total
    idle,        ///< silence for longer than timeouts.idle
    forbidden,   ///< may_connect refused every address: nothing was sent
    too_large,   ///< headers, body or expansion beyond the limits
    lost,        ///< the connection broke: the request may have been executed
    cancelled,
    failed,      ///< a callback threw, or something else went wrong here
};

struct result {
    outcome what = outcome::ok;
    int status = 0;       ///< 0: no response header arrived
    std::string message;  ///< one sentence; never contains headers, bodies, or the URL beyond scheme and host
    std::string address{}; ///< numeric, of the peer (or the proxy) a connection was made to; empty when there was none
};

/// All on the driving thread. on_done comes exactly once and last.
struct callbacks {
    std::function<void(int status, const headers&)> on_headers;  ///< names in lower case; not for 1xx
    std::function<void(std::string_view bytes)> on_data;
    std::function<void(const result&)> on_done;
};

struct client_limits {
    std::size_t concurrent = 256;  ///< transfers on the wire
    std::size_t queued = 1024;     ///< waiting for their turn
    std::size_t posted = 65'536;   ///< functions not yet run
};

class http_client {
  public:
    explicit http_client(client_limits limits = {});
    ~http_client();  ///< shutdown()
    http_client(const http_client&) = delete;
    http_client& operator=(const http_client&) = delete;

    /// [any] Queues a request. 0: refused, because the queue is full or after shutdown; no callback follows.
    std::uint64_t send(request r, callbacks on);
    /// [any] on_done(cancelled) follows unless it is done already; on_data may come until then.
    void cancel(std::uint64_t id);
    /// [any] Runs `f` on the driving thread, in order. False: full or shut down, `f` is dropped.
    bool post(std::function<void()> f);
    /// [any] As post(), not before `delay` has passed.
    bool after(milliseconds delay, std::function<void()> f);

    /// [one thread at a time] Drives until stop() says so or interrupt(); calls beat() at least twice a second unless a
    /// callback takes longer. May be run again: what is under way goes on.
    void run(const std::function<bool()>& stop, const std::function<void()>& beat);
    /// [any] run() returns soon, now and in future.
    void interrupt();
    /// [not during run()] Completes every transfer with `cancelled` on this thread; drops posted functions and timers.
    void shutdown();

    std::size_t under_way() const;  ///< [any] accepted and not done

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace holdfast::net
