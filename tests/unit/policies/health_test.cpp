#include "health-phi/phi.hpp"
#include "health-threshold/threshold.hpp"
#include "unit/policies/support.hpp"

namespace {

using policies_test::begin;
using policies_test::s;

template <class Monitor>
struct watched {
    Monitor m;
    std::int64_t now = begin;
    explicit watched(std::string_view config = "{}", std::uint64_t seed = 7) : m(config, seed, begin) {}

    hf_health_verdict verdict() {
        hf_health_verdict v{};
        m.verdict(now, v);
        return v;
    }
    int state() { return verdict().state; }
    void sample(int kind, bool ok, int fault = HF_FAULT_REMOTE, double memory = std::nan(""), std::int64_t latency = 1'000'000) {
        m.observe({sizeof(hf_health_sample), kind, ok, ok ? int{HF_FAULT_NONE} : fault, latency, now, memory, std::nan(""), std::nan("")});
    }
    void probe(bool ok, int fault = HF_FAULT_REMOTE) { sample(HF_SAMPLE_ACTIVE, ok, fault); }
    void call(bool ok, int fault = HF_FAULT_REMOTE) { sample(HF_SAMPLE_PASSIVE, ok, fault); }
    void at_next() { now = std::max(now + 1, verdict().next_check_ns); }
};
using threshold = watched<health_threshold::threshold>;
using phi = watched<health_phi::phi>;

TEST(health_threshold, H1_thresholds_count_in_a_row) {
    threshold h(R"({"failure_threshold":3,"success_threshold":2})");
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
    h.probe(false), h.probe(false), h.probe(true), h.probe(false), h.probe(false);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
    h.probe(false);
    EXPECT_EQ(h.state(), HF_HEALTH_DOWN);
    EXPECT_STREQ(h.verdict().reason, "3 health checks in a row failed");
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_DOWN);
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
}

TEST(health_threshold, H1_while_starting_failures_do_not_make_it_down) {
    threshold h(R"({"startup_grace_s":60})");
    h.probe(false);
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
    EXPECT_STREQ(h.verdict().reason, "it is starting");
    h.now += 60 * s;
    h.probe(false);
    EXPECT_EQ(h.state(), HF_HEALTH_DOWN);
    threshold was_up(R"({"startup_grace_s":60})");
    was_up.probe(true), was_up.probe(false);
    EXPECT_EQ(was_up.state(), HF_HEALTH_DOWN) << "the grace ends with the first success";
}

TEST(health_threshold, H1_probes_start_spread_and_follow_the_interval) {
    std::set<std::int64_t> starts;
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        threshold h("{}", seed);
        const auto first = h.verdict().next_check_ns;
        EXPECT_GE(first, begin);
        EXPECT_LE(first, begin + 25 * s) << "it may take 5 s, and silence is known within 30";
        starts.insert(first / s);
        h.probe(true);
        EXPECT_GE(h.verdict().next_check_ns, h.now + 22 * s);
        EXPECT_LE(h.verdict().next_check_ns, h.now + 25 * s);
    }
    EXPECT_GT(starts.size(), 10u) << "all begin at once";
}

TEST(health_threshold, H1_a_check_ends_within_the_interval_whatever_the_jitter) {
    for (const auto& [config, interval, timeout] : {std::tuple{R"({"jitter":0.9})", 30, 5}, {R"({"interval_s":10,"timeout_s":4,"jitter":0.5})", 10, 4}, {R"({"interval_s":60,"timeout_s":30})", 60, 30}})
        for (std::uint64_t seed = 0; seed < 50; ++seed) {
            threshold h(config, seed);
            for (int i = 0; i < 20; ++i) {
                EXPECT_LE(h.verdict().next_check_ns + h.verdict().probe_timeout_ns, h.now + interval * s) << config;
                EXPECT_EQ(h.verdict().probe_timeout_ns, timeout * s);
                h.at_next();
                h.probe(true);
            }
        }
}

TEST(health_threshold, H1_an_interval_shorter_than_two_timeouts_is_at_most_halved) {
    for (const char* config : {R"({"interval_s":2,"jitter":0})", R"({"interval_s":2,"timeout_s":1.5,"jitter":0})"}) {
        threshold h(config);
        h.probe(true);
        EXPECT_EQ(h.verdict().next_check_ns, h.now + 1 * s) << config;
    }
}

TEST(health_threshold, H1_in_doubt_it_asks_again_sooner) {
    threshold h(R"({"failure_threshold":3,"jitter":0})");
    h.probe(true), h.probe(false);
    EXPECT_EQ(h.verdict().next_check_ns, h.now + 5 * s);
    EXPECT_EQ(h.verdict().probe_timeout_ns, 5 * s);
}

TEST(health_threshold, H2_calls_that_succeed_do_not_hide_failing_probes) {
    threshold h;
    h.probe(true), h.probe(false);
    for (int i = 0; i < 100; ++i) h.call(true);
    EXPECT_EQ(h.state(), HF_HEALTH_DOWN);
}

TEST(health_threshold, H2_calls_that_fail_degrade_it_and_bring_the_probe_forward_but_only_probes_say_down) {
    threshold h;
    h.probe(true);
    for (int i = 0; i < 3; ++i) h.call(false);
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
    EXPECT_LE(h.verdict().next_check_ns, h.now + s);
    for (int i = 0; i < 1000; ++i) h.call(false);
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED) << "a probe says nothing about the calls";
    h.call(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
}

TEST(health_threshold, H2_failed_calls_of_long_ago_are_forgotten) {
    threshold h;
    h.probe(true);
    for (int i = 0; i < 3; ++i) h.call(false);
    h.now += 150 * s;
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
}

TEST(health_threshold, H2_faults_of_our_own_never_make_it_down) {
    threshold h;
    h.probe(true);
    for (int i = 0; i < 50; ++i) h.probe(false, HF_FAULT_LOCAL), h.call(false, HF_FAULT_LOCAL);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
    EXPECT_STREQ(h.verdict().reason, "100 checks or calls failed on our side");
    threshold doubted(R"({"failure_threshold":2})");
    doubted.probe(true), doubted.probe(false), doubted.probe(false, HF_FAULT_LOCAL), doubted.probe(false);
    EXPECT_EQ(doubted.state(), HF_HEALTH_DOWN) << "a fault of ours broke the row";
}

TEST(health_threshold, H3_after_a_reset_nothing_of_before_counts) {
    threshold h(R"({"success_threshold":2})");
    h.probe(true), h.probe(true);
    ASSERT_EQ(h.state(), HF_HEALTH_UP);
    h.m.reset(h.now);
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
}

TEST(health_threshold, too_much_of_something_degrades) {
    threshold h(R"({"memory_mb":100,"latency_ms":50})");
    h.sample(HF_SAMPLE_ACTIVE, true, 0, 200.0 * (1 << 20));
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
    EXPECT_STREQ(h.verdict().reason, "the memory is 200 MiB, above the limit of 100 MiB");
    h.sample(HF_SAMPLE_ACTIVE, true, 0, 50.0 * (1 << 20));
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
    for (int i = 0; i < 20; ++i) h.sample(HF_SAMPLE_PASSIVE, true, 0, std::nan(""), 80'000'000);
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
}

TEST(health_threshold, each_limit_is_its_own_and_says_what_was_too_much) {
    const auto sampled = [](const char* limits, double cpu, double queue) {
        threshold h(limits);
        h.m.observe({sizeof(hf_health_sample), HF_SAMPLE_ACTIVE, true, HF_FAULT_NONE, 1'000'000, h.now, std::nan(""), cpu, queue});
        return std::pair<int, std::string>(h.state(), h.verdict().reason);
    };
    EXPECT_EQ(sampled(R"({"cpu_percent":50})", 80, 0).first, HF_HEALTH_DEGRADED);
    EXPECT_NE(sampled(R"({"cpu_percent":50})", 80, 0).second.find("80"), std::string::npos);
    EXPECT_EQ(sampled(R"({"cpu_percent":50})", 20, 900).first, HF_HEALTH_UP);
    EXPECT_EQ(sampled(R"({"queue_length":10})", 90, 11).first, HF_HEALTH_DEGRADED);
    EXPECT_NE(sampled(R"({"queue_length":10})", 90, 11).second.find("11"), std::string::npos);
    EXPECT_EQ(sampled(R"({"queue_length":10})", 90, 10).first, HF_HEALTH_UP);
    EXPECT_EQ(sampled(R"({})", 400, 900).first, HF_HEALTH_UP) << "no limit by default";
}

TEST(health_phi, phi_is_the_likelihood_of_the_silence) {
    health_phi::arrivals a(100, 10, 1);
    EXPECT_NEAR(a.phi(10), 0.301, 0.001);   // half of them come later than the mean
    EXPECT_NEAR(a.phi(13), 2.870, 0.001);   // three deviations
    EXPECT_NEAR(a.phi(16), 9.006, 0.001);   // six
    EXPECT_EQ(a.phi(1e9), health_phi::largest_phi);
    EXPECT_GE(a.phi(0), 0);
}

TEST(health_phi, H1_regular_successes_keep_it_up_and_missing_ones_take_it_down) {
    phi h;
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
    for (int i = 0; i < 50; ++i) {
        h.at_next();
        EXPECT_NE(h.state(), HF_HEALTH_DOWN) << "just before probe " << i;
        h.probe(true);
        ASSERT_EQ(h.state(), HF_HEALTH_UP);
    }
    h.at_next();
    h.probe(false);
    EXPECT_NE(h.state(), HF_HEALTH_DOWN) << "one lost probe at the usual time is no proof";
    const auto lost = h.now;
    while (h.state() != HF_HEALTH_DOWN && h.now < lost + 3600 * s) {
        h.at_next();
        h.probe(false);
    }
    EXPECT_LE(h.now, lost + 60 * s);
    EXPECT_GE(h.verdict().score, 8);
    h.at_next();
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
}

TEST(health_phi, silence_without_a_failed_probe_degrades_at_most) {
    phi h;
    for (int i = 0; i < 20; ++i) h.at_next(), h.probe(true);
    h.now += 24 * 3600 * s;  // the machine slept
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
    h.probe(true);
    EXPECT_EQ(h.state(), HF_HEALTH_UP);
}

TEST(health_phi, an_irregular_thing_gets_more_time) {
    const auto down_after = [](bool irregular) {
        phi h(R"({"jitter":0})");
        h.probe(true);
        for (int i = 0; i < 60; ++i) {
            h.now += (irregular && i % 2 ? 90 : 30) * s;
            h.probe(true);
        }
        const auto last = h.now;
        while (h.state() != HF_HEALTH_DOWN && h.now < last + 3600 * s) {
            h.now += s;
            h.probe(false);
        }
        return (h.now - last) / s;
    };
    EXPECT_GT(down_after(true), 2 * down_after(false));
}

TEST(health_phi, H2_calls_and_faults_of_our_own_are_kept_apart) {
    phi h;
    for (int i = 0; i < 20; ++i) h.at_next(), h.probe(true);
    for (int i = 0; i < 10; ++i) {
        h.now += 30 * s;
        h.probe(false, HF_FAULT_LOCAL);
    }
    EXPECT_NE(h.state(), HF_HEALTH_DOWN);
    h.probe(true);
    for (int i = 0; i < 3; ++i) h.call(false);
    EXPECT_EQ(h.state(), HF_HEALTH_DEGRADED);
    h.call(true);
    for (int i = 0; i < 5; ++i) {
        h.now += 30 * s;
        h.probe(false);
        h.call(true);
    }
    EXPECT_EQ(h.state(), HF_HEALTH_DOWN);
}

TEST(health_phi, H3_after_a_reset_nothing_of_before_counts) {
    phi h;
    for (int i = 0; i < 20; ++i) h.at_next(), h.probe(true);
    h.m.reset(h.now);
    EXPECT_EQ(h.state(), HF_HEALTH_UNKNOWN);
}

}  // namespace
