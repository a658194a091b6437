// Plugins that fail or misbehave: a clear reason, and the neighbour goes on.
#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

class faults : public plugin_host {
  protected:
    void SetUp() override {
        plugin_host::SetUp();
        ASSERT_TRUE(add(spec("neighbour", "counting")));
    }
    void TearDown() override {
        EXPECT_EQ(set->info("neighbour")->phase, instance_phase::active);
        EXPECT_EQ(set->info("neighbour")->incarnation, 1u);
        plugin_host::TearDown();
    }
    plugin_spec once(const std::string& use, json settings = json::object()) {
        auto s = spec("bad", use, std::move(settings));
        s.supervision.restart = supervise::restart_type::temporary;
        return s;
    }
};

TEST_F(faults, refusals_name_the_check_and_are_not_retried) {
    const std::pair<const char*, const char*> cases[] = {{"bad_abi", "check 'abi' failed"},       {"bad_no_entry", "check 'entry' failed"},
                                                         {"bad_no_manifest", "check 'manifest' failed"}, {"bad_manifest_garbage", "check 'manifest' failed"},
                                                         {"no_such_plugin", "check 'file' failed"}};
    for (const auto& [use, what] : cases) {
        auto r = add(spec(use, use));
        ASSERT_FALSE(r) << use;
        EXPECT_EQ(r.error().code, errc::plugin_refused) << use;
        EXPECT_NE(r.error().message.find(what), std::string::npos) << r.error().message;
        EXPECT_EQ(set->info(use)->phase, instance_phase::failed);
        EXPECT_EQ(set->info(use)->incarnation, 1u);
    }
}

TEST_F(faults, instances_that_cannot_be_used) {
    const std::pair<const char*, const char*> cases[] = {{"bad_create_null", "without an instance"}, {"bad_short_instance", "hf.breaker/1"}, {"bad_no_interface", "hf.llm/1"}};
    for (const auto& [use, what] : cases) {
        auto s = spec(use, use);
        s.supervision.restart = supervise::restart_type::temporary;
        auto r = add(s);
        ASSERT_FALSE(r) << use;
        EXPECT_EQ(r.error().code, errc::plugin_failed);
        EXPECT_NE(r.error().message.find(what), std::string::npos) << r.error().message;
    }
}

TEST_F(faults, throwing_in_every_function_is_contained) {
    for (const bool odd : {false, true}) {
        for (const char* where : {"create", "init", "start", "get_ext"}) {
            auto r = add(once("bad_throws", {{"throw_in", where}, {"not_std_exception", odd}}));
            ASSERT_FALSE(r) << where;
            EXPECT_NE(r.error().message.find("threw"), std::string::npos) << where << ": " << r.error().message;
            EXPECT_EQ(set->info("bad")->phase, instance_phase::failed) << where;
            ASSERT_TRUE(ask([&](auto done) { set->remove("bad", std::move(done)); }));
        }
        for (const char* where : {"quiesce", "stop", "destroy"}) {
            ASSERT_TRUE(add(once("bad_throws", {{"throw_in", where}, {"not_std_exception", odd}}))) << where;
            auto r = stop("bad");
            ASSERT_TRUE(r) << where;
            EXPECT_EQ(r->phase, instance_phase::failed) << where;
            EXPECT_NE(r->reason.find(std::string(where) + " threw"), std::string::npos) << r->reason;
            ASSERT_TRUE(ask([&](auto done) { set->remove("bad", std::move(done)); }));
        }
    }
}

TEST_F(faults, throwing_in_a_call_completes_it_and_restarts_the_instance) {
    auto s = spec("bad", "bad_throws", {{"throw_in", "submit"}});
    s.supervision = quick(3);
    ASSERT_TRUE(add(s));
    auto r = call("bad", "chat");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::plugin_failed);
    EXPECT_TRUE(reached("bad", instance_phase::active, 2));
    EXPECT_EQ(set->info("bad")->restarts, 1u);
    EXPECT_EQ(node("bad")["restarts"], 1);
}

TEST_F(faults, exceptions_the_sdk_catches_are_plain_errors) {
    auto r = add(once("bad_throws_caught", {{"throw_in", "init"}}));
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("init failed"), std::string::npos) << r.error().message;
}

TEST_F(faults, init_that_fails_is_tried_again_until_it_works) {
    if (isolated()) GTEST_SKIP() << "the plugin counts in its own memory, which is new each time";
    auto s = spec("bad", "bad_init_fails", {{"times", 2}});
    s.supervision = quick(5);
    auto first = add(s);
    ASSERT_FALSE(first);
    EXPECT_EQ(first.error().code, errc::plugin_failed);
    EXPECT_TRUE(reached("bad", instance_phase::active));
    EXPECT_EQ(set->info("bad")->restarts, 2u);
}

TEST_F(faults, init_that_always_fails_ends_in_quarantine_with_the_way_out) {
    auto s = spec("bad", "bad_init_fails");
    s.supervision = quick(2);
    ASSERT_FALSE(add(s));
    ASSERT_TRUE(reached("bad", instance_phase::quarantined));
    const auto info = *set->info("bad");
    EXPECT_EQ(info.incarnation, 3u);
    EXPECT_NE(info.reason.find("more than 2 restarts"), std::string::npos) << info.reason;
    EXPECT_NE(info.reason.find("this init always fails"), std::string::npos) << info.reason;
    EXPECT_NE(info.lift.find("bad"), std::string::npos);
    EXPECT_EQ(set->resolve<hf_llm>("bad", HF_EXT_LLM)().error().code, errc::unavailable);
    auto lifted = ask([&](auto done) { set->start("bad", std::move(done)); });
    EXPECT_FALSE(lifted) << "it fails again, but it was tried";
    EXPECT_GT(set->info("bad")->incarnation, 3u);
    ASSERT_TRUE(reached("bad", instance_phase::quarantined, 2)) << "with a fresh budget";
}

TEST_F(faults, a_hanging_start_is_quarantined_and_blocks_nobody) {
    if (isolated()) GTEST_SKIP() << "isolated.a_start_that_hangs_is_tried_again";
    auto s = spec("bad", "bad_slow", {{"start_ms", 1500}});
    s.start_timeout = milliseconds(50);
    auto r = add(s);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::timeout);
    const auto info = *set->info("bad");
    EXPECT_EQ(info.phase, instance_phase::quarantined);
    EXPECT_NE(info.reason.find("start did not return in time"), std::string::npos) << info.reason;
    EXPECT_FALSE(info.lift.empty());
}

TEST_F(faults, hanging_create_init_and_stop) {
    if (isolated()) GTEST_SKIP() << "isolated.a_stop_that_never_returns_is_ended";
    for (const char* step : {"create", "init"}) {
        auto s = spec("bad", "bad_slow", {{std::string(step) + "_ms", 1000}});
        s.init_timeout = milliseconds(300);
        auto r = add(s);
        ASSERT_FALSE(r) << step;
        EXPECT_EQ(r.error().code, errc::timeout) << r.error().message;
        ASSERT_TRUE(ask([&](auto done) { set->remove("bad", std::move(done)); }));
    }
    auto s = spec("bad", "bad_slow", {{"stop_ms", 1000}});
    s.stop_timeout = milliseconds(50);
    ASSERT_TRUE(add(s));
    auto r = stop("bad");
    ASSERT_TRUE(r);
    EXPECT_NE(r->reason.find("stop did not return in time"), std::string::npos) << r->reason;
}

TEST_F(faults, a_slow_quiesce_within_its_deadline_is_waited_for) {
    ASSERT_TRUE(add(spec("bad", "bad_slow", {{"quiesce_ms", 100}, {"stop_ms", 50}})));
    auto r = stop("bad");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->phase, instance_phase::stopped) << r->reason;
}

TEST_F(faults, a_stop_during_the_start_wins) {
    std::promise<result<plugin_info>> outcome;
    auto future = outcome.get_future();
    set->add(spec("bad", "bad_slow", {{"start_ms", 200}}), [&](result<plugin_info> r) { outcome.set_value(std::move(r)); });
    ASSERT_TRUE(reached("bad", instance_phase::ready));
    auto r = stop("bad");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->phase, instance_phase::stopped) << r->reason;
    ASSERT_EQ(future.wait_for(patience), std::future_status::ready);
    EXPECT_EQ(future.get().error().code, errc::cancelled);
    EXPECT_EQ(set->info("bad")->incarnation, 1u);
}

TEST_F(faults, a_leaked_thread_is_named) {
    ASSERT_TRUE(add(spec("bad", "bad_leaks_thread", {{"leak_ms", 3000}})));
    auto r = stop("bad");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->phase, instance_phase::stopped);
    ASSERT_EQ(r->warnings.size(), 1u);
    EXPECT_NE(r->warnings[0].find("'bad' started a thread of its own"), std::string::npos) << r->warnings[0];
    ASSERT_TRUE(add(spec("innocent", "counting")));
    ASSERT_TRUE(stop("innocent"));
    EXPECT_TRUE(set->info("innocent")->warnings.empty()) << "blamed on the right one";
}

TEST_F(faults, settings_are_checked_before_any_code_runs) {
    auto r = add(spec("bad", "counting", json::array()));
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'settings' failed"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::plugins::testing
