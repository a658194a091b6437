// W1, publish/subscribe: T topics with S subscribers each, a publisher that sends M messages to every topic round robin,
// subscribers that check that the index is exactly 0,1,2,… Window 0: the publisher never waits for acknowledgements (the
// ring is bounded: it waits when the slowest cursor is a whole ring behind). Window 100: after every 100 rounds it waits
// until all subscribers have acknowledged. Publishers and subscribers are actors on a pool of two threads; publishing is
// by topic name, or by the handle of a topic that was looked up once. Prints one RESULT line per case, as the peers' drivers do. Environment: DELIVERIES (1,000,000), REPS (5).
#include <benchmark/benchmark.h>
#include <time.h>

#include <array>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <thread>

#include "kernel/events/bus.hpp"

using namespace holdfast;
using steady = std::chrono::steady_clock;

namespace {

struct chunk_message {
    std::array<char, 16> session_id;
    std::array<char, 16> message_id;
    std::array<char, 20> chunk;
    std::int64_t index;
    void append_fields(std::string& out) const { out += "\"index\":" + std::to_string(index); }
    std::size_t bytes() const { return 0; }
};

chunk_message make_message(std::int64_t i) {
    chunk_message m{};
    std::memcpy(m.session_id.data(), "sess-00000000001", 16);
    std::memcpy(m.message_id.data(), "msg-000000000001", 16);
    std::memcpy(m.chunk.data(), "chunk of text ", 14);
    for (int b = 0; b < 6; ++b) m.chunk[14 + b] = static_cast<char>(i >> (8 * (5 - b)));
    m.index = i;
    return m;
}

std::int64_t env_int(const char* name, std::int64_t fallback) {
    const char* s = std::getenv(name);
    return s ? std::atoll(s) : fallback;
}

double cpu_ns() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

template <class T>
T median(std::vector<T> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

/// The least a pool of actors needs: a queue of those that have something to do. (The host's own scheduler is measured by W4.)
class pool {
  public:
    struct actor {
        virtual ~actor() = default;
        virtual void run(pool& p) = 0;
    };
    explicit pool(int threads) {
        for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
    }
    ~pool() {
        {
            const std::lock_guard lock(m_);
            stop_ = true;
        }
        cv_.notify_all();
        for (auto& t : threads_) t.join();
    }
    void post(actor& a) {
        bool sleeper = false;
        {
            const std::lock_guard lock(m_);
            queue_.push_back(&a);
            waiting_.store(queue_.size(), std::memory_order_relaxed);
            sleeper = asleep_ > 0;
        }
        if (sleeper) cv_.notify_one();
    }

    /// For actors that look for more without being woken: they run when nothing else does, and not before a microsecond
    /// or so has passed, for reading a log that another core is writing to stalls both for some hundred nanoseconds.
    void post_later(actor& a) {
        const std::lock_guard lock(m_);
        later_.push_back(&a);
    }

  private:
    static constexpr int spins = 2000;  // some tens of microseconds before going to sleep
    static constexpr auto moderation = std::chrono::nanoseconds(1500);
    void work() {
        for (;;) {
            for (int i = 0; i < spins && waiting_.load(std::memory_order_relaxed) == 0; ++i) {
                if (i == 0 && recall()) break;
                __builtin_ia32_pause();
            }
            actor* a = nullptr;
            {
                std::unique_lock lock(m_);
                ++asleep_;
                cv_.wait(lock, [&] { return stop_ || !queue_.empty(); });
                --asleep_;
                if (queue_.empty()) return;
                a = queue_.front();
                queue_.pop_front();
                waiting_.store(queue_.size(), std::memory_order_relaxed);
            }
            a->run(*this);
        }
    }
    bool recall() {
        {
            const std::lock_guard lock(m_);
            if (later_.empty()) return false;
        }
        const auto until = steady::now() + moderation;
        while (steady::now() < until) __builtin_ia32_pause();
        const std::lock_guard lock(m_);
        queue_.insert(queue_.end(), later_.begin(), later_.end());
        later_.clear();
        waiting_.store(queue_.size(), std::memory_order_relaxed);
        return true;
    }
    std::mutex m_;
    std::condition_variable cv_;
    std::deque<actor*> queue_;
    std::vector<actor*> later_;
    std::atomic<std::size_t> waiting_{0};
    int asleep_ = 0;
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

struct w1 {
    int topics, subs, window;
    std::int64_t messages;
    bool by_handle = false;

    struct outcome {
        double wall_ns, cpu_ns;
        std::int64_t errors;
    };

    struct publisher;
    struct subscriber final : pool::actor {
        events::subscription sub;
        publisher* pub = nullptr;
        std::int64_t seen = 0, errors = 0;
        int idle_turns = 0;
        void run(pool& p) override;
    };

    struct publisher final : pool::actor {
        const w1* job = nullptr;
        events::bus* bus = nullptr;
        std::vector<std::string> names;
        std::vector<events::topic_handle> handles;
        std::int64_t round = 0;
        std::atomic<std::int64_t> acks{0};
        std::atomic<std::int64_t> unfinished{0};
        std::atomic<bool> done{false};
        void run(pool&) override {
            const std::int64_t stop = job->window ? std::min<std::int64_t>(round + job->window, job->messages) : job->messages;
            // Published before the work: the last acknowledgement of this window may arrive while it is being sent.
            std::int64_t i = round;
            round = stop;
            for (; i < stop; ++i) {
                const chunk_message m = make_message(i);
                if (job->by_handle) {
                    for (const auto& h : handles) h.publish("chunk", m);
                } else {
                    for (const auto& n : names) bus->publish(n, "chunk", m);
                }
            }
        }
    };

    outcome run() const;
};

void w1::subscriber::run(pool& p) {
    constexpr int turn = 16;  // batches, then the others
    // Not armed at once when there is nothing: a wake per event costs far more than some idle turns, see
    // subscription::more(). (Schedulers of the peer spin likewise.)
    constexpr int patience = 4;
    if (sub.more()) {
        idle_turns = 0;
    } else if (++idle_turns < patience && seen < pub->job->messages) {
        return p.post_later(*this);
    }
    for (int k = 0; k < turn; ++k) {
        if (k > 0 && !sub.more()) return p.post_later(*this);
        const events::batch b = sub.next(64);
        if (b.empty()) return;
        if (b.note) {
            ++errors;
            pub->done = true;
            pub->done.notify_all();
            return;
        }
        for (const events::event& e : b.events) {
            const auto* m = e->payload_as<chunk_message>();
            errors += m->index != seen;
            ++seen;
            const int window = pub->job->window;
            if (window > 0 && seen % window == 0 && seen < pub->job->messages) {
                const std::int64_t all = static_cast<std::int64_t>(pub->job->topics) * pub->job->subs;
                if (pub->acks.fetch_add(1) + 1 == all) {
                    pub->acks = 0;
                    p.post(*pub);
                }
            }
        }
        if (seen == pub->job->messages && pub->unfinished.fetch_sub(1) == 1) {
            pub->done = true;
            pub->done.notify_all();
        }
    }
    p.post(*this);
}

w1::outcome w1::run() const {
    events::bus bus;
    publisher pub;
    pub.job = this;
    pub.bus = &bus;
    pub.unfinished = static_cast<std::int64_t>(topics) * subs;
    std::vector<std::unique_ptr<subscriber>> all;
    pool workers(2);
    for (int t = 0; t < topics; ++t) {
        pub.names.push_back("topic:" + std::to_string(t + 1));
        pub.handles.push_back(bus.topic(pub.names.back()));
        for (int s = 0; s < subs; ++s) {
            all.push_back(std::make_unique<subscriber>());
            subscriber& me = *all.back();
            me.pub = &pub;
            events::subscribe_options o;
            o.policy = window ? events::overflow::disconnect : events::overflow::lossless;
            o.wake = [&workers, &me] { workers.post(me); };
            me.sub = bus.subscribe(pub.names.back(), std::move(o));
        }
    }
    const double c0 = cpu_ns();
    const auto t0 = steady::now();
    workers.post(pub);
    pub.done.wait(false);
    const auto t1 = steady::now();
    const double c1 = cpu_ns();
    std::int64_t errors = 0;
    for (auto& s : all) {
        s->sub.unsubscribe();
        errors += s->errors + (s->seen != messages);
    }
    return {static_cast<double>((t1 - t0).count()), c1 - c0, errors};
}

void throughput(benchmark::State& state, bool by_handle) {
    w1 job;
    job.topics = static_cast<int>(state.range(0));
    job.subs = static_cast<int>(state.range(1));
    job.window = static_cast<int>(state.range(2));
    job.by_handle = by_handle;
    const std::int64_t total = env_int("DELIVERIES", 1'000'000);
    job.messages = std::max<std::int64_t>(total / (static_cast<std::int64_t>(job.topics) * job.subs), 200);
    const double deliveries = static_cast<double>(job.messages) * job.topics * job.subs;
    std::vector<double> rates, cpu;
    for (auto _ : state) {
        const auto r = job.run();
        if (r.errors) {
            state.SkipWithError("order errors: the run is void");
            return;
        }
        state.SetIterationTime(r.wall_ns / 1e9);
        rates.push_back(deliveries * 1e9 / r.wall_ns);
        cpu.push_back(r.cpu_ns / deliveries);
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(deliveries) * state.iterations());
    state.counters["cpu_ns"] = median(cpu);
    std::printf(
        "RESULT pubsub mode=%s topics=%d subs_per_topic=%d msgs_per_topic=%lld window=%d delivered_per_s_median=%.0f "
        "min=%.0f max=%.0f cpu_ns_per_delivery=%.1f order_errors=0\n",
        by_handle ? "holdfast_handle" : "holdfast", job.topics, job.subs, static_cast<long long>(job.messages), job.window,
        median(rates), *std::min_element(rates.begin(), rates.end()), *std::max_element(rates.begin(), rates.end()),
        median(cpu));
    std::fflush(stdout);
}

/// One message in flight between a publishing and a receiving actor; from before the publish call to receipt. One thread:
/// both actors share a worker, as two processes on one scheduler do. Two: the receiver spins on a worker of its own.
void latency(benchmark::State& state) {
    const bool two_threads = state.range(0) == 2;
    constexpr int warm_up = 2'000, samples = 20'000;
    struct stamp {
        steady::time_point t;
        void append_fields(std::string&) const {}
        std::size_t bytes() const { return 0; }
    };
    std::vector<std::int64_t> ns;
    for (auto _ : state) {
        events::bus bus;
        ns.clear();
        std::atomic<int> received{0};
        struct receiver final : pool::actor {
            events::subscription sub;
            std::vector<std::int64_t>* ns = nullptr;
            std::atomic<int>* received = nullptr;
            pool::actor* sender = nullptr;
            void run(pool& p) override {
                for (events::batch b = sub.next(64); !b.empty(); b = sub.next(64))
                    for (const auto& e : b.events) {
                        ns->push_back((steady::now() - e->payload_as<stamp>()->t).count());
                        if (sender) p.post(*sender);
                        received->fetch_add(1, std::memory_order_release);
                    }
            }
        } rx;
        struct sender_actor final : pool::actor {
            events::bus* bus = nullptr;
            int sent = 0;
            std::atomic<bool> done{false};
            void run(pool&) override {
                if (sent == warm_up + samples) {
                    done = true;
                    done.notify_all();
                    return;
                }
                ++sent;
                bus->publish("lat", "lat", stamp{steady::now()});
            }
        } tx;
        tx.bus = &bus;
        rx.ns = &ns;
        rx.received = &received;
        const auto t0 = steady::now();
        {
            pool workers(1);
            events::subscribe_options o;
            o.wake = [&] { workers.post(rx); };
            rx.sub = bus.subscribe("lat", std::move(o));
            if (two_threads) {
                for (int i = 0; i < warm_up + samples; ++i) {
                    bus.publish("lat", "lat", stamp{steady::now()});
                    while (received.load(std::memory_order_acquire) <= i) __builtin_ia32_pause();
                }
            } else {
                rx.sender = &tx;
                workers.post(tx);
                tx.done.wait(false);
            }
        }
        rx.sub.unsubscribe();
        state.SetIterationTime(std::chrono::duration<double>(steady::now() - t0).count());
        ns.erase(ns.begin(), ns.begin() + warm_up);
        std::sort(ns.begin(), ns.end());
    }
    const auto pct = [&](double p) { return static_cast<long long>(ns[static_cast<std::size_t>(p * (ns.size() - 1))]); };
    state.counters["p50_ns"] = static_cast<double>(pct(0.5));
    state.counters["p99_ns"] = static_cast<double>(pct(0.99));
    std::printf("RESULT pubsub_latency_ns mode=%s n=%zu p50=%lld p99=%lld p999=%lld max=%lld\n",
                two_threads ? "holdfast_two_threads" : "holdfast", ns.size(), pct(0.5), pct(0.99), pct(0.999), pct(1.0));
    std::fflush(stdout);
}

/// What publishing costs when nobody watches, and what the text of an event costs its first reader.
void publish_unwatched(benchmark::State& state) {
    events::bus bus;
    const chunk_message m = make_message(1);
    for (auto _ : state) benchmark::DoNotOptimize(bus.publish("topic:1", "chunk", m));
}

void publish_json_and_serialise(benchmark::State& state) {
    events::bus bus;
    auto sub = bus.subscribe("session:1");
    const json payload{{"session_id", "sess-00000000001"}, {"message_id", "msg-000000000001"}, {"chunk", "chunk of text"}};
    for (auto _ : state) {
        bus.publish("session:1", "StreamChunkReceived", payload);
        for (const auto& e : sub.next(1).events) benchmark::DoNotOptimize(e->text().size());
    }
}

}  // namespace

int main(int argc, char** argv) {
    const auto reps = static_cast<std::int64_t>(env_int("REPS", 5));
    for (const bool by_handle : {false, true}) {
        auto* b = benchmark::RegisterBenchmark(by_handle ? "W1/handle" : "W1", throughput, by_handle);
        for (const auto& [topics, subs] : {std::pair{1, 1}, {1, 10}, {1, 100}, {1, 1000}, {1000, 1}}) {
            for (const int window : {0, 100}) b->Args({topics, subs, window});
        }
        b->ArgNames({"topics", "subs", "window"})->UseManualTime()->Iterations(reps)->Unit(benchmark::kMillisecond);
    }
    benchmark::RegisterBenchmark("W1/latency", latency)
        ->ArgName("threads")->Arg(1)->Arg(2)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark("publish_unwatched", publish_unwatched);
    benchmark::RegisterBenchmark("publish_json_and_serialise", publish_json_and_serialise);
    benchmark::Initialize(&argc, argv);
    benchmark::RunSpecifiedBenchmarks();
}
