// transport-http: MCP servers behind Streamable HTTP, of both eras. One supervised worker drives every connection.
#include <array>
#include <map>
#include <mutex>

#include "transport-http/link.hpp"

namespace holdfast::transport_http {
namespace {

constexpr const char* worker_name = "http";
/// Far above what a thousand servers need, with a stream of each that stays open: one server must not use up what others need.
constexpr net::client_limits limits{16'384, 4'096, 65'536};
constexpr std::size_t max_logins = 16;  // at a time
std::string login_worker(std::size_t slot) { return "login-" + std::to_string(slot); }
constexpr std::size_t max_accounts = 10'000;  // as many as there may be servers; then those without a connection are forgotten

class http_transport final : public sdk::transport {
  public:
    http_transport(sdk::host& h, std::string_view text) : transport(h, text), options_(read_settings(text)), client_(limits) {
        around_.client = &client_;
        around_.file = [this] { return std::make_shared<const oauth::credential_file>(host_.config().data_dir()); };
        around_.serve = [this](std::shared_ptr<oauth::login_page> page) { serve(std::move(page)); };
    }

    void start() override {
        // Transient: after interrupt() its return is final.
        host_.workers().start({.name = worker_name, .restart = "transient", .heartbeat = std::chrono::milliseconds(10'000)}, [this](sdk::worker_ctl& ctl) {
            client_.run([&ctl] { return ctl.stop_requested(); }, [&ctl] { ctl.beat(); });
        });
    }

    void open(std::uint64_t conn, std::string_view config, sdk::transport_sink sink) override {
        server_config server = read_server(config);
        std::shared_ptr<oauth::account> account = account_of(server);
        if (account && server.auth->what != oauth::purpose::connect) return errand(conn, std::move(account), server.auth->what, std::move(sink));
        auto l = std::make_shared<link>(client_, std::move(server), options_, std::move(account), std::move(sink), [this, conn] { forget(conn); });
        std::lock_guard lock(mutex_);
        if (links_.count(conn)) throw sdk::plugin_error(HF_E_EXISTS, "the connection exists already");
        if (stopped_ || !client_.post([l] { l->open(); })) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the plugin is stopped or busy");
        links_.emplace(conn, std::move(l));
    }

    void send(std::uint64_t conn, std::string_view message) override {
        const auto l = find(conn);
        if (!l || !l->accepting) throw sdk::plugin_error(HF_E_NOT_FOUND, "the connection is closed");
        outgoing o = read_outgoing(message);
        if (l->load.fetch_add(1) < max_exchanges) {
            if (client_.post([l, text = std::string(message), o = std::move(o)]() mutable { l->deliver(std::move(text), std::move(o)); })) return;
        }
        l->load.fetch_sub(1);
        throw sdk::plugin_error(HF_E_OVERLOADED, "too many messages are under way");
    }

    void abandon(std::uint64_t conn, std::string_view request_id) override {
        if (const auto l = find(conn)) client_.post([l, id = canonical_id(request_id)] { l->abandon(id); });
    }

    void close(std::uint64_t conn, sdk::time_point deadline) override {
        // Nobody waits for the login any more; the person may still finish it.
        client_.post([this, conn] {
            if (const auto it = errands_.find(conn); it != errands_.end()) it->second.closed();
            errands_.erase(conn);
        });
        const auto l = find(conn);
        if (!l || !l->accepting.exchange(false)) return;
        client_.post([l, deadline] { l->close(deadline); });
    }

    void stop() override {
        client_.interrupt();
        // A worker still inside a callback at the deadline keeps its connections: the sink's last copy closes them.
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        bool ended = host_.workers().stop_and_wait(worker_name, deadline);
        for (std::size_t slot = 0; slot < max_logins; ++slot) ended &= host_.workers().stop_and_wait(login_worker(slot), deadline);
        if (!ended) return;
        std::map<std::uint64_t, std::shared_ptr<link>> rest;
        {
            std::lock_guard lock(mutex_);
            stopped_ = true;
            rest.swap(links_);
        }
        for (auto& [conn, l] : rest) l->drop({HF_E_TRANSPORT, "the transport plugin was stopped"});
        for (auto& [conn, sink] : errands_) sink.closed({HF_E_TRANSPORT, "the transport plugin was stopped"});
        client_.shutdown();
    }

  private:
    void serve(std::shared_ptr<oauth::login_page> page) {
        for (std::size_t tries = 0; tries < max_logins; ++tries) {
            const std::size_t slot = ++logins_ % max_logins;
            if (!pages_[slot].expired()) continue;
            try {
                host_.workers().start({.name = login_worker(slot), .restart = "temporary", .heartbeat = std::chrono::milliseconds(10'000)}, [page](sdk::worker_ctl& ctl) {
                    page->serve([&ctl] {
                        ctl.beat();
                        return !ctl.stop_requested();
                    });
                });
            } catch (const sdk::plugin_error& e) {
                if (e.status().code == HF_E_EXISTS) continue;  // it has ended, but the host has not seen it yet
                throw;
            }
            pages_[slot] = page;
            return;
        }
        throw sdk::plugin_error(HF_E_OVERLOADED, "too many logins are under way.");
    }
    // One account for all connections to a server, so that they renew its credentials together.
    std::shared_ptr<oauth::account> account_of(const server_config& c) {
        if (!c.auth) return nullptr;
        const oauth::settings& own = c.auth->own;
        std::lock_guard lock(mutex_);
        known_account& k = accounts_[c.name];
        if (!k.account || k.url != c.url || !(k.own == own)) k = {c.url, own, std::make_shared<oauth::account>(around_, c.name, c.url, c.headers, own)};
        const auto out = k.account;
        if (accounts_.size() > max_accounts) std::erase_if(accounts_, [](const auto& a) { return a.second.account.use_count() == 1; });
        return out;
    }
    // A connection that carries no messages: it is open once a person can go on, and closed when that has ended.
    void errand(std::uint64_t conn, std::shared_ptr<oauth::account> account, oauth::purpose what, sdk::transport_sink sink) {
        const bool taken = client_.post([this, conn, account = std::move(account), what, sink = std::move(sink)] {
            if (what == oauth::purpose::logout) return sink.closed(account->logout());
            errands_.emplace(conn, sink);
            account->login([sink](const std::string& url) { sink.opened(sdk::json_object({{"authorization_url", std::string_view(url)}})); },
                           [this, conn, sink](const sdk::status& s) {
                               sink.closed(s);
                               errands_.erase(conn);
                           });
        });
        if (!taken) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the plugin is stopped or busy");
    }
    std::shared_ptr<link> find(std::uint64_t conn) {
        std::lock_guard lock(mutex_);
        const auto it = links_.find(conn);
        return it == links_.end() ? nullptr : it->second;
    }
    void forget(std::uint64_t conn) {
        std::shared_ptr<link> last;  // released outside the lock
        std::lock_guard lock(mutex_);
        const auto it = links_.find(conn);
        if (it == links_.end()) return;
        last = std::move(it->second);
        links_.erase(it);
    }

    struct known_account {
        std::string url;
        oauth::settings own;
        std::shared_ptr<oauth::account> account;  // second owners: links, and what the client holds of them
    };

    const settings options_;
    oauth::surroundings around_;
    std::size_t logins_ = 0;                                 // Owner: the driving thread
    std::array<std::weak_ptr<oauth::login_page>, max_logins> pages_;  // Owner: the driving thread
    std::map<std::uint64_t, sdk::transport_sink> errands_;   // Owner: the driving thread; logins under way
    std::mutex mutex_;  // leaf: links_, accounts_, stopped_
    std::map<std::string, known_account> accounts_;          // by the server's name
    std::map<std::uint64_t, std::shared_ptr<link>> links_;  // second owners: what the client holds of them
    bool stopped_ = false;
    net::http_client client_;  // ends before all that its callbacks refer to
};

}  // namespace
}  // namespace holdfast::transport_http

HOLDFAST_PLUGIN(holdfast::transport_http::http_transport, R"({
  "id": "transport-http", "kind": "transport", "version": "0.1.0", "abi": [1, 1],
  "description": "MCP servers behind Streamable HTTP, with and without sessions",
  "interfaces": ["hf.transport/1"],"needs":["hf.worker/1"],
"check":{"config":{"url":"${ECHO_URL}"},"unreachable":{"url":"http://127.0.0.1:9/"}},
  "settings": {"type": "object", "additionalProperties": false, "properties": {
    "max_message_bytes": {"type": "integer", "minimum": 1024, "maximum": 268435456, "default": 4194304,
                          "description": "A longer message of a server fails its request."}}}
})")
