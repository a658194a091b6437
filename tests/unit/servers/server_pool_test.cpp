// Calls of a network server over a pool of connections.
#include "fake_world.hpp"
#include "kernel/plugins/metrics.hpp"

namespace holdfast::servers::test {
namespace {

struct server_pool_test : testing::Test {
    world w;
    personality& p = w.transport.servers["a"];
    json config(json pool = {{"size", 2}, {"max_overflow", 1}, {"wait_s", 1}}) {
        json c = w.config({"a"});
        c["mcpServers"]["a"]["pool"] = std::move(pool);
        return c;
    }
    std::vector<std::shared_ptr<world::outcome>> calls(int n, milliseconds timeout = milliseconds(60'000)) {
        std::vector<std::shared_ptr<world::outcome>> out;
        for (int i = 0; i < n; ++i) out.push_back(w.call("a", "t0", false, timeout));
        w.rt.run_until_idle();
        return out;
    }
    static bool failed_with(const std::shared_ptr<world::outcome>& o, errc code) { return o->value && !*o->value && o->value->error().code == code; }
};

TEST_F(server_pool_test, each_call_has_a_connection_of_its_own_and_the_last_one_hears_that_the_overflow_is_reached) {
    w.apply(config());
    p.answers_calls = false;
    const auto made = calls(4);
    EXPECT_EQ(p.open_now, 4) << "the server's own and three of the pool";
    EXPECT_EQ(std::set<std::uint64_t>(p.called_on.begin(), p.called_on.end()).size(), 3u);
    EXPECT_EQ(w.row("a")["pool"]["size"], 2);
    w.advance(seconds(1));
    ASSERT_TRUE(failed_with(made[3], errc::max_overflow_reached));
    EXPECT_NE(made[3]->value->error().message.find("'a'"), std::string::npos);
    EXPECT_FALSE(made[3]->sent);
    w.transport.wake("a");
    w.rt.run_until_idle();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(made[i]->value && *made[i]->value) << i;
    const auto more = calls(2);
    EXPECT_TRUE(*more[0]->value && *more[1]->value);
    EXPECT_EQ(p.opened_at.size(), 4u) << "they are used again";
}

TEST_F(server_pool_test, who_waits_gets_the_next_one_that_is_free) {
    w.apply(config());
    p.answers_calls = false;
    const auto made = calls(5);
    EXPECT_EQ(p.calls.size(), 3u);
    w.transport.wake("a");
    w.rt.run_until_idle();
    for (const auto& m : made) EXPECT_TRUE(m->value && *m->value);
    EXPECT_EQ(p.most_open, 4);
}

TEST_F(server_pool_test, who_waits_longer_than_the_call_may_take_is_not_sent) {
    w.apply(config({{"size", 1}, {"max_overflow", 0}, {"wait_s", 60}}));
    p.answers_calls = false;
    calls(1);
    const auto late = calls(1, milliseconds(500));
    w.advance(milliseconds(600));
    ASSERT_TRUE(failed_with(late[0], errc::timeout));
    EXPECT_FALSE(late[0]->sent);
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_EQ(std::set<std::uint64_t>(p.called_on.begin(), p.called_on.end()).size(), 1u);
    EXPECT_EQ(w.row("a")["calls"]["made"], 2);
    EXPECT_EQ(w.row("a")["pool"]["waiting"], 0);
}

TEST_F(server_pool_test, a_connection_with_an_unfinished_call_is_never_used_again) {
    w.apply(config());
    p.answers_calls = false;
    const auto made = calls(1, milliseconds(500));
    const auto conn = p.called_on.at(0);
    w.advance(seconds(1));
    ASSERT_TRUE(failed_with(made[0], errc::timeout));
    w.transport.wake("a");
    w.rt.run_until_idle();
    calls(1);
    EXPECT_NE(p.called_on.at(1), conn);
}

TEST_F(server_pool_test, a_pooled_connection_that_dies_takes_its_own_call_only) {
    w.apply(config());
    p.answers_calls = false;
    const auto made = calls(2);
    w.transport.kill(p.called_on.at(0));
    w.rt.run_until_idle();
    EXPECT_TRUE(failed_with(made[0], errc::transport_lost));
    EXPECT_FALSE(made[1]->value);
    EXPECT_EQ(w.status_of("a"), "healthy");
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(made[1]->value && *made[1]->value);
}

TEST_F(server_pool_test, when_the_server_is_lost_everything_of_the_pool_ends_and_comes_back) {
    w.apply(config());
    p.answers_calls = false;
    const auto own = p.conn;
    const auto made = calls(4);
    p.dies_at_start = true;
    w.transport.kill(own);
    w.rt.run_until_idle();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(made[i]->value && !*made[i]->value) << i;
    w.advance(seconds(2));
    EXPECT_EQ(p.open_now, 0);
    p.dies_at_start = false;
    p.answers_calls = true;
    w.advance(seconds(60));
    EXPECT_EQ(w.status_of("a"), "healthy");
    const auto again = calls(2);
    EXPECT_TRUE(*again[0]->value && *again[1]->value);
}

TEST_F(server_pool_test, a_call_that_is_cancelled_while_it_waits_is_not_sent) {
    w.apply(config());
    p.answers_calls = false;
    const auto made = calls(4);
    w.set->cancel(made[3]->id);
    w.rt.run_until_idle();
    ASSERT_TRUE(failed_with(made[3], errc::cancelled));
    EXPECT_FALSE(made[3]->sent);
    const auto before = p.calls.size();
    w.transport.wake("a");  // the fake takes what it left unanswered anew
    w.rt.run_until_idle();
    EXPECT_EQ(p.calls.size(), before + 3);
}

TEST_F(server_pool_test, connections_that_cannot_be_made_are_told_of_at_once) {
    w.apply(config());
    p.refuses_open = true;
    const auto made = calls(1);
    ASSERT_TRUE(made[0]->value && !*made[0]->value);
    EXPECT_NE(made[0]->value->error().message.find("there is no program"), std::string::npos);
}

TEST_F(server_pool_test, idle_overflow_is_closed_and_long_idle_ones_are_looked_at_before_use) {
    w.apply(config());
    p.answers_calls = false;
    calls(3);
    w.transport.wake("a");
    w.rt.run_until_idle();
    w.advance(seconds(31));
    EXPECT_EQ(p.open_now, 3);
    p.silent = true;  // dead, without a word
    const auto before = p.calls.size();
    const auto made = calls(1);
    EXPECT_EQ(p.calls.size(), before) << "not sent to one that has not answered";
    w.advance(milliseconds(500));
    w.transport.wake("a");
    w.rt.run_until_idle();
    EXPECT_TRUE(made[0]->value && *made[0]->value);
}

TEST_F(server_pool_test, the_figures_are_in_the_metrics_and_go_with_the_server) {
    w.apply(config());
    p.answers_calls = false;
    calls(4);
    plugins::metrics_registry registry;
    w.set->export_metrics(registry);
    const std::string text = registry.prometheus();
    for (const char* line : {"holdfast_server_pool_in_use{server=\"a\"} 3", "holdfast_server_pool_waiting{server=\"a\"} 1", "holdfast_server_pool_size{server=\"a\"} 2"})
        EXPECT_NE(text.find(line), std::string::npos) << text;
    EXPECT_EQ(w.row("a")["pool"]["in_use"], 3);
    EXPECT_EQ(w.row("a")["calls"]["pending"], 4);
    w.apply(w.config({}));
    w.advance(seconds(2));
    w.set->export_metrics(registry);
    EXPECT_EQ(registry.prometheus().find("server=\"a\""), std::string::npos);
}

TEST_F(server_pool_test, a_replaced_transport_carries_the_pool_from_then_on) {
    w.apply(config());
    calls(2);
    w.transport.replace();
    w.set->transport_replaced("transport-fake");
    w.advance(seconds(1));
    w.transport.stop_old_generations();
    w.rt.run_until_idle();
    const auto made = calls(2);
    EXPECT_TRUE(*made[0]->value && *made[1]->value);
    EXPECT_EQ(w.status_of("a"), "healthy");
}

TEST_F(server_pool_test, nothing_is_kept_or_watched_on_a_connection_that_hears_of_no_change) {
    p.capabilities = {{"tools", json::object()}, {"resources", {{"subscribe", true}}}};
    p.answers["resources/read"] = {{"resultType", "complete"}, {"contents", json::array()}, {"ttlMs", 60'000}, {"cacheScope", "public"}};
    w.apply(config());
    ASSERT_TRUE(w.set->watch_resources("a", {"x:1"}));
    for (int i = 1; i <= 2; ++i) {
        std::optional<bool> read;
        server_request r;
        r.server = "a", r.method = "resources/read", r.params = {{"uri", "x:1"}}, r.session = "s";
        tool_call_events e;
        e.done = [&read](result<json> o, bool) { read = o.has_value(); };
        w.set->request(std::move(r), std::move(e));
        w.rt.run_until_idle();
        EXPECT_TRUE(read && *read);
        EXPECT_EQ(std::count(p.asked.begin(), p.asked.end(), "resources/read"), i) << "the server may have told that it changed";
    }
    EXPECT_EQ(p.open_now, 2);
    EXPECT_EQ(p.wishes.size(), 1u) << "the server's own connection is told";
}

TEST_F(server_pool_test, what_ends_a_visit_to_a_url_is_told_wherever_the_server_says_it) {
    std::vector<std::string> heard;
    w.set->on_server_notice([&](const std::string&, const std::string& method, const json&) { heard.push_back(method); });
    p.legacy = true;
    w.apply(config());
    const auto own = p.conn;
    calls(1);
    ASSERT_NE(p.conn, own) << "the call's connection speaks";
    w.transport.say(p, {{"method", "notifications/elicitation/complete"}, {"params", {{"elicitationId", "e1"}}}});
    w.transport.say(p, {{"method", "notifications/resources/updated"}, {"params", {{"uri", "x:1"}}}});
    w.rt.run_until_idle();
    EXPECT_EQ(heard, std::vector<std::string>{"notifications/elicitation/complete"});
}

TEST_F(server_pool_test, a_pool_that_cannot_be_is_refused) {
    EXPECT_FALSE(server_set::check("a", {{"command", "x"}, {"pool", json::object()}}));
    EXPECT_FALSE(server_set::check("a", {{"url", "http://x/"}, {"pool", {{"size", 0}}}}));
    EXPECT_FALSE(server_set::check("a", {{"url", "http://x/"}, {"pool", 5}}));
    EXPECT_FALSE(server_set::check("a", {{"url", "http://x/"}, {"pool", json::object()}, {"move", "restart"}}));
    EXPECT_TRUE(server_set::check("a", {{"url", "http://x/"}, {"pool", {{"size", 3}}}}));
}

}  // namespace
}  // namespace holdfast::servers::test
