// Logins as the host sees them, through a transport that does what the test says.
#include <gtest/gtest.h>

#include "kernel/events/bus.hpp"
#include "kernel/supervise/runtime.hpp"
#include "holdfast/status.hpp"
#include "fake_world.hpp"
#include "servers/logins.hpp"

namespace holdfast::servers::test {
namespace {

/// Remembers what it was asked to open, and is told what comes of it.
struct errand_transport {
    struct opened {
        json config;
        hf_transport_sink sink;
    };
    std::vector<opened> all;
    bool refuses = false, ends_at_once = false;
    int closed = 0;

    static errand_transport& at(void* self) { return *static_cast<errand_transport*>(self); }
    const hf_transport* table() {
        static constexpr hf_transport t{
            sizeof(hf_transport), 0,
            [](void* self, std::uint64_t, hf_bytes config, const hf_transport_sink* sink, hf_error* err) -> std::int32_t {
                if (at(self).refuses) {
                    sdk::fill(err, {HF_E_UNAVAILABLE, "the plugin is busy"});
                    return HF_E_UNAVAILABLE;
                }
                at(self).all.push_back({*parse_json(sdk::view(config)), *sink});
                if (at(self).ends_at_once) sink->on_closed(sink->ctx, nullptr);
                return HF_OK;
            },
            [](void*, std::uint64_t, hf_bytes, hf_error*) -> std::int32_t { return HF_OK; },
            [](void*, std::uint64_t, hf_bytes) {},
            [](void* self, std::uint64_t, std::int64_t) { ++at(self).closed; }};
        return &t;
    }
    void show(const char* url) {
        const std::string info = dump(json{{"authorization_url", url}});
        all.back().sink.on_open(all.back().sink.ctx, sdk::bytes(info));
    }
    void end(const char* why = nullptr) {
        hf_error err = sdk::empty_error();
        if (why) sdk::fill(&err, {HF_E_AUTH, why});
        all.back().sink.on_closed(all.back().sink.ctx, why ? &err : nullptr);
    }
};

struct server_logins : ::testing::Test {
    server_logins() {
        server_set_options o;
        o.runtime = &rt;
        o.bus = &bus;
        o.random_seed = 1;
        o.transport = [this](const std::string&) -> result<plugins::bound<hf_transport>> { return plugins::bound<hf_transport>{transport.table(), &transport, {}}; };
        set = server_set::create(o);
        EXPECT_TRUE(set->apply({{"mcpServers", {{"srv", {{"url", "https://srv/mcp"}, {"auth", {{"type", "oauth"}}}}}, {"open", {{"url", "https://open/mcp"}}}}}}));
        logins = std::make_shared<servers::logins>(set);
    }
    using reply = std::shared_ptr<std::optional<result<json>>>;
    reply ask(void (servers::logins::*f)(const std::string&, row_reply), const std::string& name = "srv") {
        auto r = std::make_shared<std::optional<result<json>>>();
        (logins.get()->*f)(name, [r](result<json> v) { *r = std::move(v); });
        return r;
    }
    supervise::manual_runtime rt;
    events::bus bus;
    errand_transport transport;
    std::shared_ptr<server_set> set;
    std::shared_ptr<servers::logins> logins;
};
using L = servers::logins;

TEST_F(server_logins, give_the_address_and_then_the_end) {
    const auto first = ask(&L::begin), second = ask(&L::begin);
    ASSERT_EQ(transport.all.size(), 1u) << "the second joins the first";
    EXPECT_EQ(transport.all[0].config["auth"], (json{{"type", "oauth"}, {"action", "login"}}));
    EXPECT_EQ(transport.all[0].config["name"], "srv");
    EXPECT_FALSE(*first);
    transport.show("https://as/authorize?x");
    for (const auto& r : {first, second, ask(&L::begin)}) EXPECT_EQ((**r)->at("authorization_url"), "https://as/authorize?x");
    const auto end = ask(&L::wait);
    EXPECT_FALSE(*end);
    transport.end();
    ASSERT_TRUE(*end && **end);
    EXPECT_EQ((**end)->at("name"), "srv");
    EXPECT_EQ((**ask(&L::wait))->at("name"), "srv") << "who asks late is told, too";
    ask(&L::begin);
    EXPECT_EQ(transport.all.size(), 2u);
    transport.end();
}

TEST_F(server_logins, say_why_they_failed) {
    auto r = ask(&L::begin);
    transport.end("the authorization server is gone.");
    EXPECT_EQ((*r)->error().code, errc::unauthorized);
    EXPECT_EQ((*r)->error().message, "the authorization server is gone.");
    r = ask(&L::begin);
    transport.show("https://as/a");
    const auto end = ask(&L::wait);
    transport.end("nobody logged in within ten minutes.");
    EXPECT_EQ((*end)->error().message, "nobody logged in within ten minutes.");
    transport.refuses = true;
    EXPECT_EQ((*ask(&L::begin))->error().code, errc::unavailable);
    EXPECT_EQ((*ask(&L::begin, "nobody"))->error().code, errc::server_not_found);
    EXPECT_EQ((*ask(&L::begin, "open"))->error().code, errc::invalid_argument);
    EXPECT_EQ((*ask(&L::wait, "nobody else"))->error().code, errc::not_found);
}

TEST_F(server_logins, of_a_transport_that_knows_none_are_errors) {
    const auto r = ask(&L::begin);
    const std::string info = "{}";
    transport.all[0].sink.on_open(transport.all[0].sink.ctx, sdk::bytes(info));
    EXPECT_EQ((*r)->error().code, errc::invalid_argument);
    EXPECT_EQ(transport.closed, 1) << "it was a connection, and nobody wants it";
    const auto again = ask(&L::begin), out = ask(&L::logout);
    for (std::size_t i : {1u, 2u}) transport.all[i].sink.on_open(transport.all[i].sink.ctx, sdk::bytes(info));
    for (const auto& asked : {again, out}) EXPECT_EQ((*asked)->error().code, errc::invalid_argument);
    EXPECT_EQ(transport.closed, 3);
    for (const auto& c : transport.all) c.sink.on_closed(c.sink.ctx, nullptr);
}

TEST_F(server_logins, logging_out_is_an_errand_too) {
    transport.ends_at_once = true;
    const auto r = ask(&L::logout);
    EXPECT_EQ(transport.all[0].config["auth"]["action"], "logout");
    EXPECT_TRUE(*r && **r);
    EXPECT_EQ((*ask(&L::wait))->error().code, errc::not_found);
}

TEST_F(server_logins, that_are_abandoned_leave_nothing_behind) {
    std::weak_ptr<servers::logins> weak = logins;
    ask(&L::begin);
    transport.show("https://as/a");
    logins.reset();
    EXPECT_TRUE(weak.expired());
    EXPECT_EQ(transport.closed, 1);
    transport.end();  // late: nobody listens, nothing breaks
}

/// A server that is healthy, and has told something to whoever is logged in.
struct logged_in : world {
    logged_in() {
        transport.servers["srv"].answers["resources/read"] = {{"contents", json::array()}, {"ttlMs", 3'600'000}, {"cacheScope", "private"}};
        transport.servers["srv"].capabilities["resources"] = json::object();
        apply(config({"srv", "other"}));
        json c = config({"srv", "other"});
        c["mcpServers"]["srv"]["auth"] = {{"type", "oauth"}};
        apply(c);
        read();
    }
    void read() {
        bool done = false;
        tool_call_events e;
        e.done = [&](result<json> r, bool) { done = r.has_value(); };
        set->request({"srv", "resources/read", {{"uri", "file:///mine"}}, "a session"}, std::move(e));
        rt.run_until_idle();
        EXPECT_TRUE(done);
    }
    void errand(void (servers::logins::*f)(const std::string&, row_reply)) {
        bool good = false;
        (people.get()->*f)("srv", [&](result<json> r) { good = r.has_value(); });
        rt.run_until_idle();
        EXPECT_TRUE(good);
    }
    std::size_t connections(const char* name = "srv") { return transport.servers[name].opened_at.size(); }
    auto reads() {
        const auto& all = transport.servers["srv"].asked;
        return std::count(all.begin(), all.end(), "resources/read");
    }
    std::shared_ptr<servers::logins> people = std::make_shared<servers::logins>(set);
};

TEST(server_identity, nothing_that_was_told_to_one_account_is_there_for_the_next) {
    logged_in w;
    w.read();
    EXPECT_EQ(w.reads(), 1) << "the second came from memory";
    const auto before = w.connections();
    w.transport.servers["srv"].most_open = w.transport.servers["srv"].open_now;
    w.transport.servers["srv"].tools = 2;
    w.errand(&L::logout);
    EXPECT_EQ(w.connections(), before + 1) << "a connection carries its session and what was read for whoever was logged in";
    w.transport.servers["srv"].tools = 3;
    w.errand(&L::begin);
    EXPECT_EQ(w.connections(), before + 2);
    EXPECT_EQ(w.status_of("srv"), "healthy");
    EXPECT_EQ(w.row("srv")["tools"], 3) << "what is there may be another";
    w.read();
    EXPECT_EQ(w.reads(), 2);
    EXPECT_EQ(w.row("srv")["consecutive_failures"], 0);
    EXPECT_EQ(w.transport.servers["srv"].most_open, 1);
    EXPECT_EQ(w.connections("other"), 1u);
}

TEST(server_identity, a_server_that_is_not_to_run_stays_as_it_is) {
    for (const auto m : {&server_set::stop, &server_set::disable}) {
        logged_in w;
        ASSERT_TRUE(w.command(m, "srv"));
        const auto before = w.connections();
        w.errand(&L::logout);
        w.errand(&L::begin);
        EXPECT_EQ(w.connections(), before);
        EXPECT_EQ(w.status_of("srv"), "disabled");
    }
}

}  // namespace
}  // namespace holdfast::servers::test
