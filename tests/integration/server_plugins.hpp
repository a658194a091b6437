#pragma once
// A set of servers over real plugins: transports and policies as files, the pool's real time.
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <thread>

#include "kernel/plugins/plugin_set.hpp"
#include "servers/server_set.hpp"

namespace holdfast::servers::test {

inline constexpr auto patience = seconds(30);
using supervise::await;

class server_plugins : public ::testing::Test {
  protected:
    explicit server_plugins(std::string transport) : transport_plugin(std::move(transport)) {}
    void SetUp() override {
        std::string text = (std::filesystem::temp_directory_path() / "hf-servers-XXXXXX").string();
        ASSERT_NE(mkdtemp(text.data()), nullptr);
        dir = text;
        plugins::plugin_set_options o;
        o.rt = &rt;
        o.processes = spawner.get();
        o.bus = &bus;
        o.dog = &dog;
        o.metrics = &metrics;
        o.search_path = {HF_PLUGIN_DIR};
        o.use_environment = false;
        o.runtime_dir = dir + "/run";
        o.data_dir = dir + "/data";
        auto made = plugins::plugin_set::create(std::move(o));
        ASSERT_TRUE(made) << made.error().message;
        loaded = *made;
        server_set_options so;
        so.runtime = &rt;
        so.bus = &bus;
        so.transport = [this](const std::string& name) { return loaded->resolve<hf_transport>("transport-" + name, HF_EXT_TRANSPORT)(); };
        so.breaker = [this](const std::string& name) { return loaded->resolve<hf_breaker>(name, HF_EXT_BREAKER)(); };
        so.health = [this](const std::string& name) { return loaded->resolve<hf_health>(name, HF_EXT_HEALTH)(); };
        servers = server_set::create(so);
        std::vector<supervise::child_spec> children;
        children.push_back(loaded->node());
        children.push_back(servers->supervisor_spec());
        root = supervise::supervisor::start(rt, "root", {}, std::move(children));
        for (const std::string& id : {transport_plugin, std::string("breaker-consecutive"), std::string("health-threshold")}) {
            plugins::plugin_spec p;
            p.id = p.use = id;
            auto up = await<plugins::plugin_info>(patience, [&](auto done) { loaded->add(std::move(p), std::move(done)); });
            ASSERT_TRUE(up) << id << ": " << up.error().message;
        }
        servers->on_catalogue_changed([this] { news(); });
        changes = bus.subscribe_push("server:*", {}, [](unique_function<void()> f) { f(); }, [this](const events::item&) { news(); });
    }
    /// The news of an exit comes an instant before the zombie is reaped; no event tells of that.
    template <class F>
    static bool gone(F is_gone) {
        const auto deadline = std::chrono::steady_clock::now() + seconds(2);
        while (!is_gone() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
        return is_gone();
    }
    void TearDown() override {
        servers->on_catalogue_changed({});
        changes.unsubscribe();
        EXPECT_TRUE(root->stop_and_wait(seconds(60)));
        EXPECT_TRUE(gone([&] { return spawner->running() == 0; })) << "a server outlived the host";
        root = {};
        servers.reset();
        loaded.reset();
        std::filesystem::remove_all(dir);
    }
    void news() {
        std::lock_guard lock(mutex);
        changed.notify_all();
    }
    template <class F>
    bool until(F f) {
        std::unique_lock lock(mutex);
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!f()) {  // snapshots come a moment after the event that wakes us: look again now and then
            if (std::chrono::steady_clock::now() > end) return false;
            changed.wait_for(lock, milliseconds(20));
        }
        return true;
    }
    json row(const std::string& name) { return *servers->row(name); }
    bool healthy(const std::string& name) {
        return until([&] { return row(name)["status"] == "healthy" && !servers->tool_rows(name)["tools"].empty(); });
    }
    void apply(json all) {
        auto r = servers->apply({{"mcpServers", std::move(all)}});
        ASSERT_TRUE(r) << r.error().message;
    }
    struct outcome {
        result<json> value = fail(errc::internal, "none");
        bool sent = false;
    };
    outcome call(const std::string& server, const std::string& tool, json arguments, milliseconds timeout = milliseconds(20'000)) {
        struct shared {
            std::mutex mutex;
            std::condition_variable arrived;
            std::optional<outcome> value;
        };
        auto s = std::make_shared<shared>();  // second owner: the call
        tool_call_events e;
        e.done = [s](result<json> r, bool sent) {
            std::lock_guard lock(s->mutex);
            s->value = outcome{std::move(r), sent};
            s->arrived.notify_all();
        };
        servers->call({server, tool, std::move(arguments), {}, timeout}, std::move(e));
        std::unique_lock lock(s->mutex);
        EXPECT_TRUE(s->arrived.wait_for(lock, patience, [&] { return s->value.has_value(); }));
        return s->value ? *s->value : outcome{};
    }

    const std::string transport_plugin;
    std::string dir;
    supervise::pool_runtime rt;
    events::bus bus;
    supervise::watchdog dog;
    plugins::metrics_registry metrics;
    std::unique_ptr<supervise::process_spawner> spawner = std::make_unique<supervise::process_spawner>(rt);
    std::shared_ptr<plugins::plugin_set> loaded;
    std::shared_ptr<server_set> servers;
    supervise::ref<supervise::supervisor> root;
    std::mutex mutex;
    std::condition_variable changed;
    events::push_subscription changes;
};

}  // namespace holdfast::servers::test
