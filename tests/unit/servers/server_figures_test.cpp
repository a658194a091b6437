// Counts, health and resources as SRV-8 asks for them.
#include "fake_world.hpp"
#include "kernel/plugins/metrics.hpp"
#include "servers/figures.hpp"
#include "servers/reports.hpp"
#include "servers/resources.hpp"

namespace holdfast::servers::test {
namespace {

TEST(latency_figures_test, quantiles_lie_in_the_bucket_of_what_was_added) {
    latency_figures f;
    EXPECT_EQ(f.to_json()["p99_ms"], 0.0);
    for (int i = 0; i < 99; ++i) f.add(milliseconds(1));
    f.add(seconds(1));
    const json j = f.to_json();
    EXPECT_EQ(j["count"], 100);
    EXPECT_NEAR(j["mean_ms"].get<double>(), 10.99, 0.01);
    EXPECT_GE(j["p50_ms"].get<double>(), 0.5);
    EXPECT_LE(j["p50_ms"].get<double>(), 1.1);
    EXPECT_LE(j["p99_ms"].get<double>(), 1.1);
    EXPECT_EQ(j["max_ms"], 1000.0);
    f.add(std::chrono::hours(1000));  // longer than the last bucket
    f.add(nanoseconds(-1));
    EXPECT_EQ(f.to_json()["count"], 102);
}

TEST(resource_watch_test, the_share_is_that_since_the_look_before) {
    resource_watch r;
    const steady_time t0{std::chrono::hours(1)};
    supervise::process_usage u;
    u.pid = 7;
    u.rss_bytes = 1000;
    u.cpu_ms = 500;
    u.processes = 3;
    EXPECT_EQ(r.look({u}, t0).at(7).cpu_percent, 0);
    u.cpu_ms = 1500;
    const auto second = r.look({u}, t0 + seconds(2)).at(7);
    EXPECT_DOUBLE_EQ(second.cpu_percent, 50);
    EXPECT_EQ(second.memory_bytes, 1000u);
    u.cpu_ms = 100;  // a process of the tree has ended and took its time with it
    EXPECT_EQ(r.look({u}, t0 + seconds(3)).at(7).cpu_percent, 0);
    EXPECT_TRUE(r.look({}, t0 + seconds(4)).empty());
}

struct server_figures_test : testing::Test {
    world w;
};

TEST_F(server_figures_test, everything_that_happens_is_counted_for_the_server_and_for_all) {
    w.apply(w.config({"a", "b"}));
    ASSERT_TRUE(w.call("a")->value);
    w.transport.kill("a");
    w.rt.run_until_idle();
    w.advance(seconds(31));  // a health check of each
    bool stopped = false;
    w.set->stop("b", [&](result<json>) { stopped = true; });
    w.advance(seconds(2));
    ASSERT_TRUE(stopped);
    const json m = w.set->metrics();
    EXPECT_EQ(m["started"], 3) << m;
    EXPECT_EQ(m["restarted"], 1);
    EXPECT_EQ(m["failed"], 1);
    EXPECT_EQ(m["stopped"], 1);
    EXPECT_EQ(m["health_checks"], 2);
    EXPECT_EQ(m["calls"], 1);
    EXPECT_EQ(m["latency"]["count"], 1);
    EXPECT_EQ(m["servers"]["a"]["started"], 2);
    EXPECT_EQ(m["servers"]["b"]["restarted"], 0);
    w.apply(w.config({"b"}));
    EXPECT_EQ(w.set->metrics()["started"], 3) << "what has gone still counts";
    EXPECT_FALSE(w.set->metrics()["servers"].contains("a"));
}

TEST_F(server_figures_test, health_of_one_and_of_everything) {
    w.apply(w.config({"a", "b", "c"}));
    w.advance(seconds(40));
    const json h = *w.set->health("a");
    EXPECT_EQ(h["status"], "healthy");
    EXPECT_EQ(h["uptime"], 40);
    EXPECT_EQ(h["restart_count"], 0);
    EXPECT_TRUE(h["last_check"].is_string());
    EXPECT_TRUE(h["resource_usage"].contains("memory") && h["resource_usage"].contains("cpu"));
    EXPECT_EQ(w.set->health("nobody").error().code, errc::server_not_found);
    EXPECT_EQ(w.set->system_health()["status"], "healthy");
    w.transport.servers["a"].dies_at_start = true;
    w.transport.kill("a");
    w.rt.run_until_idle();
    json all = w.set->system_health();
    EXPECT_EQ(all["status"], "degraded");
    EXPECT_EQ(all["unhealthy"][0]["name"], "a");
    EXPECT_EQ(all["counts"]["healthy"], 2);
    w.set->disable("a", [](result<json>) {});
    w.advance(seconds(2));
    EXPECT_EQ(w.set->system_health()["status"], "healthy") << "one that a person disabled is not missing";
}

TEST_F(server_figures_test, calls_that_are_refused_are_counted_too) {
    w.transport.servers["a"].dies_at_start = true;
    w.apply(w.config({"a"}));
    w.call("a");
    w.call("a");
    EXPECT_EQ(w.row("a")["calls"]["failed"], 2);
    plugins::metrics_registry registry;
    w.set->export_metrics(registry);
    EXPECT_NE(registry.prometheus().find("holdfast_server_failed_calls{server=\"a\"} 2"), std::string::npos) << registry.prometheus();
}

TEST_F(server_figures_test, resources_of_the_process_tree_are_looked_at_every_ten_seconds) {
    w.apply(w.config({"a"}));
    supervise::process_usage u;
    u.pid = 1;  // what the fake calls its first process
    u.rss_bytes = 9'000'000;
    u.processes = 2;
    w.usage = {u};
    w.set->watch_resources();
    EXPECT_EQ((*w.set->health("a"))["resource_usage"]["memory"], 9'000'000);
    u.cpu_ms = 2'500;
    w.usage = {u};
    w.advance(seconds(10));
    EXPECT_EQ((*w.set->health("a"))["resource_usage"]["cpu"], 25.0);
    EXPECT_EQ(w.set->system_health()["resource_usage"]["processes"], 2);
    plugins::metrics_registry registry;
    w.set->export_metrics(registry);
    EXPECT_NE(registry.prometheus().find("holdfast_server_memory_bytes{server=\"a\"} 9000000"), std::string::npos) << registry.prometheus();
    w.apply(w.config({"b"}));
    w.advance(seconds(2));
    w.set->export_metrics(registry);
    EXPECT_EQ(registry.prometheus().find("server=\"a\""), std::string::npos);
}

TEST_F(server_figures_test, B3_the_health_log_row_by_row) {
    w.transport.servers["bad"].dies_at_start = true;
    const auto begin = w.rt.clock().wall();
    w.apply(w.config({"bad"}));
    for (int i = 0; i < 1900; ++i) w.advance(seconds(1));
    std::vector<std::pair<double, std::string>> rows;
    for (const json& e : w.store->streams["health:bad"])
        rows.emplace_back(static_cast<double>(rfc3339_ms(string_or(e, "at")) - rfc3339_ms(rfc3339(begin))) / 1000, string_or(e, "type") + " " + string_or(e["data"], "status"));
    const std::vector<std::pair<double, std::string>> expected{
        {1, "recovery_attempt disconnected"}, {3, "recovery_attempt disconnected"}, {7, "recovery_attempt disconnected"}, {15, "recovery_attempt disconnected"},
        {15, "circuit_opened circuit_open"}, {45, "recovery_attempt circuit_open"}, {105, "recovery_attempt circuit_open"}, {225, "recovery_attempt circuit_open"},
        {465, "recovery_attempt circuit_open"}, {945, "recovery_attempt circuit_open"}, {1545, "recovery_attempt circuit_open"}, {1800, "auto_disabled disabled"}};
    EXPECT_EQ(rows, expected);
}

TEST_F(server_figures_test, the_health_log_keeps_its_newest_rows) {
    server_set_options o;
    o.runtime = &w.rt;
    o.store = w.store;
    reports r(o);
    for (int i = 0; i < 5000; ++i) r.health("dying", i % 2 ? "connected" : "disconnected", std::to_string(i), i % 2 ? status::healthy : status::disconnected);
    r.health("other", "connected", "", status::healthy);
    w.rt.run_until_idle();
    const json& rows = w.store->streams["health:dying"];
    EXPECT_GE(rows.size(), 2000u);
    EXPECT_LT(rows.size(), 2100u);
    EXPECT_EQ(rows.back()["data"]["detail"], "4999");
    EXPECT_EQ(w.store->streams["health:other"].size(), 1u);
}

TEST_F(server_figures_test, the_health_log_is_read_from_the_store) {
    w.apply(w.config({"a"}));
    w.transport.kill("a");
    w.advance(seconds(1));
    std::optional<json> log;
    w.set->health_log("a", 100, 0, [&](result<json> r) { log = std::move(*r); });
    std::vector<std::string> events;
    for (const json& e : (*log)["events"]) {
        events.push_back(e["event"]);
        EXPECT_EQ(e["mcp_name"], "a");
        EXPECT_TRUE(e["timestamp"].is_string() && e["seq"].is_number());
    }
    EXPECT_EQ(events, (std::vector<std::string>{"connected", "disconnected", "recovery_attempt", "connected", "recovery_success"}));
    errc code = errc::internal;
    w.set->health_log("nobody", 1, 0, [&](result<json> r) { code = r.error().code; });
    EXPECT_EQ(code, errc::server_not_found);
}

}  // namespace
}  // namespace holdfast::servers::test
