// W6: what a call costs through the breaker, by the table of functions the host uses (an indirect call each).
#include <benchmark/benchmark.h>

#include "breaker-consecutive/consecutive.hpp"
#include "breaker-window/window.hpp"
#include "result_reporter.hpp"
#include "servers/policies.hpp"

namespace {

class direct final : public holdfast::sdk::breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<holdfast::sdk::breaker_policy> make(std::string_view c, std::uint64_t seed, std::int64_t) override {
        return std::make_unique<breaker_consecutive::consecutive>(breaker_consecutive::rules::from(c), seed);
    }
    bool thread_safe() const override { return true; }
};
class windowed final : public holdfast::sdk::breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<holdfast::sdk::breaker_policy> make(std::string_view c, std::uint64_t seed, std::int64_t) override {
        return std::make_unique<breaker_window::rate_breaker>(breaker_window::rules::from(c), seed);
    }
};

const void* nothing(void*, hf_str) { return nullptr; }
const hf_host no_host{sizeof(hf_host), HF_ABI_VERSION, nullptr, nullptr, {"bench", 5}, &nothing};

template <class Plugin>
struct opened {
    holdfast::sdk::host h{&no_host};
    Plugin p{h, "{}"};
    const hf_breaker* table = static_cast<const hf_breaker*>(p.find_ext(HF_EXT_BREAKER));
    void* self = static_cast<holdfast::sdk::plugin*>(&p);
    void* b = nullptr;
    opened() {
        hf_error err = holdfast::sdk::empty_error();
        if (table->open(self, holdfast::sdk::bytes("{}"), 1, 0, &b, &err) != HF_OK) std::abort();
    }
    ~opened() { table->close(self, b); }
};

template <class Plugin>
opened<Plugin>& shared() {
    static opened<Plugin> one;
    return one;
}

template <class Plugin>
void closed_success(benchmark::State& state) {
    auto& o = shared<Plugin>();
    for (auto _ : state) {
        hf_permit p{};
        p.size = sizeof p;
        o.table->permit(o.self, o.b, 1, &p);
        o.table->report(o.self, o.b, p.generation, HF_OUTCOME_SUCCESS, 1, 1);
        benchmark::DoNotOptimize(p);
    }
    state.SetItemsProcessed(state.iterations());
}

void closed_failure_then_success(benchmark::State& state) {
    opened<direct> o;
    int i = 0;
    for (auto _ : state) {
        hf_permit p{};
        p.size = sizeof p;
        o.table->permit(o.self, o.b, 1, &p);
        o.table->report(o.self, o.b, p.generation, ++i & 1 ? HF_OUTCOME_FAILURE : HF_OUTCOME_SUCCESS, 1, 1);
    }
    state.SetItemsProcessed(state.iterations());
}

void open_rejecting(benchmark::State& state) {
    static opened<direct>& o = *[] {
        auto* made = new opened<direct>;
        made->table->force(made->self, made->b, HF_BREAKER_OPEN, 0);
        return made;
    }();
    for (auto _ : state) {
        hf_permit p{};
        p.size = sizeof p;
        o.table->permit(o.self, o.b, 1, &p);
        if (p.granted) state.SkipWithError("it is not open");
        benchmark::DoNotOptimize(p);
    }
    state.SetItemsProcessed(state.iterations());
}

/// The same two calls as a server's actor makes them: the plugin looked up anew, each call crash-marked.
void as_a_server_calls(benchmark::State& state) {
    using namespace holdfast;
    auto& o = shared<direct>();
    const auto lease = std::make_shared<int>();  // second owner: the policy's binding
    servers::breaker_policy policy([&](const std::string&) { return result<plugins::bound<hf_breaker>>({o.table, o.self, lease}); }, "direct", json::object(), 1);
    const steady_time now{nanoseconds(1)};
    for (auto _ : state) {
        auto p = policy.ask(now);
        policy.report(p->generation, HF_OUTCOME_SUCCESS, nanoseconds(1), now);
        benchmark::DoNotOptimize(p);
    }
    state.SetItemsProcessed(state.iterations());
}

BENCHMARK(as_a_server_calls)->Name("breaker_closed_success_as_a_server");
BENCHMARK(closed_success<direct>)->Name("breaker_closed_success")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(closed_failure_then_success)->Name("breaker_closed_failure_success");
BENCHMARK(open_rejecting)->Name("breaker_open_rejecting")->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(closed_success<windowed>)->Name("breaker_window_closed_success");

}  // namespace

int main(int argc, char** argv) { return holdfast::bench::run_and_report(argc, argv); }
