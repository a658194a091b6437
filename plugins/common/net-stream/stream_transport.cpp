#include "net-stream/stream_transport.hpp"

#include <nlohmann/json.hpp>

#include "net-client/http_text.hpp"

namespace holdfast::net {
namespace {
using json = nlohmann::json;
constexpr const char* worker_name = "streams";
constexpr milliseconds tick_time{250};
constexpr milliseconds longest_goodbye{5'000};  // for the peer to take what is left and to hang up
constexpr milliseconds parting{500};             // the same, of one that has ended the connection or broken the rules

[[noreturn]] void refuse(std::string what) { throw sdk::plugin_error(HF_E_INVALID, std::move(what)); }

json object_of(std::string_view text, const char* what) {
    json j = json_depth_within(text, max_json_depth) ? json::parse(text, nullptr, false) : json();
    if (!j.is_object()) refuse(std::string(what) + " has to be a JSON object");
    return j;
}
std::size_t size_of(const json& o, const char* key, std::size_t otherwise) {
    const auto it = o.find(key);
    if (it == o.end() || it->is_null()) return otherwise;
    if (!it->is_number_integer() || *it < 1024 || *it > (256 << 20)) refuse(std::string("\"") + key + "\" has to be a whole number from 1024 to 268435456");
    return it->get<std::size_t>();
}
milliseconds time_of(const json& o, const char* key, milliseconds otherwise, double least) {
    const auto it = o.find(key);
    if (it == o.end() || it->is_null()) return otherwise;
    if (!it->is_number() || it->get<double>() < least || it->get<double>() > 86'400) refuse(std::string("\"") + key + "\" has to be a number of seconds up to 86400");
    return milliseconds(static_cast<std::int64_t>(it->get<double>() * 1000));
}

sdk::status of_result(const result& r) {
    const bool timeout = r.what == outcome::timed_out || r.what == outcome::idle;
    sdk::status s{timeout ? HF_E_TIMEOUT : HF_E_TRANSPORT, r.message + "."};
    s.retryable = timeout || r.what == outcome::refused || r.what == outcome::lost;
    return s;
}

}  // namespace

/// One connection. Owner: the client's driving thread, except where said.
class stream_link final : public std::enable_shared_from_this<stream_link>, private framing_port {
  public:
    stream_link(stream_client& client, stream_plan plan, std::size_t max_queued, sdk::transport_sink sink, std::function<void()> ended)
        : client_(client), plan_(std::move(plan)), max_queued_(max_queued), sink_(std::move(sink)), ended_(std::move(ended)) {}

    std::atomic<bool> accepting{true};  ///< [any]

    void open() {
        if (closed_) return;
        const auto self = shared_from_this();
        id_ = client_.connect(plan_.to, plan_.options,
                              {[self] {
                                   self->plan_.framing->connected(*self, clock::now());
                                   self->tick();
                               },
                               [self](std::string_view bytes) {
                                   if (!self->closed_) self->plan_.framing->received(*self, bytes, clock::now());
                               },
                               [self] {
                                   if (!self->closed_) self->plan_.framing->taken(*self);
                                   self->count();
                               },
                               [self](const result& r) { self->done(r); }});
        if (id_ == 0) shut({HF_E_OVERLOADED, "too many connections are open.", true});
    }
    /// [any] False: too much waits already.
    bool reserve(std::size_t bytes) {
        const std::size_t before = posted_.fetch_add(bytes);
        if (before + queued_.load() == 0 || before + queued_.load() + bytes <= max_queued_) return true;
        posted_.fetch_sub(bytes);
        return false;
    }
    void deliver(const std::string& text) {
        posted_.fetch_sub(text.size());
        if (closed_ || closing_ || over_) return;
        if (!ready_) {
            early_.push_back(text);
            count();
            return;
        }
        client_.write(id_, plan_.framing->encode(text));
        count();
    }
    void unreserve(std::size_t bytes) { posted_.fetch_sub(bytes); }  ///< [any] it could not be posted
    void close(sdk::time_point deadline) {
        if (closing_ || closed_) return;
        closing_ = true;
        if (!ready_ || over_) return shut({});
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - clock::now());
        client_.after(std::clamp(left, milliseconds(0), longest_goodbye), [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->shut({});
        });
        plan_.framing->goodbye(*this);
    }
    /// Ends it at once; also after the driving thread has ended. Does not call `ended`.
    void drop(const sdk::status& why) {
        if (std::exchange(closed_, true)) return;
        accepting = false;
        if (id_) client_.drop(id_);
        sink_.closed(closing_ ? sdk::status{} : why);
    }

  private:
    using clock = std::chrono::steady_clock;

    void write(std::string bytes) override {
        client_.write(id_, std::move(bytes));
        count();
    }
    bool idle() const override { return client_.queued(id_) == 0; }
    void ready() override {
        if (closed_ || ready_) return;
        ready_ = true;
        sink_.opened(sdk::json_object({{"url", plan_.to.origin}}));
        for (const auto& text : early_) client_.write(id_, plan_.framing->encode(text));
        early_.clear();
        count();
    }
    void message(std::string_view text) override {
        if (!closed_) sink_.message(text);
    }
    void dropped(const std::string& why) override {
        if (closed_) return;
        sink_.log(plan_.to.origin + ": " + why);
        sink_.request_failed("null", {HF_E_PROTOCOL, why});
    }
    void over(const sdk::status& why) override {
        if (over_ || closed_) return;
        over_ = true;
        accepting = false;
        verdict_ = why;
        client_.finish(id_);  // a reason may still be on its way to the peer
        client_.after(parting, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->shut(self->verdict_);
        });
    }
    void finish() override { client_.finish(id_); }

    void done(const result& r) {
        if (closed_) return;
        if (over_) return shut(verdict_);
        shut(r.what == outcome::ok ? plan_.framing->ended() : of_result(r));
    }
    void tick() {
        if (closed_) return;
        plan_.framing->tick(*this, clock::now());
        client_.after(tick_time, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->tick();
        });
    }
    void count() {
        std::size_t early = 0;
        for (const auto& text : early_) early += text.size();
        queued_.store(client_.queued(id_) + early);
    }
    void shut(const sdk::status& why) {
        if (closed_) return;
        const auto keep = shared_from_this();
        const auto ended = std::move(ended_);
        drop(why);
        if (ended) ended();
    }

    stream_client& client_;
    const stream_plan plan_;
    const std::size_t max_queued_;
    sdk::transport_sink sink_;
    std::function<void()> ended_;
    std::uint64_t id_ = 0;
    std::atomic<std::size_t> posted_{0}, queued_{0};  // bytes on their way to the driving thread, and waiting there
    std::vector<std::string> early_;                  // before ready
    bool ready_ = false, over_ = false, closing_ = false, closed_ = false;
    sdk::status verdict_;
};

stream_settings read_stream_settings(std::string_view text) {
    const json o = object_of(text.empty() ? "{}" : text, "the settings");
    stream_settings s;
    s.max_message_bytes = size_of(o, "max_message_bytes", s.max_message_bytes);
    s.max_queued_bytes = size_of(o, "max_queued_bytes", s.max_queued_bytes);
    s.stream.keep_alive = time_of(o, "keep_alive_s", s.stream.keep_alive, 0);
    s.stream.stuck = time_of(o, "stuck_s", s.stream.stuck, 0.01);
    return s;
}

void read_stream_options(std::string_view text, stream_options& options) {
    const json o = object_of(text, "the server's configuration");
    options.connect = std::max(milliseconds(1), time_of(o, "connect_timeout_s", options.connect, 0.001));
    if (const auto it = o.find("ca_file"); it != o.end() && !it->is_null()) {
        if (!it->is_string()) refuse("\"ca_file\" has to name a file of certificate authorities");
        options.ca_file = it->get<std::string>();
    }
}

stream_transport::stream_transport(sdk::host& h, std::string_view text) : transport(h, text), settings_(read_stream_settings(text)) {}
stream_transport::~stream_transport() = default;

void stream_transport::start() {
    // Transient: after interrupt() its return is final.
    host_.workers().start({.name = worker_name, .restart = "transient", .heartbeat = milliseconds(10'000)}, [this](sdk::worker_ctl& ctl) {
        client_.run([&ctl] { return ctl.stop_requested(); }, [&ctl] { ctl.beat(); });
    });
}

void stream_transport::open(std::uint64_t conn, std::string_view config, sdk::transport_sink sink) {
    auto l = std::make_shared<stream_link>(client_, plan(config), settings_.max_queued_bytes, std::move(sink), [this, conn] { forget(conn); });
    std::lock_guard lock(mutex_);
    if (links_.count(conn)) throw sdk::plugin_error(HF_E_EXISTS, "the connection exists already");
    if (stopped_ || !client_.post([l] { l->open(); })) throw sdk::plugin_error(HF_E_UNAVAILABLE, "the plugin is stopped or busy");
    links_.emplace(conn, std::move(l));
}

void stream_transport::send(std::uint64_t conn, std::string_view message) {
    const auto l = find(conn);
    if (!l || !l->accepting) throw sdk::plugin_error(HF_E_NOT_FOUND, "the connection is closed");
    check_message(message);
    if (l->reserve(message.size())) {
        if (client_.post([l, text = std::string(message)] { l->deliver(text); })) return;
        l->unreserve(message.size());
    }
    throw sdk::plugin_error(HF_E_OVERLOADED, "the server takes its messages too slowly");
}

void stream_transport::close(std::uint64_t conn, sdk::time_point deadline) {
    const auto l = find(conn);
    if (!l) return;
    l->accepting = false;
    client_.post([l, deadline] { l->close(deadline); });
}

void stream_transport::stop() {
    client_.interrupt();
    // A worker still inside a callback at the deadline keeps its connections: the sink's last copy closes them.
    if (!host_.workers().stop_and_wait(worker_name, std::chrono::steady_clock::now() + std::chrono::seconds(5))) return;
    std::map<std::uint64_t, std::shared_ptr<stream_link>> rest;
    {
        std::lock_guard lock(mutex_);
        stopped_ = true;
        rest.swap(links_);
    }
    for (auto& [conn, l] : rest) l->drop({HF_E_TRANSPORT, "the transport plugin was stopped"});
    client_.shutdown();
}

std::shared_ptr<stream_link> stream_transport::find(std::uint64_t conn) {
    std::lock_guard lock(mutex_);
    const auto it = links_.find(conn);
    return it == links_.end() ? nullptr : it->second;
}
void stream_transport::forget(std::uint64_t conn) {
    std::shared_ptr<stream_link> last;  // released outside the lock
    std::lock_guard lock(mutex_);
    const auto it = links_.find(conn);
    if (it == links_.end()) return;
    last = std::move(it->second);
    links_.erase(it);
}

}  // namespace holdfast::net
