#pragma once
// A host in simulated time: real set, actors, supervisor and bus; transports and policies of our own that do what they are told.
#include <gtest/gtest.h>

#include <mutex>

#include "fake_transport.hpp"
#include "kernel/events/bus.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers::test {

struct fake_breaker {
    bool refuse = false, throws = false;
    std::int64_t retry_after_ns = 0;
    std::vector<int> outcomes;
    int open_handles = 0, opened = 0;
    const hf_breaker* table() {
        static constexpr hf_breaker t{
            sizeof(hf_breaker), 1,
            [](void* self, hf_bytes, std::uint64_t, std::int64_t, void** out, hf_error*) -> std::int32_t {
                expect_mark();
                ++static_cast<fake_breaker*>(self)->open_handles;
                ++static_cast<fake_breaker*>(self)->opened;
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
            [](void* self, void*, std::int32_t state, std::int64_t) {
                expect_mark();
                if (state == HF_BREAKER_CLOSED) static_cast<fake_breaker*>(self)->refuse = false;
            }};
        return &t;
    }
};

/// Down after the first failed active probe or three failed calls in a row; a probe after 25 s, so that it has failed after 30.
struct fake_health {
    struct monitor {
        int failed_probes = 0, failed_calls = 0;
    };
    bool throws = false;
    std::string degraded;                  ///< why; empty: it is not
    std::vector<hf_health_sample> active;  ///< the samples of probes
    std::vector<std::string> configs;      ///< what monitors were made with
    const hf_health* table() {
        static constexpr hf_health t{
            sizeof(hf_health), 0,
            [](void* self, hf_bytes config, std::uint64_t, std::int64_t, void** out, hf_error*) -> std::int32_t {
                expect_mark();
                static_cast<fake_health*>(self)->configs.emplace_back(sdk::view(config));
                *out = new monitor;
                return HF_OK;
            },
            [](void*, void* m) { expect_mark(); delete static_cast<monitor*>(m); },
            [](void* self, void* m, const hf_health_sample* s) {
                expect_mark();
                if (s->kind == HF_SAMPLE_ACTIVE) static_cast<fake_health*>(self)->active.push_back(*s);
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
                v->next_check_ns = now + 25'000'000'000;
                v->probe_timeout_ns = 5'000'000'000;
                std::strcpy(v->reason, down ? "it failed" : "");
                if (const auto& why = static_cast<fake_health*>(self)->degraded; !down && !why.empty()) {
                    v->state = HF_HEALTH_DEGRADED;
                    std::strcpy(v->reason, why.c_str());
                }
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
    std::string refused;  ///< a key whose row it does not take
    std::uint64_t submit(std::string method, json request, milliseconds, on_chunk, on_done done) override {
        if (broken) {
            done(fail(errc::read_only, "the disk is full"));
            return 1;
        }
        if (method == "put" && request["key"] == refused) {
            done(fail(errc::invalid_argument, "the row is too large"));
            return 1;
        }
        if (method == "put") rows[request["key"]] = request["value"];
        if (method == "append")
            for (auto& e : request["events"]) streams[e["stream"]].push_back(e);
        if (method == "trim")
            for (json& all = streams[request["stream"]]; all.size() > request["keep"].get<std::size_t>();) all.erase(0);
        if (method == "delete") rows.erase(request["key"].get<std::string>());
        if (method == "list") {
            json found = json::array();
            for (const auto& [key, value] : rows)
                if (key.rfind(string_or(request, "prefix"), 0) == 0 && key > string_or(request, "after") && found.size() < static_cast<std::size_t>(int_or(request, "limit", 1))) found.push_back({{"key", key}, {"value", value}});
            done(json{{"rows", std::move(found)}});
            return 1;
        }
        if (method == "tail") {
            const json& all = streams[request["stream"]];
            json newest = json::array();
            for (std::size_t i = all.size() - std::min(all.size(), request["limit"].get<std::size_t>()); i < all.size(); ++i) newest.push_back(all[i]);
            done(json{{"events", std::move(newest)}});
            return 1;
        }
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
    std::vector<supervise::process_usage> usage;  ///< what a look at the process trees finds
    std::shared_ptr<server_set> set;
    supervise::ref<supervise::supervisor> root;

    world() {
        transport.rt = &rt;
        transport.t0 = rt.now();
        start();
    }
    ~world() {
        stop();
        while (transport.let_go()) {
        }
        rt.run_until_idle();
    }
    void start() {
        server_set_options o;
        o.runtime = &rt;
        o.bus = &bus;
        o.store = store;
        o.random_seed = 1;
        o.usage = [this] { return usage; };
        o.transport = [this](const std::string& name) -> result<plugins::bound<hf_transport>> {
            if (name != "fake") return fail(errc::not_found, "no plugin '" + name + "'");
            return transport.resolve();
        };
        o.transport_instance = [](const std::string& name) { return "transport-" + name; };
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
