#include "net-client/http_client.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <sys/socket.h>

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <new>

#include "net-client/http_text.hpp"
#include "net-client/url.hpp"

namespace holdfast::net {
namespace {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;

constexpr milliseconds longest_poll{500};  // stop is looked at and beat is called at least this often
constexpr long kept_connection_s = 60;
constexpr long kept_connections = 32;

void global_init() {
    // Never cleaned up: other users of the library in this process may come and go at any time.
    static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
    (void)once;
}

struct transfer {
    std::uint64_t id = 0;
    request req;
    callbacks on;
    CURL* easy = nullptr;
    curl_slist* lines = nullptr;
    std::size_t body_sent = 0;
    int status = 0;
    bool headers_told = false;
    std::size_t header_bytes = 0, body_bytes = 0;
    headers received;
    time_point last_activity;
    bool refused_address = false;
    outcome verdict = outcome::ok;  // why a callback ended it
    char error[CURL_ERROR_SIZE] = "";

    transfer() = default;
    transfer(const transfer&) = delete;
    transfer& operator=(const transfer&) = delete;
    ~transfer() {
        if (easy) curl_easy_cleanup(easy);
        curl_slist_free_all(lines);
    }
    std::string peer() const {
        const auto u = parse_url(req.url);
        return u ? u->origin : "the server";
    }
};

// The library's callbacks. Nothing may be thrown through it.
std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self) noexcept {
    auto& t = *static_cast<transfer*>(self);
    const std::size_t n = size * count;
    try {
        t.last_activity = clock::now();
        t.header_bytes += n;
        if (t.header_bytes > max_response_header_bytes) {
            t.verdict = outcome::too_large;
            return 0;
        }
        if (t.headers_told) return n;  // trailers
        std::string_view line(data, n);
        while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
        if (line.starts_with("HTTP/")) {
            t.received.clear();
            long status = 0;
            curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
            t.status = static_cast<int>(status);
        } else if (line.empty()) {
            if (t.status >= 200) {
                t.headers_told = true;
                if (t.on.on_headers) t.on.on_headers(t.status, t.received);
            }
        } else if (const auto colon = line.find(':'); colon != std::string_view::npos) {
            header h{std::string(line.substr(0, colon)), std::string(line.substr(colon + 1))};
            for (char& c : h.name)
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
            h.value.erase(0, h.value.find_first_not_of(" \t"));
            while (!h.value.empty() && (h.value.back() == ' ' || h.value.back() == '\t')) h.value.pop_back();
            t.received.push_back(std::move(h));
        }
        return n;
    } catch (...) {
        t.verdict = outcome::failed;
        return 0;
    }
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self) noexcept {
    auto& t = *static_cast<transfer*>(self);
    const std::size_t n = size * count;
    const std::size_t aborted = n == 0 ? 1 : 0;
    try {
        t.last_activity = clock::now();
        t.body_bytes += n;
        bool too_large = t.req.max_body_bytes != 0 && t.body_bytes > t.req.max_body_bytes;
        if (t.req.compressed && t.body_bytes > expansion_floor_bytes) {
            curl_off_t raw = 0;
            curl_easy_getinfo(t.easy, CURLINFO_SIZE_DOWNLOAD_T, &raw);
            too_large |= t.body_bytes / max_expansion > static_cast<std::size_t>(raw);
        }
        if (too_large) {
            t.verdict = outcome::too_large;
            return aborted;
        }
        if (t.on.on_data) t.on.on_data({data, n});
        return n;
    } catch (...) {
        t.verdict = outcome::failed;
        return aborted;
    }
}

// The body is given once. With no seek function the library cannot rewind it, so it cannot send it again.
std::size_t on_read(char* to, std::size_t size, std::size_t count, void* self) noexcept {
    auto& t = *static_cast<transfer*>(self);
    const std::size_t n = std::min(size * count, t.req.body.size() - t.body_sent);
    if (n) std::memcpy(to, t.req.body.data() + t.body_sent, n);
    t.body_sent += n;
    t.last_activity = clock::now();
    return n;
}

// The last moment before a connection: the name has been looked up, whatever it was said to be, and nothing has been sent.
curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* at) noexcept {
    auto& t = *static_cast<transfer*>(self);
    char text[INET6_ADDRSTRLEN] = "";
    const void* bytes = nullptr;
    if (at->family == AF_INET) bytes = &reinterpret_cast<const sockaddr_in*>(&at->addr)->sin_addr;
    if (at->family == AF_INET6) bytes = &reinterpret_cast<const sockaddr_in6*>(&at->addr)->sin6_addr;
    bool allowed = false;
    try {
        allowed = bytes && ::inet_ntop(at->family, bytes, text, sizeof text) && t.req.may_connect(text);
    } catch (...) {
    }
    if (allowed) return ::socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);
    t.refused_address = true;
    return CURL_SOCKET_BAD;
}

result judge(const transfer& t, CURLcode code) {
    const std::string peer = t.peer();
    const char* address = nullptr;
    curl_easy_getinfo(t.easy, CURLINFO_PRIMARY_IP, &address);
    const auto say = [&](outcome what, std::string message) { return result{what, t.status, std::move(message), address ? address : ""}; };
    if (t.refused_address && code == CURLE_COULDNT_CONNECT) return say(outcome::forbidden, peer + " is at an address that must not be asked");
    if (t.verdict == outcome::too_large) return say(t.verdict, peer + " sent more than this client accepts");
    if (t.verdict == outcome::failed) return say(t.verdict, "the answer of " + peer + " could not be processed");
    const std::string why = t.error[0] ? t.error : curl_easy_strerror(code);
    switch (code) {
        case CURLE_OK: return say(outcome::ok, {});
        case CURLE_URL_MALFORMAT: return say(outcome::invalid, "the URL cannot be used");
        case CURLE_UNSUPPORTED_PROTOCOL: return say(outcome::lost, peer + " does not speak HTTP");  // the URL's scheme was looked at before
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY: return say(outcome::unresolved, "no address is known for the host of " + peer);
        case CURLE_COULDNT_CONNECT: return say(outcome::refused, "cannot connect to " + peer + ": " + why);
        case CURLE_SSL_CONNECT_ERROR:
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_USE_SSL_FAILED: return say(outcome::tls, "no secure connection to " + peer + ": " + why);
        case CURLE_OPERATION_TIMEDOUT: return say(outcome::timed_out, peer + " did not answer in time");
        case CURLE_OUT_OF_MEMORY: return say(outcome::failed, "out of memory");
        case CURLE_SEND_FAIL_REWIND: return say(outcome::lost, "the connection to " + peer + " broke before an answer came");
        default: return say(outcome::lost, "the connection to " + peer + " broke: " + why);
    }
}

}  // namespace

std::string_view find_header(const headers& all, std::string_view name) {
    for (const header& h : all)
        if (same_name(h.name, name)) return h.value;
    return {};
}

struct http_client::impl {
    explicit impl(client_limits l) : limits(l) {
        global_init();
        multi = curl_multi_init();
        if (!multi) throw std::bad_alloc();
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, kept_connections);
        curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    }
    ~impl() {
        curl_multi_cleanup(multi);
    }

    const client_limits limits;
    CURLM* multi = nullptr;  // its wakeup may be called from any thread
    std::atomic<std::uint64_t> next_id{1};
    std::atomic<std::size_t> under_way{0};
    std::atomic<bool> interrupted{false};

    std::mutex mutex;  // leaf: inbox, timers, down
    struct command {
        std::function<void()> run;        // or:
        std::unique_ptr<transfer> start;
    };
    std::deque<command> inbox;
    std::multimap<time_point, std::function<void()>> timers;
    bool down = false;

    // Owner: the driving thread.
    std::map<std::uint64_t, std::unique_ptr<transfer>> active;
    std::deque<std::unique_ptr<transfer>> waiting;

    bool put(command c, bool always = false) {
        {
            std::lock_guard lock(mutex);
            if (down || (!always && inbox.size() >= limits.posted)) return false;
            inbox.push_back(std::move(c));
        }
        curl_multi_wakeup(multi);
        return true;
    }

    void finish(std::unique_ptr<transfer> t, const result& r) noexcept {
        if (t->easy) curl_multi_remove_handle(multi, t->easy);
        under_way.fetch_sub(1);
        try {
            if (t->on.on_done) t->on.on_done(r);
        } catch (...) {  // an owner that throws here has nobody left to tell
        }
    }

    /// False: the request cannot be sent; `why` says so.
    bool prepare(transfer& t, std::string& why);
    void begin(std::unique_ptr<transfer> t) {
        if (active.size() >= limits.concurrent) {
            waiting.push_back(std::move(t));
            return;
        }
        std::string why;
        if (!prepare(*t, why)) return finish(std::move(t), {outcome::invalid, 0, std::move(why)});
        t->last_activity = clock::now();
        CURL* const easy = t->easy;
        transfer& ref = *t;
        active.emplace(t->id, std::move(t));
        if (curl_multi_add_handle(multi, easy) != CURLM_OK) end(ref.id, {outcome::failed, 0, "the request could not be started"});
    }
    void end(std::uint64_t id, const result& r) {
        const auto it = active.find(id);
        if (it == active.end()) return;
        auto t = std::move(it->second);
        active.erase(it);
        finish(std::move(t), r);
    }
    void drop(std::uint64_t id) {
        const result r{outcome::cancelled, 0, "the request was cancelled"};
        if (active.count(id)) return end(id, r);
        for (auto it = waiting.begin(); it != waiting.end(); ++it) {
            if ((*it)->id != id) continue;
            auto t = std::move(*it);
            waiting.erase(it);
            return finish(std::move(t), r);
        }
    }

    void run_posted() {
        std::deque<command> batch;
        {
            std::lock_guard lock(mutex);
            batch.swap(inbox);
            const auto due = timers.upper_bound(clock::now());
            for (auto it = timers.begin(); it != due; ++it) batch.push_back({std::move(it->second), nullptr});
            timers.erase(timers.begin(), due);
        }
        while (!batch.empty()) {
            command c = std::move(batch.front());
            batch.pop_front();
            try {
                if (c.start)
                    begin(std::move(c.start));
                else
                    c.run();
            } catch (...) {
                // The supervisor restarts the worker; what was behind this function must not be lost with it.
                std::lock_guard lock(mutex);
                inbox.insert(inbox.begin(), std::make_move_iterator(batch.begin()), std::make_move_iterator(batch.end()));
                throw;
            }
        }
    }
    void collect() {
        int left = 0;
        while (CURLMsg* m = curl_multi_info_read(multi, &left)) {
            if (m->msg != CURLMSG_DONE) continue;
            const CURLcode code = m->data.result;
            transfer* t = nullptr;
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
            end(t->id, judge(*t, code));
        }
        while (!waiting.empty() && active.size() < limits.concurrent) {
            auto t = std::move(waiting.front());
            waiting.pop_front();
            begin(std::move(t));
        }
    }
    void end_silent() {
        const auto now = clock::now();
        std::vector<std::uint64_t> silent;
        for (const auto& [id, t] : active)
            if (t->req.timeouts.idle.count() > 0 && now - t->last_activity >= t->req.timeouts.idle) silent.push_back(id);
        for (const auto id : silent) {
            const transfer& t = *active[id];
            end(id, {outcome::idle, t.status, t.peer() + " was silent for " + std::to_string(t.req.timeouts.idle.count()) + " ms"});
        }
    }
    milliseconds until_next() {
        auto next = clock::now() + longest_poll;
        for (const auto& [id, t] : active)
            if (t->req.timeouts.idle.count() > 0) next = std::min(next, t->last_activity + t->req.timeouts.idle);
        std::lock_guard lock(mutex);
        if (!inbox.empty()) return milliseconds(0);
        if (!timers.empty()) next = std::min(next, timers.begin()->first);
        return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(next - clock::now()));
    }
};

bool http_client::impl::prepare(transfer& t, std::string& why) {
    const auto url = parse_url(t.req.url);
    if (!url) {
        why = "the URL cannot be used: it has to begin with http:// or https://";
        return false;
    }
    t.easy = curl_easy_init();
    if (!t.easy) {
        why = "out of memory";
        return false;
    }
    const auto line = [&t](const std::string& text) {
        if (curl_slist* more = curl_slist_append(t.lines, text.c_str())) t.lines = more;
    };
    line("Expect:");  // never wait for 100-continue
    bool agent = false, type = false;
    for (const header& h : t.req.headers) {
        if (!valid_header_name(h.name) || !valid_header_value(h.value)) {
            why = "the header \"" + excerpt(h.name, 60) + "\" has a name or a value that cannot be sent";
            return false;
        }
        agent |= same_name(h.name, "user-agent");
        type |= same_name(h.name, "content-type");
        line(h.value.empty() ? h.name + ";" : h.name + ": " + h.value);
    }
    if (!agent) line("User-Agent: holdfast");
    if (!type) line("Content-Type:");
    CURL* const e = t.easy;
    curl_easy_setopt(e, CURLOPT_URL, t.req.url.c_str());
    curl_easy_setopt(e, CURLOPT_PRIVATE, &t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t.error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, url->scheme == "https" ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (is_loopback(url->host)) curl_easy_setopt(e, CURLOPT_PROXY, "");  // a proxy elsewhere cannot reach this machine's own servers
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, kept_connection_s);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, t.lines);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, &on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, &t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, &on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(t.req.timeouts.connect.count()));
    if (t.req.timeouts.total.count() > 0) curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, static_cast<long>(t.req.timeouts.total.count()));
    if (t.req.may_connect) {
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, &on_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, &t);
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);  // a kept one was made without asking
        curl_easy_setopt(e, CURLOPT_FORBID_REUSE, 1L);
        curl_easy_setopt(e, CURLOPT_PIPEWAIT, 0L);
    }
    if (t.req.compressed) curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
    if (t.req.method == "GET") {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    } else if (t.req.method == "POST" || !t.req.body.empty()) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(t.req.body.size()));
        curl_easy_setopt(e, CURLOPT_READFUNCTION, &on_read);
        curl_easy_setopt(e, CURLOPT_READDATA, &t);
        if (t.req.method != "POST") curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, t.req.method.c_str());
    } else {
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, t.req.method.c_str());
    }
    return true;
}

http_client::http_client(client_limits limits) : impl_(std::make_unique<impl>(limits)) {}
http_client::~http_client() { shutdown(); }

std::uint64_t http_client::send(request r, callbacks on) {
    impl& m = *impl_;
    if (m.under_way.fetch_add(1) >= m.limits.concurrent + m.limits.queued) {
        m.under_way.fetch_sub(1);
        return 0;
    }
    auto t = std::make_unique<transfer>();
    const std::uint64_t id = m.next_id.fetch_add(1);
    t->id = id;
    t->req = std::move(r);
    t->on = std::move(on);
    if (m.put({nullptr, std::move(t)}, true)) return id;
    m.under_way.fetch_sub(1);
    return 0;
}

void http_client::cancel(std::uint64_t id) {
    impl& m = *impl_;
    m.put({[&m, id] { m.drop(id); }, nullptr}, true);
}

bool http_client::post(std::function<void()> f) { return impl_->put({std::move(f), nullptr}); }

bool http_client::after(milliseconds delay, std::function<void()> f) {
    impl& m = *impl_;
    {
        std::lock_guard lock(m.mutex);
        if (m.down || m.timers.size() >= m.limits.posted) return false;
        m.timers.emplace(clock::now() + delay, std::move(f));
    }
    curl_multi_wakeup(m.multi);
    return true;
}

void http_client::run(const std::function<bool()>& stop, const std::function<void()>& beat) {
    impl& m = *impl_;
    while (!m.interrupted.load() && !stop()) {
        beat();
        m.run_posted();
        int running = 0;
        curl_multi_perform(m.multi, &running);
        m.collect();
        m.end_silent();
        if (m.interrupted.load()) return;
        curl_multi_poll(m.multi, nullptr, 0, static_cast<int>(m.until_next().count()), nullptr);
    }
}

void http_client::interrupt() {
    impl_->interrupted.store(true);
    curl_multi_wakeup(impl_->multi);
}

void http_client::shutdown() {
    impl& m = *impl_;
    std::deque<impl::command> left;
    std::multimap<time_point, std::function<void()>> timers;
    {
        std::lock_guard lock(m.mutex);
        m.down = true;
        left.swap(m.inbox);
        timers.swap(m.timers);
    }
    const result r{outcome::cancelled, 0, "the client is shut down"};
    while (!m.active.empty()) m.end(m.active.begin()->first, r);
    while (!m.waiting.empty()) {
        auto t = std::move(m.waiting.front());
        m.waiting.pop_front();
        m.finish(std::move(t), r);
    }
    for (auto& c : left)
        if (c.start) m.finish(std::move(c.start), r);
}

std::size_t http_client::under_way() const { return impl_->under_way.load(); }

}  // namespace holdfast::net
