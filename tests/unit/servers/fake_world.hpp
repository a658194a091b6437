#pragma once
// A host in simulated time: real set, actors, supervisor and bus; transports and policies of our own that do what they are told.
#include <gtest/gtest.h>

#include <mutex>

#include "holdfast/status.hpp"
#include "kernel/events/bus.hpp"
#include "kernel/plugins/pin.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers::test {

/// How a fake server behaves. Changed between steps of a test only.
/// Every function of the fakes begins with it: a crash inside must be traceable to the plugin.
inline void expect_mark() { EXPECT_GT(plugins::this_thread_slot().depth.load(), 0u) << "a call into a plugin without a crash mark"; }

struct personality {
    bool dies_at_start = false;    ///< closed instead of opened
    bool refuses_open = false;     ///< open() itself fails: command not found
    bool throws = false;           ///< open() and send() leave with an exception
    bool silent = false;           ///< answers nothing from now on
    bool legacy = false;
    int tools = 1;
    bool answers_calls = true;
    std::string ask;               ///< a modern question before the result
    // seen
    std::vector<double> opened_at;
    std::vector<json> calls;
    int open_now = 0, most_open = 0;
    std::uint64_t conn = 0;
    hf_transport_sink sink{};
    std::vector<json> unanswered;
};

class fake_transport {
  public:
    std::map<std::string, personality> servers;
    supervise::runtime* rt = nullptr;
    steady_time t0{};

    static fake_transport& at(void* self) { return *static_cast<fake_transport*>(self); }
    const hf_transport* table() {
        static constexpr hf_transport t{sizeof(hf_transport), 0, &open, &send, &abandon, &close};
        return &t;
    }
    void say(personality& p, json message) {
        message["jsonrpc"] = "2.0";
        const std::string text = dump(message);
        p.sink.on_message(p.sink.ctx, sdk::bytes(text));
    }
    void log(const std::string& name, const std::string& line) {
        auto& p = servers[name];
        p.sink.on_log(p.sink.ctx, sdk::str(line));
    }
    void kill(const std::string& name, const char* why = "the server was ended by SIGKILL") {
        auto& p = servers[name];
        ASSERT_NE(p.conn, 0u);
        end(p, why);
    }

  private:
    static void end(personality& p, const char* why) {
        p.conn = 0;
        --p.open_now;
        hf_error err = sdk::empty_error();
        if (why) sdk::fill(&err, HF_E_TRANSPORT, why);
        p.sink.on_closed(p.sink.ctx, why ? &err : nullptr);
    }
    static std::int32_t open(void* self, std::uint64_t conn, hf_bytes config, const hf_transport_sink* sink, hf_error* err) {
        expect_mark();
        auto& t = at(self);
        auto parsed = parse_json(sdk::view(config));
        personality& p = t.servers[string_or(*parsed, "name")];
        p.opened_at.push_back(std::chrono::duration<double>(t.rt->now() - t.t0).count());
        if (p.throws) throw std::runtime_error("the transport broke");
        if (p.refuses_open) return sdk::fill(err, HF_E_COMMAND_NOT_FOUND, "there is no program 'nothing'");
        p.sink = *sink;
        p.conn = conn;
        p.most_open = std::max(p.most_open, ++p.open_now);
        if (p.dies_at_start) {
            end(p, "the server exited with status 1 after 2 ms");
            return HF_OK;
        }
        const std::string info = "{\"pid\":1}";
        p.sink.on_open(p.sink.ctx, sdk::bytes(info));
        return HF_OK;
    }
    static std::int32_t send(void* self, std::uint64_t conn, hf_bytes bytes, hf_error* err) {
        expect_mark();
        auto& t = at(self);
        for (auto& [name, p] : t.servers)
            if (p.conn == conn) {
                if (p.throws) throw std::runtime_error("the transport broke");
                t.answer(p, *parse_json(sdk::view(bytes)));
                return HF_OK;
            }
        return sdk::fill(err, HF_E_NOT_FOUND, "closed");
    }
    static void abandon(void*, std::uint64_t, hf_bytes) { expect_mark(); }
    static void close(void* self, std::uint64_t conn, std::int64_t) {
        expect_mark();
        for (auto& [name, p] : at(self).servers)
            if (p.conn == conn) return end(p, nullptr);
    }
    void answer(personality& p, const json& m) {
        const std::string method = string_or(m, "method");
        if (!m.contains("id")) return;
        if (method == "tools/call") p.calls.push_back(m);
        if (p.silent || (method == "tools/call" && !p.answers_calls)) {
            p.unanswered.push_back(m);
            return;
        }
        const auto reply = [&](json r) { say(p, {{"id", m["id"]}, {"result", std::move(r)}}); };
        if (method == "server/discover") {
            if (p.legacy) return say(p, {{"id", m["id"]}, {"error", {{"code", -32601}, {"message", "?"}}}});
            return reply({{"supportedVersions", {"2026-07-28"}}, {"capabilities", {{"tools", json::object()}}}});
        }
        if (method == "initialize") return reply({{"protocolVersion", "2025-11-25"}, {"capabilities", {{"tools", json::object()}}}});
        if (method == "tools/list") {
            json list = json::array();
            for (int i = 0; i < p.tools; ++i) list.push_back({{"name", "t" + std::to_string(i)}, {"inputSchema", {{"type", "object"}}}});
            return reply({{"tools", list}});
        }
        if (method == "tools/call" && !p.ask.empty() && !m["params"].contains("inputResponses"))
            return reply({{"resultType", "input_required"}, {"inputRequests", {{p.ask, {{"method", "elicitation/create"}, {"params", {{"message", "?"}}}}}}}});
        if (method == "tools/call")
            return reply({{"content", json::array({{{"type", "text"}, {"text", dump(m["params"])}}})}});
        reply(json::object());
    }
};

struct fake_breaker {
    bool refuse = false, throws = false;
    std::int64_t retry_after_ns = 0;
    std::vector<int> outcomes;
    int open_handles = 0;
    const hf_breaker* table() {
        static constexpr hf_breaker t{
            sizeof(hf_breaker), 1,
            [](void* self, hf_bytes, std::uint64_t, std::int64_t, void** out, hf_error*) -> std::int32_t {
                expect_mark();
                ++static_cast<fake_breaker*>(self)->open_handles;
                *out = self;
                return HF_OK;
            },
            [](void* self, void*) { expect_mark(); --static_cast<fake_breaker*>(self)->open_handles; },
            [](void* self, void*, std::int64_t, hf_permit* p) {
                expect_mark();
                auto& b = *static_cast<fake_breaker*>(self);
                if (b.throws) throw std::runtime_error("the breaker broke");
                p->granted = !b.refuse;
                p->generation = 1;
                p->retry_after_ns = b.retry_after_ns;
            },
            [](void* self, void*, std::uint64_t, std::int32_t outcome, std::int64_t, std::int64_t) {
                expect_mark();
                static_cast<fake_breaker*>(self)->outcomes.push_back(outcome);
            },
            [](void*, void*, std::int64_t, hf_breaker_state* s) {
                expect_mark();
                s->state = HF_BREAKER_CLOSED;
            },
            [](void*, void*, std::int32_t, std::int64_t) { expect_mark(); }};
        return &t;
    }
};

/// Down after the first failed active probe or three failed calls in a row; a probe every 30 s.
struct fake_health {
    struct monitor {
        int failed_probes = 0, failed_calls = 0;
    };
    bool throws = false;
    const hf_health* table() {
        static constexpr hf_health t{
            sizeof(hf_health), 0,
            [](void*, hf_bytes, std::uint64_t, std::int64_t, void** out, hf_error*) -> std::int32_t {
                expect_mark();
                *out = new monitor;
                return HF_OK;
            },
            [](void*, void* m) { expect_mark(); delete static_cast<monitor*>(m); },
            [](void*, void* m, const hf_health_sample* s) {
                expect_mark();
                auto& x = *static_cast<monitor*>(m);
                int& n = s->kind == HF_SAMPLE_ACTIVE ? x.failed_probes : x.failed_calls;
                n = s->ok ? 0 : n + 1;
            },
            [](void* self, void* m, std::int64_t now, hf_health_verdict* v) {
                expect_mark();
                if (static_cast<fake_health*>(self)->throws) throw std::runtime_error("the health policy broke");
                auto& x = *static_cast<monitor*>(m);
                const bool down = x.failed_probes > 0 || x.failed_calls > 2;
                v->state = down ? HF_HEALTH_DOWN : HF_HEALTH_UP;
                v->next_check_ns = now + 30'000'000'000;
                v->probe_timeout_ns = 5'000'000'000;
                std::strcpy(v->reason, down ? "it failed" : "");
            },
            [](void*, void* m, std::int64_t) { expect_mark(); *static_cast<monitor*>(m) = {}; }};
        return &t;
    }
};

/// hf.store/1 in memory; answers at once.
class fake_store final : public plugins::call_port {
  public:
    std::map<std::string, json> rows, streams;
    bool broken = false;
    std::uint64_t submit(std::string method, json request, milliseconds, on_chunk, on_done done) override {
        if (broken) {
            done(fail(errc::read_only, "the disk is full"));
            return 1;
        }
        if (method == "put") rows[request["key"]] = request["value"];
        if (method == "append")
            for (auto& e : request["events"]) streams[e["stream"]].push_back(e);
        done(method == "get" ? json{{"value", rows.count(request["key"]) ? rows[request["key"]] : json()}} : json::object());
        return 1;
    }
    void cancel(std::uint64_t) override {}
};

struct world {
    supervise::manual_runtime rt;
    events::bus bus;
    fake_transport transport;
    fake_breaker breaker;
    fake_health health;
    std::shared_ptr<fake_store> store = std::make_shared<fake_store>();  // second owner: the set
    bool breaker_there = true;
    std::shared_ptr<server_set> set;
    supervise::ref<supervise::supervisor> root;

    world() {
        transport.rt = &rt;
        transport.t0 = rt.now();
        start();
    }
    ~world() { stop(); }
    void start() {
        server_set_options o;
        o.runtime = &rt;
        o.bus = &bus;
        o.store = store;
        o.random_seed = 1;
        o.transport = [this](const std::string& name) -> result<plugins::bound<hf_transport>> {
            if (name != "fake") return fail(errc::not_found, "no plugin '" + name + "'");
            return plugins::bound<hf_transport>{transport.table(), &transport, {}};
        };
        o.breaker = [this](const std::string& name) -> result<plugins::bound<hf_breaker>> {
            if (!breaker_there) return fail(errc::not_found, "no plugin '" + name + "'");
            return plugins::bound<hf_breaker>{breaker.table(), &breaker, {}};
        };
        o.health = [this](const std::string&) -> result<plugins::bound<hf_health>> {
            return plugins::bound<hf_health>{health.table(), &health, {}};
        };
        set = server_set::create(o);
        std::vector<supervise::child_spec> children;
        children.push_back(set->supervisor_spec());
        root = supervise::supervisor::start(rt, "root", {}, std::move(children));
        rt.run_until_idle();
    }
    void stop() {
        if (!root) return;
        bool done = false;
        root->stop_all([&](result<void>) { done = true; });
        rt.run_until_idle();
        for (int i = 0; i < 200 && !done; ++i) rt.advance(milliseconds(100));
        EXPECT_TRUE(done) << "the tree did not stop";
        root->request_stop();
        rt.run_until_idle();
        root = {};
        set.reset();
        rt.run_until_idle();
    }
    json config(std::vector<std::string> names, json extra = json::object()) {
        json servers = json::object();
        for (const auto& n : names) servers[n] = {{"transport", "fake"}, {"stop_grace_s", 1}};
        json c{{"mcpServers", servers}, {"breaker", {{"jitter", 0}}}};
        c.update(extra);
        return c;
    }
    void apply(const json& c) {
        auto r = set->apply(c);
        ASSERT_TRUE(r) << r.error().message;
        rt.run_until_idle();
    }
    void advance(nanoseconds d) {
        rt.advance(d);
        rt.run_until_idle();
    }
    std::string status_of(const std::string& name) { return (*set->row(name))["status"]; }
    json row(const std::string& name) { return *set->row(name); }
    std::vector<json> events(const std::string& topic, const std::string& type = {}) {
        std::vector<json> out;
        for (const auto& e : bus.replay(topic, 1).events)
            if (type.empty() || e->type() == type) out.push_back(*parse_json(e->text()));
        return out;
    }
    struct outcome {
        std::optional<result<json>> value;
        bool sent = false;
        int times = 0;
        std::uint64_t id = 0;
        std::vector<input_request> asked;
    };
    std::shared_ptr<outcome> call(const std::string& server, const std::string& tool = "t0", bool input = false,
                                  milliseconds timeout = milliseconds(60'000)) {
        auto o = std::make_shared<outcome>();  // second owner: the call
        tool_call_events e;
        e.done = [o](result<json> r, bool sent) {
            o->value = std::move(r);
            o->sent = sent;
            ++o->times;
        };
        if (input) e.input = [o](input_request i) { o->asked.push_back(std::move(i)); };
        tool_call c;
        c.server = server;
        c.tool = tool;
        c.arguments = {{"a", 1}};
        c.timeout = timeout;
        o->id = set->call(std::move(c), std::move(e));
        rt.run_until_idle();
        return o;
    }
    result<json> command(void (server_set::*m)(const std::string&, row_reply), const std::string& name) {
        std::optional<result<json>> r;
        (set.get()->*m)(name, [&](result<json> v) { r = std::move(v); });
        rt.run_until_idle();
        for (int i = 0; i < 100 && !r; ++i) advance(milliseconds(100));
        return r ? std::move(*r) : result<json>(fail(errc::internal, "no reply"));
    }
};

}  // namespace holdfast::servers::test
