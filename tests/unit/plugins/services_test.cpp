// What the host lends to plugins, used by a real one (fixtures/probe.cpp), and taken back.
#include <atomic>
#include <csignal>
#include <thread>

#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

class services : public plugin_host {
  protected:
    void adjust(plugin_set_options& o) override {
        o.api.submit = [](const std::string& instance, const std::string& method, json params, json identity, auto reply) {
            if (method != "echo") return reply(fail(errc::not_found, "no such method"));
            reply(json{{"instance", instance}, {"params", params}, {"identity", identity}});
        };
        adjust_streams(o);
    }
    void adjust_streams(plugin_set_options& o) {
        o.api.stream = [this](const std::string&, const std::string& method, json, json, std::function<void(std::string_view)> chunk, auto reply) -> std::function<void()> {
            const bool endless = method == "endless";
            auto end = std::make_shared<decltype(reply)>(std::move(reply));
            threads.emplace_back([chunk = std::move(chunk), end, endless] {
                chunk("one");
                if (endless) return;
                chunk(std::string(100'000, 'x'));  // longer than what a frame between processes carries itself
                (*end)(json::object());
            });
            return [this, end, endless] {
                cancels.fetch_add(1);
                if (endless) (*end)(fail(errc::cancelled, "as told"));
            };
        };
    }
    void TearDown() override {
        plugin_host::TearDown();
        for (auto& t : threads) t.join();
    }
    std::vector<std::thread> threads;
    std::atomic<int> cancels{0};

    void SetUp() override {
        plugin_host::SetUp();
        auto s = spec("p", "plugins_probe", {{"k", "v"}});
        s.supervision = quick(3);
        ASSERT_TRUE(add(s));
    }
};

TEST_F(services, timer_fires_and_cancel_means_never) {
    EXPECT_EQ(call("p", "timer").value(), json({{"fired", true}}));
    EXPECT_EQ(call("p", "cancelled_timer").value(), json({{"cancelled", true}}));
}
TEST_F(services, events_come_back_numbered) {
    auto r = call("p", "events");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["type"], "probe");
    EXPECT_EQ((*r)["topic"], "plugin:p");
    EXPECT_EQ((*r)["seq"], 1);
    EXPECT_EQ((*r)["answer"], 42);
}
TEST_F(services, process_gets_a_line_and_ends_when_told) {
    auto r = call("p", "process");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["kind"], "exited") << r->dump();
    EXPECT_EQ((*r)["code"], 0);
    auto missing = call("p", "missing_process");
    ASSERT_TRUE(missing);
    EXPECT_EQ((*missing)["rc"], HF_E_COMMAND_NOT_FOUND);
}
TEST_F(services, api_calls_name_the_instance) {
    auto r = call("p", "api");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["error"], 0);
    EXPECT_EQ((*r)["result"], json({{"instance", "p"}, {"params", {{"x", 1}}}, {"identity", {{"user", "u"}}}}));
}
TEST_F(services, an_api_call_takes_pieces_and_then_its_reply) {
    auto r = call("p", "stream");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["error"], 0);
    EXPECT_EQ((*r)["pieces"], json::array({"one", std::string(100'000, 'x')}));
    EXPECT_EQ(cancels, 0);
}
TEST_F(services, a_cancelled_stream_ends_once_and_not_inside_a_piece) {
    auto r = call("p", "cancelled_stream");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["error"], HF_E_CANCELLED);
    EXPECT_EQ((*r)["pieces"], json::array({"one"}));
    EXPECT_EQ((*r)["overlapped"], false);
    EXPECT_TRUE(until([&] { return cancels == 1; })) << "the method is told";
}
TEST_F(services, config_and_a_private_data_directory) {
    auto r = call("p", "config");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["settings"], json({{"k", "v"}}));
    const std::string path = (*r)["dir"]["path"];
    struct stat st {};
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0700u);
}
TEST_F(services, worker_is_woken_and_names_are_unique) {
    auto r = call("p", "worker");
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)["woken"], true);
    EXPECT_EQ((*r)["incarnation"], 1);
    EXPECT_EQ((*r)["twice"], static_cast<std::uint64_t>(-HF_E_EXISTS));
}
TEST_F(services, a_stop_takes_everything_back) {
    auto r = call("p", "hold");
    ASSERT_TRUE(r) << r.error().message;
    const auto pid = static_cast<pid_t>((*r)["pid"].get<std::int64_t>());
    ASSERT_EQ(kill(pid, 0), 0);
    EXPECT_TRUE(logged("holding"));
    EXPECT_NE(metrics.prometheus().find("probe_total{a=\"b\",plugin=\"p\"} 2"), std::string::npos) << metrics.prometheus();
    const auto holds = node("p")["holds"];
    EXPECT_EQ(holds["timers"], isolated() ? 0 : 1) << holds << " (timers of a process of its own run there)";
    EXPECT_EQ(holds["subscriptions"], 1);
    EXPECT_EQ(holds["processes"], 1);
    auto down = stop("p");
    ASSERT_TRUE(down);
    EXPECT_EQ(down->phase, instance_phase::stopped) << down->reason;
    EXPECT_TRUE(until([&] { return kill(pid, 0) != 0; }));
    EXPECT_EQ(bus.stats().subscriptions, 0u);
    EXPECT_TRUE(until([&] { return spawner->running() == 0; }));
    ASSERT_TRUE(ask([&](auto done) { set->remove("p", std::move(done)); }));
    EXPECT_EQ(metrics.prometheus().find("plugin=\"p\""), std::string::npos);
}
TEST_F(services, an_exception_from_a_callback_restarts_the_instance) {
    auto r = call("p", "throwing_timer");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::plugin_failed);
    EXPECT_NE(r.error().message.find("probe timer"), std::string::npos) << r.error().message;
    EXPECT_TRUE(reached("p", instance_phase::active, 2));
    EXPECT_TRUE(call("p", "timer"));
}
TEST_F(services, an_unknown_method_is_the_plugins_own_error) {
    auto r = call("p", "nonsense");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().message, "no such method");
}

}  // namespace
}  // namespace holdfast::plugins::testing
