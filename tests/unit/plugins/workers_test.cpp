// Workers under the instance's strategy (S2), and workers that misbehave (T2).
#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

class workers : public plugin_host {
  protected:
    /// Lines "w1 1", "w1 end" … of three_workers.
    std::string runs() { return slurp(dir.path + "/runs"); }
    std::size_t count(const std::string& line) {
        const auto text = runs();
        std::size_t n = 0;
        for (auto at = text.find(line + "\n"); at != std::string::npos; at = text.find(line + "\n", at + 1)) ++n;
        return n;
    }
    void start_three(supervise::strategy how) {
        auto s = spec("t", "three_workers", {{"trigger_dir", dir.path}});
        s.supervision = quick(5, how);
        ASSERT_TRUE(add(s));
        ASSERT_TRUE(until([&] { return count("w1 1") == 1 && count("w2 1") == 1 && count("w3 1") == 1; }));
    }
    void make_throw(const std::string& worker) { std::ofstream(dir.path + "/throw-" + worker).put('x'); }
    std::map<std::string, int> restarts() {
        std::map<std::string, int> out;
        const json tree = node("t");
        for (const auto& w : tree["children"]) out[w["id"]] = w["incarnation"].get<int>() - 1;
        return out;
    }
};

TEST_F(workers, one_for_one_restarts_the_one) {
    start_three(supervise::strategy::one_for_one);
    make_throw("w2");
    ASSERT_TRUE(until([&] { return count("w2 2") == 1; }));
    EXPECT_EQ(count("w1 end") + count("w3 end"), 0u);
    EXPECT_EQ(restarts(), (std::map<std::string, int>{{"w1", 0}, {"w2", 1}, {"w3", 0}}));
    EXPECT_EQ(set->info("t")->incarnation, 1u);
    const json tree = node("t");
    EXPECT_EQ(tree["strategy"], "one_for_one");
    EXPECT_EQ(tree["children"].size(), 3u);
    EXPECT_NE(tree["children"][1]["last_exit"].dump().find("was told to throw"), std::string::npos) << tree.dump(1);
}

TEST_F(workers, one_for_all_restarts_all_in_order) {
    start_three(supervise::strategy::one_for_all);
    make_throw("w2");
    ASSERT_TRUE(until([&] { return count("w1 2") == 1 && count("w2 2") == 1 && count("w3 2") == 1; }));
    const auto text = runs();
    EXPECT_LT(text.find("w3 end"), text.find("w1 end")) << "stopped last first:\n" << text;
    EXPECT_EQ(restarts(), (std::map<std::string, int>{{"w1", 1}, {"w2", 1}, {"w3", 1}}));
}

TEST_F(workers, rest_for_one_restarts_it_and_the_later_ones) {
    start_three(supervise::strategy::rest_for_one);
    make_throw("w2");
    ASSERT_TRUE(until([&] { return count("w2 2") == 1 && count("w3 2") == 1; }));
    EXPECT_EQ(count("w1 end"), 0u);
    EXPECT_EQ(restarts(), (std::map<std::string, int>{{"w1", 0}, {"w2", 1}, {"w3", 1}}));
}

TEST_F(workers, too_many_failures_restart_the_instance_and_then_quarantine_it) {
    auto s = spec("t", "bad_workers", {{"workers", {{{"name", "w"}, {"mode", "throw"}}}}});
    s.supervision = quick(2);
    (void)add(s);  // active for a moment, or not: the workers race with the start
    ASSERT_TRUE(reached("t", instance_phase::quarantined));
    const auto info = *set->info("t");
    EXPECT_EQ(info.restarts, 2u);
    EXPECT_NE(info.reason.find("its workers failed too often"), std::string::npos) << info.reason;
    EXPECT_NE(info.reason.find("w throws"), std::string::npos) << info.reason;
}

TEST_F(workers, one_that_returns_is_restarted_when_permanent_only) {
    auto s = spec("t", "bad_workers", {{"workers", {{{"name", "p"}, {"mode", "return"}, {"incarnations", 1}},
                                                    {{"name", "t"}, {"mode", "return"}, {"restart", "transient"}}}}});
    s.supervision = quick(5);
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(until([&] {
        std::map<std::string, std::pair<std::string, int>> seen;
        const json tree = node("t");
        for (const auto& w : tree["children"]) seen[w["id"]] = {w["state"], w["incarnation"]};
        return seen["p"] == std::pair<std::string, int>("running", 2) && seen["t"] == std::pair<std::string, int>("stopped", 1);
    })) << node("t").dump(1);
}

TEST_F(workers, one_that_stops_beating_is_replaced) {
    if (isolated()) GTEST_SKIP() << "isolated.a_worker_that_stops_beating_is_ended_with_its_process";
    auto s = spec("t", "bad_workers", {{"heartbeat_ms", 50}, {"shutdown_ms", 200}, {"workers", {{{"name", "w"}, {"mode", "no_beat"}, {"incarnations", 1}}}}});
    s.supervision = quick(5);
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(until([&] {
        const auto n = node("t");
        return !n["children"].empty() && n["children"][0]["incarnation"] == 2 && n["children"][0]["state"] == "running";
    })) << node("t").dump(1);
    EXPECT_EQ(node("t")["children"][0]["last_exit"]["kind"], "hang");
}

TEST_F(workers, one_that_never_stops_is_left_behind_and_said_so) {
    if (isolated()) GTEST_SKIP() << "isolated.a_worker_that_never_stops_is_ended_with_its_process";
    auto s = spec("t", "bad_workers", {{"heartbeat_ms", 0}, {"shutdown_ms", 100}, {"workers", {{{"name", "w"}, {"mode", "no_stop"}}}}});
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(add(spec("neighbour", "counting")));
    auto r = stop("t");
    ASSERT_TRUE(r);
    EXPECT_NE(r->reason.find("left behind"), std::string::npos) << r->reason;
    EXPECT_TRUE(logged("a worker thread does not stop"));
    EXPECT_EQ(set->info("neighbour")->phase, instance_phase::active);
}

}  // namespace
}  // namespace holdfast::plugins::testing
