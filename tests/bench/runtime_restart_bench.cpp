// W2 (crash to answered call, actors and threads) and W5 (operating-system child).
#include <signal.h>

#include "bench/runtime_bench_common.hpp"
#include "kernel/supervise/process.hpp"
#include "kernel/supervise/worker_thread.hpp"

namespace holdfast::bench {
namespace {

class driver;

class victim final : public actor {
  public:
    victim(runtime& rt, std::string id, ref<driver> d) : actor(rt), id_(std::move(id)), driver_(std::move(d)) {}
    void on_start() override;
    int ping() const { return 1; }

  private:
    std::string id_;
    ref<driver> driver_;
};

/// Crashes, waits for "up" from every child of the group, calls each by name.
class driver final : public actor {
  public:
    driver(runtime& rt, name_registry& names, std::string first, std::vector<std::string> group, std::size_t samples_wanted, latch& done)
        : actor(rt), names_(names), first_(std::move(first)), group_(std::move(group)), wanted_(samples_wanted), done_(done) {}
    void crash() {
        up_ = answered_ = 0;
        armed_ = true;
        auto v = names_.find_as<victim>(first_);
        (void)v->tell([this](victim&) {
            t0 = ns_now();
            throw std::runtime_error("boom");
        });
    }
    void up() {
        if (!armed_ || ++up_ != group_.size()) return;
        for (const auto& id : group_)
            names_.find_as<victim>(id)->call([](victim& v) { return v.ping(); }, [self = ref<driver>::share(this)](result<int>) {
                (void)self.tell([](driver& d) { d.answered(); });
            });
    }
    void answered() {
        if (++answered_ != group_.size()) return;
        taken.ns.push_back(ns_now() - t0);
        if (taken.ns.size() == wanted_) {
            armed_ = false;
            return done_.open();
        }
        crash();
    }
    std::int64_t t0 = 0;
    samples taken;

  private:
    name_registry& names_;
    std::string first_;
    std::vector<std::string> group_;
    std::size_t wanted_, up_ = 0, answered_ = 0;
    bool armed_ = false;
    latch& done_;
};

void victim::on_start() {
    (void)driver_.tell([](driver& d) { d.up(); });
}

/// children: how many live children; group: how many of them restart together.
void restart(benchmark::State& state, const std::string& name, std::size_t children, strategy how, bool dynamic, std::size_t n, seconds window) {
    for (auto _ : state) {
        pool_runtime rt;
        name_registry names;
        latch done;
        std::vector<std::string> group{"w-0"};
        if (how == strategy::one_for_all)
            for (std::size_t i = 1; i < children; ++i) group.push_back("w-" + std::to_string(i));
        constexpr std::size_t warm_up = 500;
        auto d = spawn<driver>(rt, names, "w-0", group, n + warm_up, done);
        auto o = endless(&names, how, window);
        o.rules.dynamic = dynamic;
        auto sup = supervisor::start(rt, "bench", std::move(o), {});
        for (std::size_t i = 0; i < children; ++i) {
            const auto id = "w-" + std::to_string(i);
            auto r = await<child_ref>(seconds(60), [&](auto reply) {
                sup->start_child(actor_child(id, "worker", [id, d](const child_context& c) -> result<actor_ref> { return actor_ref(make_actor<victim>(c.rt(), id, d)); }), std::move(reply));
            });
            if (!r) return state.SkipWithError(r.error().message.c_str());
        }
        const auto wall = ns_now(), cpu = cpu_ns();
        (void)d.tell([](driver& x) { x.crash(); });
        done.wait();
        state.SetIterationTime(static_cast<double>(ns_now() - wall) / 1e9);
        samples s = d->taken;
        // Flat in history: the last tenth beside the first.
        samples first{{s.ns.begin() + warm_up, s.ns.begin() + warm_up + static_cast<long>(n / 10)}}, last{{s.ns.end() - static_cast<long>(n / 10), s.ns.end()}};
        std::sort(first.ns.begin(), first.ns.end());
        std::sort(last.ns.begin(), last.ns.end());
        state.counters["first_tenth_p50_us"] = static_cast<double>(first.at(0.5)) / 1e3;
        state.counters["last_tenth_p50_us"] = static_cast<double>(last.at(0.5)) / 1e3;
        std::printf("RESULT restart_history case=%s first_tenth_p50=%lld last_tenth_p50=%lld first_tenth_p10=%lld last_tenth_p10=%lld\n", name.c_str(),
                    (long long)first.at(0.5), (long long)last.at(0.5), (long long)first.at(0.1), (long long)last.at(0.1));
        s.ns.erase(s.ns.begin(), s.ns.begin() + warm_up);
        s.report(state, "restart_ns case=" + name, (cpu_ns() - cpu) * static_cast<std::int64_t>(n) / static_cast<std::int64_t>(n + warm_up));
        sup->stop_and_wait(seconds(60));
        rt.stop(seconds(10));
    }
}

void W2_actor(benchmark::State& s) { restart(s, "one_for_one_throw_burst", 1, strategy::one_for_one, false, 10'000, seconds(1)); }
void W2_actor_window_3600(benchmark::State& s) { restart(s, "one_for_one_throw_burst_w3600", 1, strategy::one_for_one, false, 100'000, seconds(3600)); }
void W2_one_for_all_10(benchmark::State& s) { restart(s, "one_for_all_10", 10, strategy::one_for_all, false, 2'000, seconds(1)); }
void W2_dynamic_1(benchmark::State& s) { restart(s, "dynamic_1", 1, strategy::one_for_one, true, 10'000, seconds(1)); }
void W2_dynamic_10000(benchmark::State& s) { restart(s, "dynamic_10000", 10'000, strategy::one_for_one, true, 10'000, seconds(1)); }
BENCHMARK(W2_actor)->Iterations(1)->UseManualTime();
BENCHMARK(W2_actor_window_3600)->Iterations(1)->UseManualTime();
BENCHMARK(W2_one_for_all_10)->Iterations(1)->UseManualTime();
BENCHMARK(W2_dynamic_1)->Iterations(1)->UseManualTime();
BENCHMARK(W2_dynamic_10000)->Iterations(1)->UseManualTime();

void W2_thread(benchmark::State& state) {
    for (auto _ : state) {
        pool_runtime rt;
        // What the driver and the current incarnation share: a command word and an answer word.
        std::atomic<int> command{0}, up{0}, answers{0};
        std::atomic<std::int64_t> t0{0};
        std::vector<child_spec> children;
        children.push_back(thread_child("t", {}, [&](worker_signals& s) -> int {
            up.fetch_add(1);
            up.notify_all();
            while (!s.stop.load()) {
                command.wait(0);
                switch (command.exchange(0)) {
                    case 1: answers.fetch_add(1); answers.notify_all(); break;
                    case 2: t0 = ns_now(); throw std::runtime_error("boom");
                    case 3: return 0;
                }
            }
            return 0;
        }));
        auto sup = supervisor::start(rt, "bench", endless(nullptr), std::move(children));
        const auto order = [&](int what) {
            command = what;
            command.notify_all();
        };
        samples s;
        up.wait(0);
        constexpr int n = 5'000, warm_up = 200;
        const auto cpu = cpu_ns(), wall = ns_now();
        for (int i = 0; i < n + warm_up; ++i) {
            const int before_up = up, before = answers;
            order(2);
            up.wait(before_up);
            order(1);
            answers.wait(before);
            if (i >= warm_up) s.ns.push_back(ns_now() - t0);
        }
        state.SetIterationTime(static_cast<double>(ns_now() - wall) / 1e9);
        s.report(state, "restart_ns case=thread_throw_burst", cpu_ns() - cpu);
        sup->request_stop();
        order(3);
        sup->stop_and_wait(seconds(10));
    }
}
BENCHMARK(W2_thread)->Iterations(1)->UseManualTime();

void W5_cat(benchmark::State& state) {
    for (auto _ : state) {
        pool_runtime rt;
        process_spawner spawner(rt);
        std::atomic<int> lines{0}, exits{0};
        std::atomic<std::int64_t> heard{0}, noticed{0};
        process_options o;
        o.argv = {"cat"};
        o.environment = allowed_environment(default_environment_names());
        process_callbacks c;
        c.on_line = [&](std::string_view) { heard = ns_now(); lines.fetch_add(1); lines.notify_all(); };
        c.on_exit = [&](const process_exit&) { noticed = ns_now(); exits.fetch_add(1); exits.notify_all(); };
        samples detect, start, both;
        const auto cpu = cpu_ns(), wall = ns_now();
        std::shared_ptr<process> p;
        for (int i = 0; i < 1'000; ++i) {
            const int before_exit = exits, before_line = lines;
            std::int64_t killed = 0;
            if (p) {
                killed = ns_now();
                ::kill(static_cast<pid_t>(p->pid()), SIGKILL);
                exits.wait(before_exit);
                detect.ns.push_back(noticed - killed);
            }
            const auto begun = ns_now();
            auto r = spawner.spawn(o, c);
            if (!r) return state.SkipWithError(r.error().message.c_str());
            p = *r;
            (void)p->write("ping\n");
            lines.wait(before_line);
            start.ns.push_back(heard - begun);
            if (killed) both.ns.push_back(heard - killed);
        }
        state.SetIterationTime(static_cast<double>(ns_now() - wall) / 1e9);
        start.report(state, "os_child_start_to_echo_ns");
        detect.report(state, "os_child_kill_to_detect_ns");
        both.report(state, "os_child_kill_to_echo_ns", cpu_ns() - cpu);
    }
}
BENCHMARK(W5_cat)->Iterations(1)->UseManualTime();

}  // namespace
}  // namespace holdfast::bench
