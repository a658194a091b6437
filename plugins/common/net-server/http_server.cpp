#include "net-server/http_server.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>

#include "net-server/connection.hpp"

namespace holdfast::web {
namespace {
constexpr std::size_t turned_away_at_once = 64;  // refused clients that are still being told so
constexpr int idle_part = 8;  // of the time of a drain, for clients that have nothing under way and may be about to ask
}  // namespace
using namespace detail;

struct http_server::impl {
    impl(http_handler& h, const server_limits& l)
        : c(std::make_shared<core>(h, l)), strand(net::make_strand(c->ioc)), acceptor(strand), retry(strand) {}

    void accept() {
        acceptor.async_accept(net::make_strand(c->ioc), [this](beast::error_code ec, tcp::socket socket) {
            if (ec && c->phase != server_phase::serving) return no_more();
            if (ec) return wait_and_accept();
            ++c->accepted;
            beast::error_code ignored;
            const auto remote = socket.remote_endpoint(ignored);
            socket.set_option(tcp::no_delay(true), ignored);
            const std::size_t open = c->open_connections();
            if (open < c->limits.max_connections + turned_away_at_once) {  // else: closed without a word
                start_http(c, std::move(socket), remote.address().to_string(), open >= c->limits.max_connections);
            }
            if (open >= c->limits.max_connections) ++c->refused;
            c->phase == server_phase::serving ? accept() : no_more();
        });
    }
    /// Out of descriptors, or a client that left between SYN and accept: never spin.
    void wait_and_accept() {
        retry.expires_after(std::chrono::milliseconds(50));
        retry.async_wait([this](beast::error_code ec) {
            !ec && c->phase == server_phase::serving ? accept() : no_more();
        });
    }

    void no_more() { accepting = false; }
    void stop_accepting() {
        c->post(strand, [this] {
            beast::error_code ignored;
            acceptor.close(ignored);  // only this duplicate: who waits in the socket's backlog is accepted by another one
            retry.cancel();
        });
    }
    /// Does f, then lends a hand to whoever runs the loop, again and again until `over` or the deadline.
    template <class F, class Over>
    void repeat(std::chrono::steady_clock::time_point deadline, F f, Over over) {
        using clock = std::chrono::steady_clock;
        do {
            f();
            const auto again = std::min(deadline, clock::now() + std::chrono::milliseconds(10));
            while (!over() && clock::now() < again) c->ioc.run_one_for(std::chrono::milliseconds(10));
        } while (!over() && clock::now() < deadline);
    }
    // Told again and again: an upgrade replaces a connection by another, which was on no list a moment ago.
    template <class F>
    void tell_all(F f) {
        for (const auto& connection : c->connections()) f(*connection);
    }

    std::shared_ptr<core> c;
    net::strand<net::io_context::executor_type> strand;  // of the acceptor and its timer
    tcp::acceptor acceptor;
    net::steady_timer retry;
    unsigned short port = 0;
    std::string address;
    std::atomic<bool> accepting{true};  // until the last handler of the acceptor has run

    std::mutex runs_mutex;
    std::condition_variable runs_changed;
    int runs = 0;
    bool stopped = false;
};

http_server::http_server(std::shared_ptr<impl> i) : impl_(std::move(i)) {}
http_server::~http_server() { stop(std::chrono::milliseconds(0)); }

tl::expected<std::unique_ptr<http_server>, std::string> http_server::serve(const server_options& options, http_handler& handler) {
    auto i = std::make_shared<impl>(handler, options.limits);
    sockaddr_storage at{};
    socklen_t size = sizeof at;
    beast::error_code ec;
    if (::getsockname(options.listener, reinterpret_cast<sockaddr*>(&at), &size) != 0) ec.assign(errno, boost::system::system_category());
    if (!ec) i->acceptor.assign(at.ss_family == AF_INET6 ? tcp::v6() : tcp::v4(), options.listener, ec);
    if (ec) {
        if (options.listener >= 0) ::close(options.listener);
        return tl::unexpected<std::string>("cannot accept from the socket given: " + ec.message());
    }
    const auto local = i->acceptor.local_endpoint(ec);
    i->port = local.port();
    i->address = local.address().to_string();
    net::post(i->strand, [raw = i.get()] { raw->accept(); });
    return std::unique_ptr<http_server>(new http_server(std::move(i)));
}

void http_server::run(const std::function<bool()>& go_on) {
    auto& i = *impl_;
    {
        const std::lock_guard lock(i.runs_mutex);
        if (i.stopped) return;
        ++i.runs;
    }
    struct leave {
        impl& i;
        ~leave() {
            const std::lock_guard lock(i.runs_mutex);
            --i.runs;
            i.runs_changed.notify_all();
        }
    } leaving{i};
    while (!i.c->finished && go_on()) i.c->ioc.run_for(std::chrono::milliseconds(100));
}

void http_server::drain(std::chrono::steady_clock::time_point deadline) {
    using clock = std::chrono::steady_clock;
    auto& i = *impl_;
    auto& c = *i.c;
    auto serving = server_phase::serving;
    if (!c.phase.compare_exchange_strong(serving, server_phase::leaving)) return;
    i.stop_accepting();
    const auto begin = clock::now();
    const auto idle_until = begin + (deadline - begin) / idle_part;
    i.repeat(deadline, [&] { i.tell_all([idle_too = clock::now() >= idle_until](connection& x) { x.leave(idle_too); }); },
             [&] { return !i.accepting && c.open_connections() == 0; });
}

void http_server::stop(std::chrono::milliseconds grace) {
    using clock = std::chrono::steady_clock;
    auto& i = *impl_;
    {
        const std::lock_guard lock(i.runs_mutex);
        if (std::exchange(i.stopped, true)) return;
    }
    auto& c = *i.c;
    c.phase = server_phase::stopping;
    i.stop_accepting();
    const auto gone = [&] { return c.open_connections() == 0; };
    i.repeat(clock::now() + grace, [&] { i.tell_all([](connection& x) { x.drain(); }); }, gone);
    i.repeat(clock::now() + std::chrono::seconds(2), [&] { i.tell_all([](connection& x) { x.abort(); }); }, gone);
    // Late responders keep a connection alive but can no longer reach the loop; what is queued in it runs out here.
    c.close_gate();
    c.finished = true;
    c.guard.reset();
    c.ioc.stop();
    std::unique_lock lock(i.runs_mutex);
    const bool alone = i.runs_changed.wait_for(lock, std::chrono::seconds(5), [&] { return i.runs == 0; });
    if (!alone) return;  // a handler blocks; the loop stays as it is rather than being run from two owners
    c.ioc.restart();
    for (int round = 0; round < 1000 && c.ioc.poll() > 0; ++round) {
    }
}

void http_server::post(std::function<void()> f) { impl_->c->post(impl_->c->ioc.get_executor(), std::move(f)); }

unsigned short http_server::port() const { return impl_->port; }
std::string http_server::address() const { return impl_->address; }

server_counters http_server::counters() const {
    const auto& c = *impl_->c;
    return {c.accepted, c.refused, c.requests, c.upgrades, c.bad_requests, c.slow_cut, c.open_connections()};
}

}  // namespace holdfast::web
