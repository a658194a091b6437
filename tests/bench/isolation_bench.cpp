// What a process between host and plugin costs: a round trip, an asynchronous call, a megabyte there and back, and a death: from SIGSEGV
// to the next answered call. Goals: round trip p50 at most 10 µs, death to answer at most 20 ms. The peer does the same with go-plugin.
//
//   RESULT isolation case=roundtrip p50_ns=… p99_ns=…      case=call …      case=mb p50_ns=… mb_s=…      case=death p50_ns=… p99_ns=…
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>

#include "holdfast/ext/breaker.h"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/isolation/runner.hpp"
#include "kernel/plugins/plugin_set.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::plugins;
using supervise::await;
using clock_type = std::chrono::steady_clock;

void report(const char* name, std::vector<std::int64_t> ns, const std::string& more = {}) {
    std::sort(ns.begin(), ns.end());
    std::printf("RESULT isolation case=%s p50_ns=%lld p99_ns=%lld n=%zu%s\n", name, static_cast<long long>(ns[ns.size() / 2]), static_cast<long long>(ns[ns.size() * 99 / 100]),
                ns.size(), more.c_str());
    std::fflush(stdout);
}

struct host {
    explicit host(const std::string& plugins) {
        auto name = (std::filesystem::temp_directory_path() / "hf-bench-XXXXXX").string();
        dir = mkdtemp(name.data());
        plugin_set_options o;
        o.rt = &rt;
        o.processes = spawner.get();
        o.bus = &bus;
        o.dog = &dog;
        o.search_path = {plugins + "/plugins", plugins + "/tests/plugins"};
        o.use_environment = false;
        o.runtime_dir = dir + "/run";
        o.data_dir = dir + "/data";
        set = plugin_set::create(std::move(o)).value();
        std::vector<supervise::child_spec> children;
        children.push_back(set->node());
        await<void>(seconds(20), [&](auto done) { root = supervise::supervisor::start(rt, "root", {}, std::move(children), std::move(done)); })
            .map_error([](const error& e) { std::fprintf(stderr, "%s\n", e.message.c_str()), std::exit(1); });
    }
    ~host() {
        root->stop_and_wait(seconds(30));
        set.reset();
        std::filesystem::remove_all(dir);
    }
    void add(const std::string& id, const std::string& use) {
        plugin_spec s;
        s.id = id;
        s.use = use;
        s.isolation = isolation_mode::process;
        s.supervision.limit = {1'000, seconds(1)};
        s.supervision.backoff = supervise::backoff_policy::none();
        auto up = await<plugin_info>(seconds(20), [&](auto done) { set->add(std::move(s), std::move(done)); });
        if (!up) std::fprintf(stderr, "%s\n", up.error().message.c_str()), std::exit(1);
    }
    std::string dir;
    supervise::pool_runtime rt;
    std::unique_ptr<supervise::process_spawner> spawner = std::make_unique<supervise::process_spawner>(rt);
    supervise::watchdog dog;
    events::bus bus;
    supervise::ref<supervise::supervisor> root;
    std::shared_ptr<plugin_set> set;
};

std::int64_t now() { return clock_type::now().time_since_epoch().count(); }

void round_trips(host& h, int n) {
    h.add("breaker", "breaker-consecutive");
    auto b = h.set->resolve<hf_breaker>("breaker", HF_EXT_BREAKER)().value();
    void* policy = nullptr;
    hf_error err{};
    err.size = sizeof err;
    const char config[] = "{}";
    if (b.table->open(b.self, {config, 2}, 1, now(), &policy, &err) < 0) std::fprintf(stderr, "%s\n", err.message), std::exit(1);
    std::vector<std::int64_t> ns;
    for (int i = 0; i < n + n / 10; ++i) {
        hf_permit out{};
        out.size = sizeof out;
        const auto at = now();
        b.table->permit(b.self, policy, at, &out);
        if (i >= n / 10) ns.push_back(now() - at);
        if (out.granted) b.table->report(b.self, policy, out.generation, HF_OUTCOME_SUCCESS, 1, at);
        else std::exit(1);
    }
    b.table->close(b.self, policy);
    report("roundtrip", std::move(ns));
}

result<json> call(call_port& port, const std::string& method, json request) {
    std::promise<result<json>> got;
    auto f = got.get_future();
    port.submit(method, std::move(request), milliseconds(0), {}, [&](result<json> r) { got.set_value(std::move(r)); });
    return f.get();
}

void calls(host& h, int n) {
    h.add("echo", "plugins_probe");
    auto port = make_call_port(h.set->resolve<hf_llm>("echo", HF_EXT_LLM), h.rt, "echo");
    std::vector<std::int64_t> ns;
    for (int i = 0; i < n; ++i) {
        const auto at = now();
        if (!call(*port, "echo", {{"n", i}})) std::exit(1);
        ns.push_back(now() - at);
    }
    report("call", std::move(ns));
    // A megabyte as the interface carries it: bytes there and the same bytes back. What the caller's JSON costs is its own.
    auto b = h.set->resolve<hf_llm>("echo", HF_EXT_LLM)().value();
    const std::string big = "{\"text\":\"" + std::string(1u << 20, 'x') + "\"}";
    ns.clear();
    for (int i = 0; i < std::max(n / 20, 5); ++i) {
        std::promise<std::size_t> got;
        auto f = got.get_future();
        hf_call c{};
        c.size = sizeof c;
        c.id = 1'000'000'000u + static_cast<std::uint64_t>(i);
        c.method = {"echo", 4};
        c.request = {big.data(), big.size()};
        c.ctx = &got;
        c.on_done = [](void* ctx, std::uint64_t, const hf_error*, hf_bytes r) { static_cast<std::promise<std::size_t>*>(ctx)->set_value(r.length); };
        hf_error err{};
        err.size = sizeof err;
        const auto at = now();
        if (b.table->submit(b.self, &c, &err) < 0 || f.get() != big.size()) std::exit(1);
        ns.push_back(now() - at);
    }
    b = {};
    std::sort(ns.begin(), ns.end());
    report("mb", ns, " mb_s=" + std::to_string(2.0 * 1e9 / static_cast<double>(ns[ns.size() / 2])));
}

void deaths(host& h, int n) {
    h.add("dies", "bad_dies");
    auto port = make_call_port(h.set->resolve<hf_llm>("dies", HF_EXT_LLM), h.rt, "dies");
    std::vector<std::int64_t> ns;
    for (int i = 0; i < n; ++i) {
        const auto at = now();
        (void)call(*port, "segv", json::object());
        while (!call(*port, "ok", json::object())) std::this_thread::yield();
        ns.push_back(now() - at);
    }
    report("death", std::move(ns));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], isolation::runner_flag) == 0) return isolation::run_plugin();
    if (argc < 2) return std::fprintf(stderr, "usage: isolation_bench BUILD_DIR [N]\n"), 64;
    const int n = argc > 2 ? std::atoi(argv[2]) : 50'000;
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    host h(argv[1]);
    round_trips(h, n);
    calls(h, std::max(n / 5, 10));
    deaths(h, std::clamp(n / 500, 3, 100));
    return 0;
}
