// What a call into a plugin costs: raw function pointer, pinned and crash-marked, marked with a lease, resolved anew; and a whole
// asynchronous call through a call_port. Goal: pinned and crash-marked at most 10 ns.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>

#include "holdfast/ext/breaker.h"
#include "kernel/plugins/call_port.hpp"
#include "kernel/plugins/pin.hpp"
#include "result_reporter.hpp"

namespace {

using namespace holdfast;
using namespace holdfast::plugins;

__attribute__((noinline)) void permit(void*, void* breaker, std::int64_t now, hf_permit* out) {
    out->granted = now >= *static_cast<std::int64_t*>(breaker);
}

struct stage {
    hf_breaker table{};
    std::int64_t limit = 0;
    binding at{&table, nullptr};
    std::shared_ptr<call_gate> gate = std::make_shared<call_gate>();
    std::shared_ptr<crash_marks> marks;
    stage() {
        table.size = sizeof table;
        table.permit = permit;
        gate->current = &at;
        auto name = (std::filesystem::temp_directory_path() / "hf-bench-XXXXXX").string();
        dir = mkdtemp(name.data());
        marks = crash_marks::open(dir).value();
    }
    ~stage() { std::filesystem::remove_all(dir); }
    std::filesystem::path dir;
};
stage& here() {
    static stage s;
    return s;
}

void raw_function_pointer(benchmark::State& state) {
    auto& s = here();
    hf_permit out{};
    auto* f = s.table.permit;
    benchmark::DoNotOptimize(f);
    for (auto _ : state) {
        f(nullptr, &s.limit, 1, &out);
        benchmark::DoNotOptimize(out.granted);
    }
}
BENCHMARK(raw_function_pointer)->ThreadRange(1, 2)->UseRealTime();

void pinned_and_marked(benchmark::State& state) {
    auto& s = here();
    fast_port<hf_breaker> port(s.gate);
    hf_permit out{};
    for (auto _ : state) {
        if (auto p = port.pin()) p->permit(p.self(), &s.limit, 1, &out);
        benchmark::DoNotOptimize(out.granted);
    }
}
BENCHMARK(pinned_and_marked)->ThreadRange(1, 2)->UseRealTime();

void marked_with_a_lease(benchmark::State& state) {
    auto& s = here();
    const bound<hf_breaker> b{&s.table, nullptr, std::shared_ptr<const void>(&s, [](const void*) {})};
    hf_permit out{};
    for (auto _ : state) {
        invoke(b, [&](const hf_breaker& t, void* self) { t.permit(self, &s.limit, 1, &out); });
        benchmark::DoNotOptimize(out.granted);
    }
}
BENCHMARK(marked_with_a_lease);

void retire_with_membarrier(benchmark::State& state) {
    auto& s = here();
    for (auto _ : state) benchmark::DoNotOptimize(is_pinned(reinterpret_cast<std::uint64_t>(&s.at)));
}
BENCHMARK(retire_with_membarrier);

constexpr char answer[] = R"({"ok":true})";
const hf_llm immediate{sizeof(hf_llm), 0,
                       [](void*, const hf_call* c, hf_error*) -> std::int32_t {
                           c->on_done(c->ctx, c->id, nullptr, {answer, sizeof answer - 1});
                           return HF_PENDING;
                       },
                       [](void*, std::uint64_t) {}};

void call_port_round_trip(benchmark::State& state) {
    (void)here();
    static supervise::manual_runtime rt;
    auto port = make_call_port(resolver<hf_llm>([]() -> result<bound<hf_llm>> { return bound<hf_llm>{&immediate, nullptr, {}}; }), rt, "bench");
    const json request{{"x", 1}};
    for (auto _ : state) port->submit("chat", request, milliseconds(0), {}, [](result<json> r) { benchmark::DoNotOptimize(r); });
}
BENCHMARK(call_port_round_trip);

}  // namespace

int main(int argc, char** argv) { return holdfast::bench::run_and_report(argc, argv); }
