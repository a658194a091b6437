// The terminal UI plugin in a process of its own: a tiny host around it whose API is the control socket of the real one, and
// whose event bus repeats the real one's session topics with their numbers. To the plugin there is no difference.
#include <sys/signalfd.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "app/application.hpp"
#include "app/command_line.hpp"
#include "app/commands.hpp"
#include "app/config_schema.hpp"
#include "app/logging.hpp"

namespace holdfast::app {
namespace {

constexpr const char* instance_id = "chat";

/// Set once, from any thread; waited for by one.
class flag {
  public:
    void set() {
        std::lock_guard lock(mutex_);
        set_ = true;
        changed_.notify_all();
    }
    bool wait(nanoseconds d) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, d, [&] { return set_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool set_ = false;
};

/// Repeats one event of the real host on the local bus, under its own topic, number and epoch.
void repeat(events::bus& bus, const json& event) {
    const std::string topic = string_or(event, "topic");
    const std::string type = string_or(event, "type");
    if (topic.empty() || type == "closed") return;
    if (type == "gap" || type == "epoch") {  // what follows is a new history for the plugin: it takes a new snapshot
        (void)bus.open_topic(topic, static_cast<std::uint64_t>(int_or(event, "epoch", 0)),
                             static_cast<std::uint64_t>(type == "gap" ? int_or(event, "to", 0) + 1 : int_or(event, "from", 1)));
        return;
    }
    const auto seq = static_cast<std::uint64_t>(int_or(event, "seq", 0));
    const auto epoch = static_cast<std::uint64_t>(int_or(event, "epoch", 0));
    if (auto at = bus.current(topic); at && at->epoch == epoch && at->seq >= seq) return;
    if (auto at = bus.current(topic); !at || at->epoch != epoch || at->seq + 1 != seq) (void)bus.open_topic(topic, epoch, seq);
    (void)bus.publish_at(topic, seq, type, event);
}

}  // namespace

int interactive_chat(control_client& host, const common_options&, const std::string& session, bool yes) {
    (void)open_log({"warn", "text", ""});
    sigset_t signals;
    sigemptyset(&signals);
    for (int s : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, s);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    auto info = host.call("host.info");
    if (!info) return explain(info.error());
    auto config = host.call("config.get");
    const std::string base = std::filesystem::path(string_or(*info, "config")).parent_path().string();
    const std::string own_dir = string_or(*info, "data_dir") + "/chat";
    std::error_code ec;
    std::filesystem::create_directories(own_dir, ec);

    events::bus bus;
    supervise::pool_runtime rt;
    supervise::watchdog dog;
    supervise::process_spawner processes(rt);
    plugins::metrics_registry metrics;
    flag over;

    auto mirror = host.subscribe({{"topic", "session:*"}}, [&bus](const json& e) { repeat(bus, e); });
    if (!mirror) return explain(mirror.error());
    if (auto snapshot = host.call("session.get", {{"session_id", session}}); snapshot)
        if (!bus.current("session:" + session))
            (void)bus.open_topic("session:" + session, static_cast<std::uint64_t>(int_or(*snapshot, "epoch", 1)), static_cast<std::uint64_t>(int_or(*snapshot, "seq", 0)) + 1);
    host.on_lost([&over] {
        std::cerr << "\nholdfast: the host has gone away\n";
        over.set();
    });

    plugins::plugin_set_options o;
    o.rt = &rt;
    o.processes = &processes;
    o.bus = &bus;
    o.dog = &dog;
    o.metrics = &metrics;
    o.search_path = plugin_directories(config ? member(*config, "config") : json(), base);
    o.runtime_dir = own_dir + "/run-" + std::to_string(::getpid());
    o.data_dir = own_dir;
    o.validate = [](const json& schema, const json& settings) -> result<void> {
        auto found = config::validate(schema, settings);
        if (found.empty()) return {};
        return fail(errc::invalid_argument, found[0].pointer + ": " + found[0].message);
    };
    o.log = [](const plugins::log_line& l) { write_log(static_cast<level>(l.level), l.instance, l.message, l.fields); };
    o.api.submit = [&](const std::string&, const std::string& method, json params, json, unique_function<void(result<json>)> reply) {
        if (method == "ui.stop" && string_or(params, "id") == instance_id) {
            reply(json::object());
            return over.set();
        }
        host.call(method, std::move(params), std::move(reply));
    };
    auto set = plugins::plugin_set::create(std::move(o));
    if (!set) return explain(set.error());
    std::vector<supervise::child_spec> children;
    children.push_back((*set)->node());
    auto root = supervise::supervisor::start(rt, "chat", {}, std::move(children));

    plugins::plugin_spec spec;
    spec.id = instance_id;
    spec.use = "ui-tui";
    spec.settings = {{"session", session}, {"approve_all", yes}, {"quit_at_end", true}};
    auto up = supervise::await<plugins::plugin_info>(seconds(20), [&](auto done) { (*set)->add(spec, std::move(done)); });
    int code = exit_ok;
    if (!up) {
        code = explain(up.error());
    } else {
        while (!over.wait(milliseconds(200))) {
            const timespec now{0, 0};
            if (sigtimedwait(&signals, nullptr, &now) > 0) break;
        }
    }
    root->stop_and_wait(seconds(5));
    host.on_lost(nullptr);
    bus.close();
    rt.stop(seconds(2));
    std::filesystem::remove_all(own_dir + "/run-" + std::to_string(::getpid()), ec);
    return code;
}

}  // namespace holdfast::app
