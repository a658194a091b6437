// The client of the official conformance suite, made of what the host itself is made of: client_machine and the HTTP transport
// plugin. It connects to the server it is given, uses everything that server offers once, and leaves. Where a person would have
// to log in, it visits the authorization URL itself and follows where that leads.
//
//   conformance_client [plugin.so] URL      environment: MCP_CONFORMANCE_CONTEXT (JSON), set by the suite
//
// 0: every request was answered; 1: it did not connect, or some were not; 2: wrong usage.
#include <condition_variable>
#include <deque>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>

#include "holdfast/ext/transport.h"
#include "holdfast/testing/loader.hpp"
#include "mcp/client_machine.hpp"
#include "net-client/http_client.hpp"

namespace {

using namespace holdfast;
using clock_type = std::chrono::steady_clock;

constexpr seconds longest_run{25};  // the suite gives thirty
constexpr milliseconds call_timeout{15'000};
constexpr int max_logins = 4;
// Where such a document would be; the suite knows this one and asks for none.
constexpr const char* client_document = "https://conformance-test.local/client-metadata.json";

/// What the transport reports, in order, for the one thread that acts on it.
class inbox {
  public:
    using item = std::variant<mcp::client_event, std::string>;  ///< or a line for the log
    void put(item i) {
        std::lock_guard lock(mutex_);
        items_.push_back(std::move(i));
        came_.notify_one();
    }
    std::optional<item> take(clock_type::time_point until) {
        std::unique_lock lock(mutex_);
        if (!came_.wait_until(lock, until, [this] { return !items_.empty(); })) return std::nullopt;
        item i = std::move(items_.front());
        items_.pop_front();
        return i;
    }

  private:
    std::mutex mutex_;
    std::condition_variable came_;
    std::deque<item> items_;
};

error from_plugin(const hf_error* e) {
    if (!e) return {errc::transport_lost, "closed"};
    const auto s = sdk::from_error(e);
    return {s.code == HF_E_AUTH ? errc::unauthorized : errc::transport_lost, s.message};
}

/// The transport plugin.
class transport {
  public:
    explicit transport(const std::string& plugin) : file_(plugin), instance_(file_, {.settings = "{}"}) {
        if (const auto up = instance_.up(); !up.ok()) throw std::runtime_error(up.message);
        table_ = instance_.ext<hf_transport>(HF_EXT_TRANSPORT);
    }
    std::uint64_t open(const json& config, const hf_transport_sink& sink) {
        hf_error err = sdk::empty_error();
        const std::string text = dump(config);
        if (table_->open(instance_.self(), ++last_, sdk::bytes(text), &sink, &err) != HF_OK) throw std::runtime_error(err.message);
        return last_;
    }
    const hf_transport& table() const { return *table_; }
    void* self() { return instance_.self(); }

  private:
    testing::plugin_file file_;
    testing::plugin_instance instance_;
    const hf_transport* table_ = nullptr;
    std::uint64_t last_ = 0;
};

/// One connection.
class wire {
  public:
    wire(transport& t, const json& config, inbox& in) : transport_(t) {
        hf_transport_sink sink{};
        sink.size = sizeof sink;
        sink.ctx = &in;
        sink.on_open = [](void* c, hf_bytes) { at(c).put(mcp::in::opened{}); };
        sink.on_message = [](void* c, hf_bytes m) { at(c).put(mcp::in::message{std::string(sdk::view(m))}); };
        sink.on_request_failed = [](void* c, hf_bytes id, const hf_error* e) {
            at(c).put(mcp::in::request_failed{std::string(sdk::view(id)), from_plugin(e), e ? e->peer_status : 0});
        };
        sink.on_log = [](void* c, hf_str line) { at(c).put(std::string(sdk::view(line))); };
        sink.on_closed = [](void* c, const hf_error* e) { at(c).put(mcp::in::closed{from_plugin(e)}); };
        id_ = transport_.open(config, sink);
    }
    std::optional<error> send(const std::string& text) {
        hf_error err = sdk::empty_error();
        if (transport_.table().send(transport_.self(), id_, sdk::bytes(text), &err) == HF_OK) return {};
        return from_plugin(&err);
    }
    void abandon(const std::string& id) { transport_.table().abandon(transport_.self(), id_, sdk::bytes(id)); }
    void close(seconds within) { transport_.table().close(transport_.self(), id_, sdk::to_ns(clock_type::now() + within)); }

  private:
    static inbox& at(void* c) { return *static_cast<inbox*>(c); }
    transport& transport_;
    std::uint64_t id_ = 0;
};

/// A person with a browser who agrees to everything: GET, and where that redirects to.
class browser {
  public:
    browser() : thread_([this] { client_.run([] { return false; }, [] {}); }) {}
    ~browser() {
        client_.interrupt();
        thread_.join();
        client_.shutdown();
    }
    void visit(std::string url) {
        for (int hops = 0; !url.empty() && hops < 3; ++hops) {
            std::promise<std::string> next;
            net::request r;
            r.url = url;
            r.timeouts.total = call_timeout;
            client_.send(std::move(r), {[&](int status, const net::headers& h) { status_ = status, location_ = std::string(net::find_header(h, "location")); }, nullptr,
                                        [&](const net::result& done) { next.set_value(done.what == net::outcome::ok && status_ / 100 == 3 ? location_ : std::string()); }});
            url = next.get_future().get();
        }
    }

  private:
    net::http_client client_;
    int status_ = 0;
    std::string location_;
    std::thread thread_;
};

/// Logs in as the host does for `holdfast server login`. Empty: done; otherwise why not.
std::string log_in(transport& t, json config) {
    config["auth"]["action"] = "login";
    struct report {
        std::promise<std::string> url, end;
        bool told = false;
    } r;
    hf_transport_sink sink{};
    sink.size = sizeof sink;
    sink.ctx = &r;
    sink.on_message = [](void*, hf_bytes) {};
    sink.on_request_failed = [](void*, hf_bytes, const hf_error*) {};
    sink.on_log = [](void*, hf_str) {};
    sink.on_open = [](void* c, hf_bytes info) {
        auto& r = *static_cast<report*>(c);
        const auto parsed = parse_json(sdk::view(info));
        r.url.set_value(parsed ? string_or(*parsed, "authorization_url") : "");
        r.told = true;
    };
    sink.on_closed = [](void* c, const hf_error* e) {
        auto& r = *static_cast<report*>(c);
        if (!r.told) r.url.set_value("");
        r.end.set_value(e ? sdk::from_error(e).message : "");
    };
    auto url = r.url.get_future(), end = r.end.get_future();
    t.open(config, sink);
    if (const std::string to = url.get(); !to.empty()) {
        std::cerr << "logging in\n";
        browser().visit(to);
    }
    return end.get();
}

class session {
  public:
    session(transport& t, const json& config, const json& context, int& logins)
        : transport_(t), config_(config), context_(context), logins_(logins), machine_(options()), wire_(t, config, in_) {}

    bool run(clock_type::time_point end) {
        while (!closed_) {
            if (done() && !std::exchange(closing_, true)) wire_.close(seconds(3));
            const auto due = machine_.next_deadline();
            const auto until = due ? std::min(end, *due) : end;
            auto item = in_.take(until);
            if (!item && clock_type::now() >= end) return complain("it took too long");
            if (!item) feed(mcp::in::tick{});
            else if (auto* line = std::get_if<std::string>(&*item)) std::cerr << "transport: " << *line << '\n';
            else feed(std::move(std::get<mcp::client_event>(*item)));
        }
        return ready_ && failures_ == 0;
    }
    /// It did not connect, but may now.
    bool again() const { return again_; }

  private:
    static mcp::client_options options() {
        mcp::client_options o;
        o.http = true;
        o.client_info = {{"name", "holdfast-conformance-client"}, {"version", "0.1.0"}};
        o.roots = json::array({{{"uri", "file:///"}, {"name", "everything"}}});
        return o;
    }
    bool done() const { return failed_ || (ready_ && open_ == 0); }
    bool complain(const std::string& why) {
        std::cerr << why << '\n';
        ++failures_;
        return false;
    }
    /// True when a person was missing and has logged in.
    bool let_in(const error& why) {
        if (why.code != errc::unauthorized || why.message.find("has to log in") == std::string::npos || ++logins_ > max_logins) return false;
        const std::string problem = log_in(transport_, config_);
        if (!problem.empty()) std::cerr << "not logged in: " << problem << '\n';
        return problem.empty();
    }
    void feed(mcp::client_event e) {
        closed_ = closed_ || std::holds_alternative<mcp::in::closed>(e);
        std::vector<mcp::client_action> actions;
        machine_.on(std::move(e), clock_type::now(), actions);
        for (auto& a : actions) perform(a);
    }
    void perform(mcp::client_action& action) {
        if (auto* s = std::get_if<mcp::out::send>(&action)) {
            if (auto why = wire_.send(s->text); why && !s->request_id.empty()) in_.put(mcp::in::send_failed{s->request_id, *why});
        } else if (auto* a = std::get_if<mcp::out::abandon>(&action)) {
            wire_.abandon(a->request_id);
        } else if (auto* r = std::get_if<mcp::out::ready>(&action)) {
            ready_ = true;
            std::cerr << "ready: " << mcp::to_string(r->who.detected) << ' ' << r->who.version << '\n';
            use_all(*r->lists);
        } else if (auto* f = std::get_if<mcp::out::failed>(&action)) {
            failed_ = true;
            again_ = let_in(f->why);
            complain("failed: " + f->why.message);
        } else if (auto* d = std::get_if<mcp::out::done>(&action)) {
            --open_;
            // An error is an answer too; what the scenarios' servers do not know is no fault of ours.
            if (d->answered) std::cerr << "request " << d->id << " was refused: " << d->answered->message << '\n';
            else if (!d->outcome && let_in(d->outcome.error())) request(asked_[d->id].first, asked_[d->id].second);
            else if (!d->outcome) complain("request " + std::to_string(d->id) + ": " + d->outcome.error().message);
        } else if (auto* i = std::get_if<mcp::out::input>(&action)) {
            in_.put(mcp::in::answer{i->id, i->key, answer(*i)});
        } else if (auto* l = std::get_if<mcp::out::log>(&action)) {
            std::cerr << "machine: " << l->line << '\n';
        }
    }

    void request(const std::string& method, json params) {
        ++open_;
        mcp::in::call c;
        c.id = next_++;
        asked_[c.id] = {method, params};
        c.method = method;
        c.params = std::move(params);
        c.timeout = call_timeout;
        c.accepts_input = c.wants_progress = c.fills_defaults = true;
        c.owner = "conformance";
        in_.put(std::move(c));
    }
    void use_all(const mcp::server_lists& lists) {
        const json& told = member(context_, "toolCalls");
        for (const json& t : lists.tools)
            if (!told.is_array()) request("tools/call", {{"name", t["name"]}, {"arguments", arguments(t, lists)}});
        for (const json& call : told) request("tools/call", {{"name", call["name"]}, {"arguments", call["arguments"]}});
        for (const json& r : lists.resources) request("resources/read", {{"uri", r["uri"]}});
        for (const json& p : lists.prompts) request("prompts/get", {{"name", p["name"]}});
    }
    /// Something of the right type for what is required; a schema where one is to be sent back.
    static json arguments(const json& tool, const mcp::server_lists& lists) {
        const json& schema = tool["inputSchema"];
        json out = json::object();
        for (const json& name : member(schema, "required")) {
            if (!name.is_string()) continue;
            const auto& key = name.get_ref<const std::string&>();
            const std::string type = string_or(member(member(schema, "properties"), key), "type");
            if (key == "schema") out[key] = other_schema(tool, lists);
            else if (type == "number" || type == "integer") out[key] = 5;
            else if (type == "boolean") out[key] = true;
            else if (type == "object") out[key] = json::object();
            else if (type == "array") out[key] = json::array();
            else out[key] = "text";
        }
        return out;
    }
    static json other_schema(const json& tool, const mcp::server_lists& lists) {
        for (const json& t : lists.tools)
            if (t["name"] != tool["name"]) return t["inputSchema"];
        return json::object();
    }
    static json answer(const mcp::out::input& i) {
        if (i.method == "roots/list") return {{"roots", options().roots}};
        if (i.method == "sampling/createMessage")
            return {{"role", "assistant"}, {"content", {{"type", "text"}, {"text", "an answer"}}}, {"model", "none"}, {"stopReason", "endTurn"}};
        return {{"action", "accept"}, {"content", json::object()}};
    }

    transport& transport_;
    const json config_, context_;
    int& logins_;
    inbox in_;
    mcp::client_machine machine_;
    wire wire_;
    std::map<mcp::call_id, std::pair<std::string, json>> asked_;
    bool again_ = false, ready_ = false, failed_ = false, closing_ = false, closed_ = false;
    std::size_t open_ = 0, failures_ = 0;
    mcp::call_id next_ = 1;
};

}  // namespace

int main(int argc, char** argv) {
    const std::string plugin = argc == 3 ? argv[1] : TRANSPORT_HTTP_PLUGIN;
    if (argc != 2 && argc != 3) {
        std::cerr << "usage: conformance_client [plugin.so] URL\n";
        return 2;
    }
    const char* text = std::getenv("MCP_CONFORMANCE_CONTEXT");
    auto context = parse_json(text ? text : "{}");
    if (!context) {
        std::cerr << "MCP_CONFORMANCE_CONTEXT is not JSON\n";
        return 2;
    }
    try {
        json config = {{"name", "server"}, {"url", argv[argc - 1]}, {"auth", {{"type", "oauth"}, {"client_metadata_url", client_document}}}};
        for (const char* key : {"client_id", "client_secret"})
            if (context->contains(key)) config["auth"][key] = (*context)[key];
        if (string_or(*context, "name") == "auth/client-credentials-basic") config["auth"]["grant"] = "client_credentials";
        const auto end = clock_type::now() + longest_run;
        transport t(plugin);
        for (int logins = 0;;) {
            session s(t, config, *context, logins);
            if (s.run(end)) return 0;
            if (!s.again()) return 1;
        }
    } catch (const std::exception& e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
