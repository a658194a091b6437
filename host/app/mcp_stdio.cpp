// `holdfast mcp`: the gateway as an MCP server on stdin and stdout, of any protocol version. The host behind it runs already, or is
// started for it; when it restarts, what was under way fails by name, a legacy session is set up again, and the client stays.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <iostream>
#include <set>

#include "app/command_line.hpp"
#include "app/commands.hpp"

namespace holdfast::app {
namespace {

constexpr std::size_t max_line = 4u << 20;            // bytes of one message
constexpr std::size_t max_depth = 60;                 // of a message: the host reads it inside of two more objects, up to 64
constexpr std::size_t max_watched = 256;              // resources that a client's session watches: what the gateway allows it
constexpr std::size_t max_held = 1000;                // lines that wait for the host
constexpr int rpc_parse_error = -32700, rpc_failed = -32000;
constexpr auto reconnect_every = milliseconds(100);
constexpr auto own_host_after = seconds(3);           // a host that restarts is back by then; else one is started
constexpr auto last_answers = seconds(5);             // after the end of stdin; a client in a hurry sends a signal

int wake_fd = -1;                                     // counts reasons for the main thread to look
volatile std::sig_atomic_t told_to_end = 0;
void wake() {
    const std::uint64_t one = 1;
    (void)!::write(wake_fd, &one, sizeof one);
}
extern "C" void on_end_signal(int) {
    told_to_end = 1;
    wake();
}

class stdio_gateway {
  public:
    explicit stdio_gateway(const common_options& o) : options_(o), dir_(data_dir_of(o)) {}

    int run() {
        if (dir_.empty()) return exit_config;
        wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct sigaction end {};
        end.sa_handler = on_end_signal;
        for (int s : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(s, &end, nullptr);
        if (auto r = attach(true); !r) return explain(r.error());
        if (auto r = allowed(); !r) return explain(r.error());
        bool open = true;
        steady_time end_by{};
        const auto works = [&] { return open || (std::chrono::steady_clock::now() < end_by && !(held_.empty() && answered())); };
        while (works() && !told_to_end && !stdout_gone_) {
            pollfd fds[]{{open && held_.size() < max_held ? STDIN_FILENO : -1, POLLIN, 0}, {wake_fd, POLLIN, 0}};
            const int timeout = client_ && open ? -1 : static_cast<int>(reconnect_every.count());
            if (::poll(fds, 2, timeout) < 0 && errno != EINTR) break;
            if (fds[1].revents) {
                std::uint64_t count = 0;
                (void)!::read(wake_fd, &count, sizeof count);
            }
            if (lost_.exchange(false)) let_go();
            if (!client_) reattach();
            if (fds[0].revents && !read_input()) {
                open = false;
                end_by = std::chrono::steady_clock::now() + last_answers;
            }
            flush_held();
        }
        return finish();
    }

  private:
    /// One line of the client, while the host works at it.
    struct exchange {
        json id;             ///< null: expects no answer
        std::string method;
        bool answered = false, head_seen = false;
        bool again = false;  ///< ours: a session is set up again, and the client has had its answer
        std::atomic<bool> cancelled{false};  ///< by the client: it hears no more of it
        std::uint64_t call = 0;
    };

    // ---- the host

    result<void> attach(bool may_start) {
        auto c = control_client::connect(dir_, "mcp");
        if (!c && c.error().code == errc::unavailable && may_start) {
            own_.reset();
            auto started = borrowed_host::start(options_, dir_);
            if (!started) return tl::unexpected<error>(started.error());
            own_ = std::move(*started);
            c = control_client::connect(dir_, "mcp");
        }
        if (!c) return tl::unexpected<error>(c.error());
        client_ = std::move(*c);
        ready_ = false;
        client_->on_lost([this] {
            lost_ = true;
            wake();
        });
        client_->call("host.wait_ready", json::object(), [this](result<json>) {
            ready_ = true;
            wake();
        });
        return {};
    }
    /// A client that is not served should hear it at once, and not with each of its requests. Errors: forbidden, naming the key.
    result<void> allowed() {
        const auto s = client_->call("gateway.status");
        if (!s) return tl::unexpected<error>(s.error());
        for (const char* key : {"enabled", "stdio"})
            if (!bool_or(*s, key, true))
                return fail(errc::forbidden, std::string("MCP on stdin and stdout is switched off: the configuration says \"gateway\": {\"") + key + "\": false}");
        return {};
    }
    void let_go() {
        client_.reset();  // what was under way has failed by now
        lost_at_ = std::chrono::steady_clock::now();
        std::cerr << "holdfast: the host has gone away; waiting for it\n";
    }
    void reattach() {
        const bool long_gone = std::chrono::steady_clock::now() - lost_at_ > own_host_after;
        if (auto r = attach(long_gone); !r) {
            if (long_gone) lost_at_ = std::chrono::steady_clock::now(), explain(r.error());
            return;
        }
        std::cerr << "holdfast: the host is back\n";
        std::string first;
        {
            std::lock_guard lock(mutex_);
            if (!legacy_) return;
            session_.clear();  // a host that is dying may take the connection and drop it: then this comes again
            first = initialize_;
        }
        forward(first, true);
    }

    // ---- from the client

    bool read_input() {
        char buffer[64 * 1024];
        const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
        if (n < 0) return errno == EINTR || errno == EAGAIN;
        if (n == 0) return false;
        input_.append(buffer, static_cast<std::size_t>(n));
        std::size_t begin = 0;
        for (std::size_t end; (end = input_.find('\n', begin)) != std::string::npos; begin = end + 1) {
            std::string line = input_.substr(begin, end - begin);
            if (!line.empty() && line.back() == '\r') line.pop_back();
            if (std::exchange(skipping_, false)) continue;  // the rest of what was too long
            if (line.size() > max_line) refuse_long_line();
            else if (!line.empty()) held_.push_back(std::move(line));
        }
        input_.erase(0, begin);
        if (input_.size() > max_line + 1) {  // one more: the carriage return of a line that just fits
            if (!std::exchange(skipping_, true)) refuse_long_line();
            input_.clear();
        }
        return true;
    }
    void refuse_long_line() { print_error(nullptr, rpc_parse_error, "a message may have at most " + std::to_string(max_line) + " bytes"); }

    /// What needs the catalogue waits until every server has had its first chance; greetings do not.
    static bool greets(const std::string& line) {
        const auto m = parse_json(line, max_depth);
        const std::string method = m ? string_or(*m, "method") : "";
        return !m || method == "initialize" || method == "server/discover" || method == "ping" || method == "notifications/initialized";
    }
    void flush_held() {
        if (client_ && client_->connected() && ready_ && restore_.exchange(false)) restore();
        // What follows an initialize belongs to the session that its answer names.
        while (!held_.empty() && client_ && client_->connected() && !greeting() && (ready_ || greets(held_.front()))) {
            const std::string line = std::move(held_.front());
            held_.pop_front();
            forward(line, false);
        }
    }

    bool greeting() {
        std::lock_guard lock(mutex_);
        return std::any_of(under_way_.begin(), under_way_.end(), [](const auto& e) { return e->method == "initialize"; });
    }
    /// Nothing is under way but what has no end.
    bool answered() {
        std::lock_guard lock(mutex_);
        return std::none_of(under_way_.begin(), under_way_.end(), [](const auto& e) { return e->method != "subscriptions/listen"; });
    }
    void forward(const std::string& line, bool again) {
        auto e = std::make_shared<exchange>();
        e->again = again;
        std::string params = R"({"via":"stdio")";
        auto message = parse_json(line, max_depth);
        {
            std::lock_guard lock(mutex_);
            if (message && message->is_object()) {
                e->method = string_or(*message, "method");
                if (!e->method.empty()) e->id = member(*message, "id");
                if (e->method == "notifications/cancelled") {
                    cancel(member(member(*message, "params"), "requestId"));
                    if (session_.empty()) return;
                }
                if (e->method == "initialize" && session_.empty()) initialize_ = line;
                if (!session_.empty()) remember(e->method, member(*message, "params"));
            }
            if (message) params.append(R"(,"message":)").append(line);
            else params.append(R"(,"parse_error":)").append(dump(message.error().message));
            if (!session_.empty()) params.append(R"(,"session":)").append(dump(session_));
            under_way_.insert(e);
        }
        control_client* host = client_.get();
        e->call = host->stream("mcp.post", params + "}", [this, e, host](std::string piece) { on_piece(*e, host, piece); },
                               [this, e, host](result<json> r) { on_done(e, host, r); });
    }
    // mutex_ held: a modern client ends a request by name; of a legacy one the session hears it, too.
    void cancel(const json& id) {
        for (const auto& e : under_way_)
            if (!e->id.is_null() && e->id == id && e->method != "initialize") {
                e->cancelled = true;
                if (session_.empty() && e->call != 0) client_->cancel(e->call);
                return;
            }
    }
    // mutex_ held: what a session would lack if it had to be set up again.
    void remember(const std::string& method, const json& params) {
        const std::string uri = string_or(params, "uri");
        if (method == "logging/setLevel") level_ = string_or(params, "level");
        else if (method == "resources/unsubscribe") watched_.erase(uri);
        else if (method == "resources/subscribe" && watched_.size() < max_watched) watched_.insert(uri);
    }

    // ---- from the host, on the control client's thread

    void on_piece(exchange& e, control_client* host, const std::string& piece) {
        if (!e.head_seen) {
            e.head_seen = true;
            const auto head = parse_json(piece);
            if (const std::string session = head ? string_or(*head, "session") : ""; !session.empty()) begin_session(session, host);
            return;
        }
        const auto line = piece.find('\n');
        if (line == std::string::npos || line + 1 == piece.size()) return;
        if (e.cancelled) return;
        const std::string_view text = std::string_view(piece).substr(line + 1);
        if (!e.answered && !e.id.is_null()) {
            const auto m = parse_json(text, 256);
            e.answered = m && m->is_object() && !m->contains("method") && member(*m, "id") == e.id;
        }
        if (!e.again) print(text);
    }
    void begin_session(const std::string& session, control_client* host) {
        {
            std::lock_guard lock(mutex_);
            session_ = session;
            legacy_ = true;
        }
        auto head_seen = std::make_shared<bool>(false);
        host->stream("mcp.listen", dump({{"session", session}}), [this, head_seen](std::string piece) {
            if (!std::exchange(*head_seen, true)) return;
            if (const auto line = piece.find('\n'); line != std::string::npos && line + 1 < piece.size()) print(std::string_view(piece).substr(line + 1));
        }, [](result<json>) {});
    }
    void on_done(const std::shared_ptr<exchange>& e, control_client* host, const result<json>& r) {
        const bool cancelled = e->cancelled || (!r && r.error().code == errc::cancelled);
        if (!e->id.is_null() && !e->answered && !e->again && !cancelled)
            print_error(e->id, rpc_failed, r ? "the gateway gave no answer" : r.error().message);
        if (e->again && !e->answered)
            std::cerr << "holdfast: the session could not be set up again: " << (r ? "the gateway gave no answer" : r.error().message) << "\n";
        if (e->again && e->answered) {  // the session is a new one, and so may be what it offers
            say_again(host, "notifications/initialized", json::object());
            restore_ = true;  // what needs the catalogue waits for it
            for (const char* list : {"tools", "prompts", "resources"})
                print(std::string(R"({"jsonrpc":"2.0","method":"notifications/)") + list + R"(/list_changed"})");
        }
        {
            std::lock_guard lock(mutex_);
            under_way_.erase(e);
        }
        wake();
    }
    /// Tells a session that was set up again what its client has told the one before.
    void restore() {
        std::string level;
        std::set<std::string> watched;
        {
            std::lock_guard lock(mutex_);
            level = level_;
            watched = watched_;
        }
        if (!level.empty()) say_again(client_.get(), "logging/setLevel", {{"level", level}});
        for (const auto& uri : watched) {
            say_again(client_.get(), "resources/subscribe", {{"uri", uri}});
            print(dump({{"jsonrpc", "2.0"}, {"method", "notifications/resources/updated"}, {"params", {{"uri", uri}}}}));  // it may have been, meanwhile
        }
    }
    void say_again(control_client* host, std::string_view method, json params) {
        json message{{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}};
        std::string session;
        {
            std::lock_guard lock(mutex_);
            session = session_;
            if (!method.starts_with("notifications/")) message["id"] = "again-" + std::to_string(++said_again_);
        }
        if (session.empty()) return;
        host->stream("mcp.post", dump({{"via", "stdio"}, {"message", std::move(message)}, {"session", session}}), [](std::string) {}, [](result<json>) {});
    }

    // ---- to the client

    void print(std::string_view message) {
        std::lock_guard lock(output_mutex_);
        std::string line(message);
        line += '\n';
        for (std::size_t sent = 0; sent < line.size();) {
            const ssize_t n = ::write(STDOUT_FILENO, line.data() + sent, line.size() - sent);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) {
                stdout_gone_ = true;
                return wake();
            }
            sent += static_cast<std::size_t>(n);
        }
    }
    void print_error(const json& id, int code, const std::string& message) {
        print(dump({{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", message}}}}));
    }

    int finish() {
        std::string session;
        {
            std::lock_guard lock(mutex_);
            session = session_;
        }
        if (client_ && !session.empty()) (void)client_->call("mcp.close", {{"session", session}}, milliseconds(500));
        if (client_) client_->on_lost(nullptr);
        client_.reset();
        return exit_ok;
    }

    const common_options& options_;
    const std::string dir_;
    std::unique_ptr<borrowed_host> own_;      // stopped last
    std::atomic<bool> lost_{false}, ready_{false}, stdout_gone_{false};
    std::atomic<bool> restore_{false};        // a session was set up again
    steady_time lost_at_{};
    // Owner: the main thread.
    std::string input_;
    bool skipping_ = false;
    std::deque<std::string> held_;
    std::mutex output_mutex_;
    std::mutex mutex_;                        // guards what follows
    std::string session_, initialize_, level_;  // a legacy client's
    std::set<std::string> watched_;
    int said_again_ = 0;
    bool legacy_ = false;                     // it has had a session
    std::set<std::shared_ptr<exchange>> under_way_;  // second owner: the call's callbacks
    std::unique_ptr<control_client> client_;  // Owner: the main thread. Destroyed first: its callbacks use the rest
};

}  // namespace

int mcp_command(const common_options& o) { return stdio_gateway(o).run(); }

}  // namespace holdfast::app
