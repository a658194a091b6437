// What a stranger may send to the web server that has the MCP endpoint: over a real connection, from its first byte to the call that the
// host gets. The first byte says how the host answers; the rest is sent, in pieces that end with 0xFF, after each of which the client
// waits a moment for what the server says. Whatever comes: every answer is well-formed HTTP and none is a failure of the server's own,
// nobody without the token reaches the host, the host gets one JSON value within its limits, and no call outlives its client.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <thread>

#include "http_answers.hpp"
#include "json_oracle.hpp"
#include "ui-http/gateway.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::fuzz;
using nlohmann::json;
using namespace std::chrono_literals;

constexpr std::string_view token = "secret-of-the-host";
constexpr const char* settings = R"({"listen":"127.0.0.1:0","allowed_origins":["https://trusted.example"],"mcp":{"sse":true,"websocket":true}})";
constexpr std::size_t params_around = 2;  ///< objects in which the host gets a client's message
constexpr auto patience = 9s;             ///< a machine may be busy
constexpr int a_moment_ms = 1;
constexpr int max_moments = 8;            ///< of one input: the fuzzer likes 0xFF

/// The host: looks at every call and answers it as it was told to.
class host {
  public:
    host() {
        raw_.size = sizeof raw_;
        raw_.abi = HF_ABI_VERSION;
        raw_.ctx = this;
        raw_.instance_id = sdk::str("web");
        raw_.get_ext = [](void* ctx, hf_str id) -> const void* {
            const auto& me = *static_cast<host*>(ctx);
            return sdk::view(id) == HF_EXT_API ? static_cast<const void*>(&me.api_) : sdk::view(id) == HF_EXT_LISTEN ? &me.listen_ : nullptr;
        };
    }
    const hf_host* raw() const { return &raw_; }

    void begin(std::uint8_t how, std::string sent) {
        const std::lock_guard lock(mutex_);
        how_ = how;
        sent_before_ = std::exchange(sent_, std::move(sent));
        let_in_ = false;
    }
    bool let_in() {
        const std::lock_guard lock(mutex_);
        return let_in_;
    }
    void wait_until_idle() {
        std::unique_lock lock(mutex_);
        must(idle_.wait_for(lock, patience, [&] { return open_.empty(); }), "a call outlives its client", open_.empty() ? "" : open_.begin()->second.request);
    }

  private:
    struct waiting {
        hf_call call;
        std::string request;
    };
    static host& of(void* ctx) { return *static_cast<host*>(ctx); }

    static std::int32_t submit(void* ctx, const hf_call* c, hf_error*) { return of(ctx).answer(*c), HF_PENDING; }
    void answer(const hf_call& c) {
        const std::string_view method = sdk::view(c.method), request = sdk::view(c.request);
        std::unique_lock lock(mutex_);
        if (method == "mcp.close") return lock.unlock(), finish(c, HF_OK);  // may follow the end of its client
        must(let_in_, "somebody without the token reached the host", request);
        look_at(method, request);
        const auto how = how_;
        const bool waits = method == "mcp.listen" || (method == "mcp.post" && (how & 3) == 2);  // other calls go on without their client
        if (waits) must(open_.emplace(c.id, waiting{c, std::string(request)}).second, "two calls of one number");
        lock.unlock();

        const auto chunk = [&c](std::string_view text) {
            if (c.on_chunk) c.on_chunk(c.ctx, c.id, sdk::bytes(text));
        };
        if ((how & 3) == 3 && !waits) return finish(c, HF_E_UNAVAILABLE);
        if ((how & 4) == 0 || !waits) {
            const bool streams = method == "mcp.listen" || (how & 1) || (how & 8);
            chunk(streams ? R"({"status":200,"stream":true,"session":"s1"})" : R"({"status":200,"stream":false})");
            if (streams) chunk("1 retry:500\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}");
        }
        if (waits) return;
        chunk("2\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
        finish(c, HF_OK);
    }
    static void finish(const hf_call& c, std::int32_t code) {
        hf_error err = sdk::empty_error();
        if (code != HF_OK) sdk::fill(&err, code, "the host says no");
        c.on_done(c.ctx, c.id, code == HF_OK ? nullptr : &err, sdk::bytes("{}"));
    }
    static void cancel(void* ctx, std::uint64_t id) {
        host& me = of(ctx);
        hf_call c{};
        {
            const std::lock_guard lock(me.mutex_);
            const auto it = me.open_.find(id);
            if (it == me.open_.end()) return;
            c = it->second.call;
        }
        finish(c, HF_E_CANCELLED);
        const std::lock_guard lock(me.mutex_);
        me.open_.erase(id);
        me.idle_.notify_all();
    }
    void look_at(std::string_view method, std::string_view request) const {
        const auto read = read_strictly(request, ui_http::mcp_max_depth + params_around);
        must(read != reading::bad, "the host gets something that is not one JSON value");
        if (read == reading::huge_number || !method.starts_with("mcp.")) return;
        const json j = json::parse(request);
        must(j.size() == 2 && j.contains("params") && j["params"].is_object(), "the client has changed the call");
        must(j["identity"]["role"] == "admin" && j["identity"]["user"] == "local", "the client has changed whose call it is");
        if (sent_.find(" /ws") != sent_.npos || sent_.find(" /api") != sent_.npos) return;  // where its user may call what he likes
        static const std::set<std::string> known{"via", "message", "parse_error", "session", "last_event_id", "headers"};
        for (const auto& [key, value] : j["params"].items()) must(known.contains(key), "the client has added a parameter");
        if (method != "mcp.post") return;
        const auto via = j["params"].at("via");
        must(via == "http" || via == "stdio", "the client has changed how it came");
        must(j["params"].contains("message") != j["params"].contains("parse_error"), "neither a message nor a reason");
        // As it was sent, where it was sent in one piece.
        const auto message = sdk::json_member(sdk::json_member(request, "params"), "message");
        must(via != "http" || lower(sent_).find("chunked") != sent_.npos || sent_.find(message) != sent_.npos, "the message was changed");
    }
    static std::int32_t describe(void*, hf_buf* out, hf_error*) { return sdk::give(out, "{}"), HF_OK; }
    static std::int32_t authenticate(void* ctx, hf_str text, hf_buf* identity, hf_error* err) {
        if (sdk::view(text) != token) return sdk::fill(err, HF_E_AUTH, "not this one");
        host& me = of(ctx);
        const std::lock_guard lock(me.mutex_);
        // The last input's WebSocket may be looked at again while it ends.
        const bool now = me.sent_.find(token) != me.sent_.npos;
        must(now || me.sent_before_.find(token) != me.sent_before_.npos, "a token that nobody has sent");
        me.let_in_ |= now;
        return sdk::give(identity, R"({"user":"local","role":"admin"})"), HF_OK;
    }
    static std::int32_t listen(void*, hf_str, std::uint16_t, std::int32_t* fd, hf_error*) {
        *fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        must(::bind(*fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 && ::listen(*fd, SOMAXCONN) == 0, "cannot listen");
        return HF_OK;
    }

    hf_host raw_{};
    const hf_api api_{sizeof(hf_api), 0, submit, cancel, describe, authenticate};
    const hf_listen listen_{sizeof(hf_listen), 0, listen};
    std::mutex mutex_;  // guards what follows; not held while the plugin is called
    std::condition_variable idle_;
    std::map<std::uint64_t, waiting> open_;
    std::string sent_, sent_before_;
    std::uint8_t how_ = 0;
    bool let_in_ = false;
};

/// Started once, with one thread of its own; ends with the program.
class server {
  public:
    server() {
        gateway_.listen();
        const std::string url = gateway_.url();
        port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
        thread_ = std::thread([this] {
            const hf_worker_ctl raw{sizeof raw, 1, &stop_, &beat_, nullptr, -1, 0};
            sdk::worker_ctl ctl(&raw);
            gateway_.run(ctl);
        });
    }
    ~server() {
        gateway_.stop();
        __atomic_store_n(&stop_, 1, __ATOMIC_RELEASE);
        thread_.join();
    }
    std::uint16_t port() const { return port_; }
    ::host& its_host() { return host_; }

  private:
    ::host host_;
    sdk::host services_{host_.raw()};
    ui_http::gateway gateway_{services_, ui_http::read_settings(settings)};
    std::thread thread_;
    std::uint16_t port_ = 0;
    std::int32_t stop_ = 0;
    std::uint64_t beat_ = 0;
};

/// One client, from connecting to the server's last byte.
class client {
  public:
    explicit client(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const timeval longest{std::chrono::seconds(patience).count(), 0};
        const linger at_once{1, 0};  // of thousands of connections none lingers in TIME_WAIT
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        must(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0, "the server does not accept");
    }
    ~client() { ::close(fd_); }
    void send(std::string_view piece) {
        while (!piece.empty()) {
            const auto n = ::send(fd_, piece.data(), piece.size(), MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return;  // refused already
            piece.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    void wait_a_moment() {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, a_moment_ms) == 1) receive(MSG_DONTWAIT);
    }
    void finish() {
        ::shutdown(fd_, SHUT_WR);
        while (receive(0) > 0) {
        }
    }
    const std::string& heard() const { return heard_; }
    bool reset() const { return reset_; }  ///< the server closed while something was under way to it: an answer may be lost

  private:
    ssize_t receive(int flags) {
        char piece[4096];
        ssize_t n = 0;
        do n = ::recv(fd_, piece, sizeof piece, flags);
        while (n < 0 && errno == EINTR);  // libFuzzer's own alarm, every few seconds
        if (n > 0) heard_.append(piece, static_cast<std::size_t>(n));
        must(n >= 0 || flags || errno == ECONNRESET, "a client that said everything is neither answered nor let go");
        reset_ |= n < 0 && errno == ECONNRESET;
        return n;
    }
    const int fd_;
    std::string heard_;
    bool reset_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    if (size == 0) return 0;
    static server s;
    std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    std::string sent(rest);
    std::erase(sent, '\xFF');
    s.its_host().begin(data[0], sent);
    client c(s.port());
    for (int moments = 0;;) {
        const auto end = rest.find('\xFF');
        c.send(rest.substr(0, end));
        if (end == rest.npos) break;
        rest.remove_prefix(end + 1);
        if (end > 0 && ++moments <= max_moments) c.wait_a_moment();
    }
    c.finish();
    s.its_host().wait_until_idle();
    look_at_answers(c.heard(), {s.its_host().let_in(), c.reset(), sent.find("HEAD ") != sent.npos});
    return 0;
}
