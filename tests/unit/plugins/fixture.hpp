#pragma once
// A host around a plugin set, with real parts: runtime, processes, bus, watchdog, root supervisor.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <future>

#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/plugin_set.hpp"

namespace holdfast::plugins::testing {

namespace fs = std::filesystem;
using supervise::await;

inline constexpr auto patience = seconds(20);

inline std::string plugin_file(const std::string& name) { return std::string(HF_TEST_PLUGINS) + "/" + name + ".so"; }

/// A directory of its own below the test's working place, removed at the end.
struct scratch {
    scratch() {
        std::string text = (fs::temp_directory_path() / "hf-plugins-XXXXXX").string();
        path = mkdtemp(text.data());
    }
    ~scratch() {
        std::error_code ec;
        fs::remove_all(path, ec);
    }
    std::string copy(const std::string& name, const std::string& as) const {
        const auto to = path + "/" + as;
        fs::copy_file(plugin_file(name), to, fs::copy_options::overwrite_existing);
        chmod(to.c_str(), 0755);
        return to;
    }
    std::string path;
};

inline std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class plugin_host : public ::testing::Test {
  protected:
    void SetUp() override { build(); }
    void TearDown() override { shut_down(); }

    virtual void adjust(plugin_set_options&) {}

    void build() {
        plugin_set_options o;
        o.rt = &rt;
        o.processes = spawner.get();
        o.bus = &bus;
        o.dog = &dog;
        o.metrics = &metrics;
        o.search_path = {HF_TEST_PLUGINS};
        o.use_environment = false;
        o.runtime_dir = dir.path + "/run";
        o.runner = HF_TEST_RUNNER;
        o.data_dir = dir.path + "/data";
        o.log = [this](const log_line& l) {
            if (before_logging) before_logging(l);
            std::lock_guard lock(mutex);
            lines.push_back(l);
        };
        o.on_change = [this](const plugin_change& c) {
            std::lock_guard lock(mutex);
            changes.push_back(c);
            changed.notify_all();
        };
        o.quarantine_for = milliseconds(0);
        adjust(o);
        auto made = plugin_set::create(std::move(o));
        ASSERT_TRUE(made) << made.error().message;
        set = *made;
        std::vector<supervise::child_spec> children;
        children.push_back(set->node());
        auto up = await<void>(patience, [&](auto done) { root = supervise::supervisor::start(rt, "root", {}, std::move(children), std::move(done)); });
        ASSERT_TRUE(up) << up.error().message;
    }
    std::function<void(const log_line&)> before_logging;  // on the thread that logs; to be set before anything does

    void shut_down() {
        if (root) {
            EXPECT_TRUE(root->stop_and_wait(seconds(60)));
        }
        root = {};
        set.reset();
    }

    plugin_spec spec(const std::string& id, const std::string& use, json settings = json::object()) {
        plugin_spec s;
        s.id = id;
        s.use = use;
        s.settings = std::move(settings);
        s.isolation = where;
        s.sandbox = {{"write", {dir.path}}};
        return s;
    }
    /// Restarts at once, at most n in a minute.
    static supervision_settings quick(std::uint32_t n, supervise::strategy how = supervise::strategy::one_for_one) {
        supervision_settings s;
        s.how = how;
        s.limit = {n, seconds(60)};
        s.backoff = supervise::backoff_policy::none();
        return s;
    }
    result<plugin_info> add(plugin_spec s) {
        return await<plugin_info>(patience, [&](auto done) { set->add(std::move(s), std::move(done)); });
    }
    template <class F>
    result<plugin_info> ask(F f) {
        return await<plugin_info>(seconds(60), [&](auto done) { f(std::move(done)); });
    }
    result<plugin_info> stop(const std::string& id) {
        return ask([&](auto done) { set->stop(id, std::move(done)); });
    }
    /// Waits until the plugin has entered the phase at least `times` times since the test began.
    bool reached(const std::string& id, instance_phase phase, std::size_t times = 1) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, patience, [&] {
            return static_cast<std::size_t>(std::count_if(changes.begin(), changes.end(), [&](const auto& c) { return c.now.id == id && c.now.phase == phase; })) >= times;
        });
    }
    /// For what no event tells: something another process or thread does.
    template <class F>
    bool until(F f) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!f()) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::unique_lock lock(mutex);
            changed.wait_for(lock, milliseconds(2));
        }
        return true;
    }
    std::vector<std::string> phases(const std::string& id) {
        std::lock_guard lock(mutex);
        std::vector<std::string> out;
        for (const auto& c : changes)
            if (c.now.id == id) out.emplace_back(to_string(c.now.phase));
        return out;
    }
    bool logged(const std::string& part) {
        std::lock_guard lock(mutex);
        return std::any_of(lines.begin(), lines.end(), [&](const auto& l) { return l.message.find(part) != std::string::npos; });
    }
    result<json> call(const std::string& id, const std::string& method, milliseconds timeout = milliseconds(0), json request = json::object()) {
        auto port = make_call_port(set->resolve<hf_llm>(id, HF_EXT_LLM), rt, id);
        return await<json>(patience, [&](auto done) { port->submit(method, std::move(request), timeout, {}, std::move(done)); });
    }
    /// The plugin's node in the tree.
    json node(const std::string& id) {
        json tree = root->tree();
        for (const auto& p : tree["children"][0]["children"])
            if (p["id"] == id) return p;
        return nullptr;
    }

    /// Of what spec() makes. The same tests run twice: as they are, and with every plugin in a process of its own.
    isolation_mode where = std::getenv("HF_TEST_ISOLATED") ? isolation_mode::process : isolation_mode::in_process;
    bool isolated() const { return where == isolation_mode::process; }
    scratch dir;
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<log_line> lines;         // under mutex
    std::vector<plugin_change> changes;  // under mutex
    supervise::pool_runtime rt;
    std::unique_ptr<supervise::process_spawner> spawner = std::make_unique<supervise::process_spawner>(rt);
    supervise::watchdog dog;
    events::bus bus;
    metrics_registry metrics;
    supervise::ref<supervise::supervisor> root;
    std::shared_ptr<plugin_set> set;
};

}  // namespace holdfast::plugins::testing
