// W3 (sessions: start, memory, fan-out, stop) and W4 (messaging). main() of the program.
#include <malloc.h>

#include "bench/runtime_bench_common.hpp"

namespace holdfast::bench {
namespace {

// ---- W3

struct session_message {
    char id[16];
    int role;
    std::string content;
    std::int64_t ts;
};

class session final : public actor {
  public:
    session(runtime& rt, const std::string& id, bool with_state) : actor(rt) {
        if (!with_state) return;
        session_id_ = id;
        user_id_ = "user-0000000001";
        messages_.reserve(8);
        for (int k = 0; k < 8; ++k) messages_.push_back({{}, k % 2, std::string(512, static_cast<char>('a' + k)), 1'700'000'000'000 + k});
    }
    std::int64_t seq = 8;

  private:
    std::string session_id_, user_id_;
    std::vector<session_message> messages_;
    int status_ = 0;
};

std::string session_name(std::size_t i) {
    char name[32];
    std::snprintf(name, sizeof name, "sess-%011zu", i);
    return name;
}

class session_driver final : public actor {
  public:
    session_driver(runtime& rt, ref<supervisor> sup, name_registry& names, std::size_t n, bool with_state, latch& done)
        : actor(rt, 1u << 20), sup_(std::move(sup)), names_(names), n_(n), with_state_(with_state), done_(done) {}
    void start_more() {
        while (asked_ < n_ && asked_ - started_ < window) {
            const auto id = session_name(asked_++);
            auto spec = actor_child(id, "session", [s = with_state_](const child_context& c) -> result<actor_ref> { return actor_ref(make_actor<session>(c.rt(), c.id(), s)); });
            spec.restart = restart_type::temporary;
            sup_->start_child(std::move(spec), [self = ref<session_driver>::share(this)](result<child_ref> r) {
                (void)self.tell([ok = r.has_value()](session_driver& d) {
                    d.failed += !ok;
                    if (++d.started_ == d.n_) d.done_.open();
                    if (d.started_ % (window / 2) == 0) d.start_more();
                });
            });
        }
    }
    void call_next(latch& done) {
        if (called_ == n_) return done.open();
        names_.find_as<session>(session_name(called_++))->call([](session& s) { return s.seq; }, [self = ref<session_driver>::share(this), &done](result<std::int64_t>) {
            (void)self.tell([&done](session_driver& d) { d.call_next(done); });
        });
    }
    void fan_out(std::size_t rounds, latch& done) {
        acks_ = 0;
        round(rounds, done);
    }
    std::size_t failed = 0;

  private:
    static constexpr std::size_t window = 1000;
    struct chunk {
        char text[20];
    };
    void round(std::size_t left, latch& done) {
        if (left == 0) return done.open();
        expected_ += n_;
        for (std::size_t i = 0; i < n_; ++i) {
            if (targets_.size() < n_) targets_.push_back(*names_.find_as<session>(session_name(i)));
            (void)targets_[i].tell([self = ref<session_driver>::share(this), c = chunk{}, left, &done](session& s) {
                s.seq += static_cast<std::int64_t>(sizeof c.text);
                (void)self.tell([left, &done](session_driver& d) {
                    if (++d.acks_ == d.expected_) d.round(left - 1, done);
                });
            });
        }
    }
    ref<supervisor> sup_;
    name_registry& names_;
    std::size_t n_, asked_ = 0, started_ = 0, called_ = 0, acks_ = 0, expected_ = 0;
    bool with_state_;
    latch& done_;
    std::vector<ref<session>> targets_;
};

void sessions(benchmark::State& state, bool with_state) {
    const auto n = static_cast<std::size_t>(state.range(0));
    const std::string mode = std::string("mode=") + (with_state ? "state" : "bare") + " n=" + std::to_string(n);
    for (auto _ : state) {
        pool_runtime rt;
        name_registry names;
        latch started, called, fanned;
        auto o = endless(&names);
        o.rules.dynamic = true;
        auto sup = supervisor::start(rt, "sessions", std::move(o), {});
        auto d = spawn<session_driver>(rt, sup, names, n, with_state, started);
        malloc_trim(0);
        const auto rss = rss_bytes(), cpu = cpu_ns(), t = ns_now();
        (void)d.tell([](session_driver& x) { x.start_more(); });
        started.wait();
        const auto wall = ns_now() - t, used = cpu_ns() - cpu;
        malloc_trim(0);
        const auto bytes = (rss_bytes() - rss) / static_cast<std::int64_t>(n);
        if (d->failed) return state.SkipWithError("a session did not start");
        rate(state, "session_start " + mode, static_cast<std::int64_t>(n), wall, used);
        std::printf("RESULT session_memory %s rss_bytes_per=%lld object_bytes=%zu\n", mode.c_str(), (long long)bytes, sizeof(session));
        state.counters["rss_per_session"] = static_cast<double>(bytes);
        auto c0 = cpu_ns(), t0 = ns_now();
        (void)d.tell([&](session_driver& x) { x.call_next(called); });
        called.wait();
        std::printf("RESULT session_call_by_name %s per_s=%.0f cpu_ns=%lld\n", mode.c_str(), static_cast<double>(n) * 1e9 / static_cast<double>(ns_now() - t0), (long long)((cpu_ns() - c0) / (std::int64_t)n));
        const std::size_t rounds = std::max<std::size_t>(1, 400'000 / n);
        c0 = cpu_ns(), t0 = ns_now();
        (void)d.tell([&](session_driver& x) { x.fan_out(rounds, fanned); });
        fanned.wait();
        std::printf("RESULT session_fanout %s msg_per_s=%.0f cpu_ns_per_msg=%lld\n", mode.c_str(), static_cast<double>(n * rounds) * 1e9 / static_cast<double>(ns_now() - t0), (long long)((cpu_ns() - c0) / (std::int64_t)(n * rounds)));
        t0 = ns_now();
        const bool stopped = sup->stop_and_wait(seconds(120));
        std::printf("RESULT session_stop_all %s ms=%.1f ok=%d\n", mode.c_str(), static_cast<double>(ns_now() - t0) / 1e6, stopped);
        std::fflush(stdout);
        d = {};
    }
}
void W3_sessions_bare(benchmark::State& s) { sessions(s, false); }
void W3_sessions_state(benchmark::State& s) { sessions(s, true); }
BENCHMARK(W3_sessions_bare)->Arg(10'000)->Arg(100'000)->Iterations(1)->UseManualTime();
BENCHMARK(W3_sessions_state)->Arg(10'000)->Arg(100'000)->Iterations(1)->UseManualTime();

// ---- W4

class plain final : public actor {
  public:
    explicit plain(runtime& rt) : actor(rt, 1u << 22) {}
    std::int64_t count = 0, wanted = 0;
    ref<plain> next;
    latch* done = nullptr;
    samples rtt;
    std::int64_t t0 = 0;

    void pong() {
        if (++count == wanted) return done->open();
        (void)next.tell([](plain& p) { p.pong_back(); });
    }
    void pong_back() { (void)next.tell([](plain& p) { p.pong(); }); }
    void call_again() {
        t0 = ns_now();
        next.call([](plain& p) { return p.count; }, [self = ref<plain>::share(this)](result<std::int64_t>) {
            (void)self.tell([](plain& p) {
                p.rtt.ns.push_back(ns_now() - p.t0);
                if (++p.count == p.wanted) return p.done->open();
                p.call_again();
            });
        });
    }
    void token() {
        if (--count < 0) return done->open();
        (void)next.tell([](plain& p) { p.token(); });
    }
};

void W4_call_round_trip(benchmark::State& state) {
    for (auto _ : state) {
        pool_runtime rt;
        latch done;
        auto a = spawn<plain>(rt), b = spawn<plain>(rt);
        constexpr std::int64_t n = 300'000;
        const auto cpu = cpu_ns(), t = ns_now();
        (void)a.tell([&, b](plain& p) { p.next = b; p.wanted = n; p.done = &done; p.call_again(); });
        done.wait();
        rate(state, "call_round_trip", n, ns_now() - t, cpu_ns() - cpu);
        a->rtt.report(state, "call_rtt_ns");
        (void)a.tell([](plain& p) { p.next = {}; });
    }
}
BENCHMARK(W4_call_round_trip)->Iterations(1)->UseManualTime();

void W4_ping_pong(benchmark::State& state) {
    for (auto _ : state) {
        pool_runtime rt;
        latch done;
        auto a = spawn<plain>(rt), b = spawn<plain>(rt);
        constexpr std::int64_t n = 1'000'000;
        (void)b.tell([a](plain& p) { p.next = a; });
        const auto cpu = cpu_ns(), t = ns_now();
        (void)a.tell([&, b](plain& p) { p.next = b; p.wanted = n; p.done = &done; p.pong(); });
        done.wait();
        rate(state, "raw_ping_pong", n, ns_now() - t, cpu_ns() - cpu);
        (void)a.tell([](plain& p) { p.next = {}; });
        (void)b.tell([](plain& p) { p.next = {}; });
    }
}
BENCHMARK(W4_ping_pong)->Iterations(1)->UseManualTime();

void W4_one_way(benchmark::State& state) {
    const auto producers = state.range(0);
    for (auto _ : state) {
        pool_runtime rt;
        latch done;
        constexpr std::int64_t total = 1'000'000;
        auto sink = spawn<plain>(rt);
        (void)sink.tell([&](plain& p) { p.wanted = total / producers * producers; p.done = &done; });
        std::vector<ref<plain>> sources;
        for (std::int64_t i = 0; i < producers; ++i) sources.push_back(spawn<plain>(rt));
        const auto cpu = cpu_ns(), t = ns_now();
        for (auto& s : sources)
            (void)s.tell([sink, n = total / producers](plain&) {
                struct payload { char bytes[20]; };
                for (std::int64_t i = 0; i < n; ++i) (void)sink.tell([x = payload{}](plain& p) {
                    benchmark::DoNotOptimize(x);
                    if (++p.count == p.wanted) p.done->open();
                });
            });
        done.wait();
        rate(state, "one_way producers=" + std::to_string(producers), total, ns_now() - t, cpu_ns() - cpu);
    }
}
BENCHMARK(W4_one_way)->Arg(1)->Arg(2)->Arg(8)->Iterations(1)->UseManualTime();

void W4_ring_1000(benchmark::State& state) {
    for (auto _ : state) {
        pool_runtime rt;
        latch done;
        constexpr std::int64_t actors = 1000, rounds = 500;
        std::vector<ref<plain>> ring;
        for (std::int64_t i = 0; i < actors; ++i) ring.push_back(spawn<plain>(rt));
        for (std::int64_t i = 0; i < actors; ++i)
            (void)ring[i].tell([n = ring[(i + 1) % actors]](plain& p) { p.next = n; p.count = rounds; });
        const auto cpu = cpu_ns(), t = ns_now();
        (void)ring[0].tell([&](plain& p) {
            p.done = &done;
            p.token();
        });
        done.wait();
        rate(state, "ring_1000 hops", actors * rounds, ns_now() - t, cpu_ns() - cpu);
        for (auto& r : ring) (void)r.tell([](plain& p) { p.next = {}; });
        ring.clear();
    }
}
BENCHMARK(W4_ring_1000)->Iterations(1)->UseManualTime();

}  // namespace
}  // namespace holdfast::bench

BENCHMARK_MAIN();
