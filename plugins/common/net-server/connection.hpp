#pragma once
// Private to the .cpp files that see Beast: what connections share.
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "net-server/http_server.hpp"

namespace holdfast::web::detail {

namespace net = boost::asio;
namespace beast = boost::beast;
using tcp = net::ip::tcp;

struct core;

enum class server_phase : std::uint8_t {
    serving,
    leaving,   ///< accepts nobody; each answer is its connection's last
    stopping,  ///< nothing new
};

/// One accepted socket. Both functions post to the connection's own strand. [any thread]
class connection : public std::enable_shared_from_this<connection> {
  public:
    explicit connection(std::shared_ptr<core> c) : core_(std::move(c)) {}
    connection(const connection&) = delete;
    virtual ~connection();
    virtual void leave(bool idle_too) = 0;  ///< close after the next answer; idle_too: or at once if nothing is under way. Told again and again
    virtual void drain() = 0;  ///< close as soon as nothing is under way
    virtual void abort() = 0;  ///< close now

  protected:
    void enlist();  ///< after construction, once shared
    void delist();  ///< when its socket is closed; late responders may keep the object longer
    std::shared_ptr<core> core_;
};

/// Shared by the server, its connections and late responders. Freed last.
struct core : std::enable_shared_from_this<core> {
    core(http_handler& h, const server_limits& l) : handler(h), limits(l), guard(net::make_work_guard(ioc)) {}

    net::io_context ioc;
    http_handler& handler;
    const server_limits limits;
    net::executor_work_guard<net::io_context::executor_type> guard;

    std::atomic<server_phase> phase{server_phase::serving};
    std::atomic<bool> finished{false};
    std::atomic<std::uint64_t> accepted{0}, refused{0}, requests{0}, upgrades{0}, bad_requests{0}, slow_cut{0};

    /// Posts unless the loop is gone for good: nothing is ever queued on an io_context that nobody will run again.
    template <class Executor, class F>
    bool post(const Executor& executor, F&& f) {
        const std::lock_guard lock(gate_);
        if (!open_) return false;
        net::post(executor, std::forward<F>(f));
        return true;
    }
    void close_gate() {
        const std::lock_guard lock(gate_);
        open_ = false;
    }

    std::size_t open_connections() const {
        const std::lock_guard lock(registry_mutex_);
        return registry_.size();
    }
    std::vector<std::shared_ptr<connection>> connections() const {
        std::vector<std::shared_ptr<connection>> out;
        const std::lock_guard lock(registry_mutex_);
        for (const auto& [raw, weak] : registry_)
            if (auto c = weak.lock()) out.push_back(std::move(c));
        return out;
    }

  private:
    friend class connection;
    std::mutex gate_;
    bool open_ = true;
    mutable std::mutex registry_mutex_;
    std::unordered_map<connection*, std::weak_ptr<connection>> registry_;
};

inline void connection::enlist() {
    const std::lock_guard lock(core_->registry_mutex_);
    core_->registry_.emplace(this, weak_from_this());
}
inline void connection::delist() {
    const std::lock_guard lock(core_->registry_mutex_);
    core_->registry_.erase(this);
}
inline connection::~connection() { delist(); }

/// Serves an accepted socket, or turns it away because there are too many. http_connection.cpp
void start_http(std::shared_ptr<core> c, tcp::socket&& socket, std::string peer, bool turned_away);

/// Takes over a connection whose upgrade request was accepted by the handler. websocket_connection.cpp
void start_websocket(std::shared_ptr<core> c, beast::tcp_stream&& stream, beast::http::request<beast::http::string_body>&& request,
                     upgrade_answer answer);

}  // namespace holdfast::web::detail
