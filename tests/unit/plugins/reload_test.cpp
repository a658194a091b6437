// New versions of a running plugin: taken, refused, rolled back; overlapping and one after the other.
#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

class reload : public plugin_host {
  protected:
    void adjust(plugin_set_options& o) override {
        o.on_reload = [this](const reload_news& n) {
            std::lock_guard lock(mutex);
            news.push_back(n);
            changed.notify_all();
        };
    }
    /// The file the plugin is configured with, and what lies there.
    std::string file() const { return dir.path + "/versioned.so"; }
    void put(const std::string& version) {
        dir.copy("versioned_" + version, "next.so");
        fs::rename(dir.path + "/next.so", file());
    }
    plugin_spec versioned(const std::string& version = "one") {
        put(version);
        auto s = spec("v", file());
        s.supervision = quick(5);
        return s;
    }
    result<plugin_info> renew(const std::string& from = {}) {
        return ask([&](auto done) { set->reload("v", from, std::move(done)); });
    }
    json version() {
        auto r = call("v", "version");
        return r ? *r : json(r.error().message);
    }
    bool told(reload_news::outcome what, std::size_t times = 1) {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, patience, [&] { return static_cast<std::size_t>(std::count_if(news.begin(), news.end(), [&](const auto& n) { return n.what == what; })) >= times; });
    }
    bool drained() {
        return until([&] { return node("v")["children"].empty(); });
    }
    std::vector<reload_news> news;  // under mutex
};

TEST_F(reload, a_new_version_serves_and_the_old_one_finishes_its_work) {
    ASSERT_TRUE(add(versioned()));
    EXPECT_EQ(version()["version"], "1.0");
    auto port = make_call_port(set->resolve<hf_llm>("v", HF_EXT_LLM), rt, "v");
    std::promise<result<json>> slow;
    port->submit("slow", json::object(), milliseconds(0), {}, [&](result<json> r) { slow.set_value(std::move(r)); });
    put("two");
    auto r = renew();
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->version, "2.0");
    EXPECT_EQ(r->phase, instance_phase::active);
    EXPECT_EQ(version()["version"], "2.0");
    EXPECT_EQ(version()["state"]["from"], "1.0");
    auto old_answer = slow.get_future().get();
    ASSERT_TRUE(old_answer) << old_answer.error().message;
    EXPECT_EQ((*old_answer)["version"], "1.0");
    EXPECT_TRUE(drained()) << node("v").dump(2);
    EXPECT_EQ(set->info("v")->replaced, 1u);
    EXPECT_EQ(set->info("v")->restarts, 0u);
    EXPECT_EQ(set->info("v")->reload, "probation");
}

TEST_F(reload, an_exclusive_one_hands_over_in_between_and_calls_wait) {
    ASSERT_TRUE(add(versioned("alone_one")));
    EXPECT_EQ(version()["count"], 1);
    auto port = make_call_port(set->resolve<hf_llm>("v", HF_EXT_LLM), rt, "v");
    std::atomic<int> ok{0}, bad{0};
    std::atomic<bool> over{false};
    std::thread load([&] {
        while (!over) {
            std::promise<bool> one;
            port->submit("version", json::object(), milliseconds(0), {}, [&](result<json> r) { one.set_value(bool(r)); });
            ++(one.get_future().get() ? ok : bad);
        }
    });
    put("alone_two");
    auto r = renew();
    ASSERT_TRUE(r) << r.error().message;
    const int before = ok;
    EXPECT_TRUE(until([&] { return ok > before + 10; }));
    over = true;
    load.join();
    EXPECT_EQ(bad, 0);
    EXPECT_EQ(version()["version"], "2.0");
    // Taken after its last call: nothing that it did is missing.
    EXPECT_GE(version()["state"]["count"].get<int>(), 1);
    EXPECT_EQ(phases("v"), (std::vector<std::string>{"verified", "loaded", "created", "ready", "active", "quiescing", "stopped", "active"}));
}

TEST_F(reload, a_broken_new_version_is_refused_and_the_old_one_goes_on) {
    ASSERT_TRUE(add(versioned()));
    for (const char* broken : {"no_init", "no_start"}) {
        put(broken);
        auto r = renew();
        ASSERT_FALSE(r);
        EXPECT_EQ(r.error().code, errc::plugin_refused);
        EXPECT_NE(r.error().message.find("this version does not"), std::string::npos) << r.error().message;
        EXPECT_EQ(version()["version"], "1.0");
    }
    std::ofstream(file()) << "no library";
    auto r = renew();
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'architecture' failed"), std::string::npos) << r.error().message;
    EXPECT_EQ(version()["version"], "1.0");
    EXPECT_EQ(version()["count"], 4);  // the same incarnation all the time
    EXPECT_EQ(phases("v").back(), "active");
    EXPECT_TRUE(told(reload_news::outcome::refused, 3));
}

TEST_F(reload, another_plugin_is_refused) {
    ASSERT_TRUE(add(versioned()));
    auto r = renew(plugin_file("plugins_probe"));
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("check 'manifest' failed"), std::string::npos) << r.error().message;
    EXPECT_EQ(version()["version"], "1.0");
}

TEST_F(reload, a_version_that_fails_in_its_probation_is_rolled_back) {
    for (const char* alone : {"", "alone_"}) {
        if (*alone) { ASSERT_TRUE(ask([&](auto done) { set->remove("v", std::move(done)); })); }
        ASSERT_TRUE(add(versioned(std::string(alone) + "one")));
        put(std::string(alone) + "short_lived");
        auto r = renew();
        ASSERT_TRUE(r) << r.error().message;
        ASSERT_TRUE(told(reload_news::outcome::rolled_back, *alone ? 2 : 1));
        EXPECT_EQ(version()["version"], "1.0");
        const auto info = set->info("v");
        EXPECT_EQ(info->version, "1.0");
        EXPECT_NE(info->rolled_back.find("version 3.3 failed"), std::string::npos) << info->rolled_back;
        EXPECT_EQ(info->phase, instance_phase::active);
        EXPECT_EQ(info->restarts, 0u);
    }
}

TEST_F(reload, after_a_roll_back_restarts_stay_with_the_version_that_worked) {
    ASSERT_TRUE(add(versioned()));
    put("short_lived");
    ASSERT_TRUE(renew());
    ASSERT_TRUE(told(reload_news::outcome::rolled_back));
    // The file that failed still lies there, overwritten in place once more: what runs is the copy.
    std::ofstream(file(), std::ios::binary) << slurp(plugin_file("versioned_no_start"));
    (void)call("v", "never", milliseconds(1));
    auto crash = set->resolve<hf_llm>("v", HF_EXT_LLM)();
    ASSERT_TRUE(crash);
    report_escape(crash->lease, "a test");
    crash->lease.reset();
    ASSERT_TRUE(until([&] { return set->info("v")->restarts == 1 && set->info("v")->phase == instance_phase::active; }));
    EXPECT_EQ(version()["version"], "1.0");
    // A person's start takes what lies there.
    EXPECT_FALSE(ask([&](auto done) { set->restart("v", std::move(done)); }));
    put("two");
    ASSERT_TRUE(until([&] { return set->info("v")->phase == instance_phase::active; }) || ask([&](auto done) { set->start("v", std::move(done)); }));
    EXPECT_EQ(version()["version"], "2.0");
}

TEST_F(reload, a_failed_start_of_an_exclusive_one_brings_the_old_one_back) {
    ASSERT_TRUE(add(versioned("alone_one")));
    (void)version();
    put("alone_no_start");
    auto r = renew();
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("the version before serves again"), std::string::npos) << r.error().message;
    EXPECT_EQ(version()["version"], "1.0");
    EXPECT_EQ(version()["state"]["count"], 1) << "it goes on where it stopped";
}

TEST_F(reload, after_the_probation_a_failure_is_an_ordinary_one) {
    auto s = versioned();
    s.probation = milliseconds(1);
    ASSERT_TRUE(add(s));
    put("two");
    ASSERT_TRUE(renew());
    ASSERT_TRUE(until([&] { return set->info("v")->reload.empty(); }));
    auto b = set->resolve<hf_llm>("v", HF_EXT_LLM)();
    ASSERT_TRUE(b);
    report_escape(b->lease, "a test");
    b->lease.reset();
    ASSERT_TRUE(until([&] { return set->info("v")->restarts == 1 && set->info("v")->phase == instance_phase::active; }));
    EXPECT_EQ(version()["version"], "2.0");
}

TEST_F(reload, the_old_one_is_not_waited_for_longer_than_the_drain_time) {
    auto s = versioned();
    s.drain_timeout = milliseconds(50);
    ASSERT_TRUE(add(s));
    auto port = make_call_port(set->resolve<hf_llm>("v", HF_EXT_LLM), rt, "v");
    std::promise<result<json>> never;
    port->submit("never", json::object(), milliseconds(0), {}, [&](result<json> r) { never.set_value(std::move(r)); });
    put("two");
    ASSERT_TRUE(renew());
    auto ended = never.get_future().get();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, errc::plugin_failed);
    EXPECT_TRUE(drained());
    EXPECT_EQ(version()["version"], "2.0");
}

TEST_F(reload, too_many_versions_that_still_work_are_not_joined_by_another) {
    ASSERT_TRUE(add(versioned()));
    auto port = make_call_port(set->resolve<hf_llm>("v", HF_EXT_LLM), rt, "v");
    std::atomic<int> ended{0};
    result<plugin_info> r = fail(errc::internal, "");
    int n = 0;
    for (; n < 20; ++n) {
        port->submit("never", json::object(), milliseconds(0), {}, [&](result<json>) { ++ended; });
        put(n % 2 ? "one" : "two");
        r = renew();
        if (!r) break;
    }
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, errc::overloaded);
    EXPECT_EQ(n, 8);
    EXPECT_GT(r.error().retry_after, milliseconds(0));
    EXPECT_EQ(node("v")["children"].size(), 8u);
    ASSERT_TRUE(stop("v"));  // does not wait for those calls
    EXPECT_TRUE(until([&] { return ended == 9; }));
}

TEST_F(reload, one_that_does_not_run_is_started_from_the_file) {
    ASSERT_TRUE(add(versioned()));
    ASSERT_TRUE(stop("v"));
    auto r = renew(plugin_file("versioned_two"));
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(version()["version"], "2.0");
    EXPECT_FALSE(ask([&](auto done) { set->reload("nobody", "", std::move(done)); }));
}

TEST_F(reload, from_another_file_which_restarts_then_use) {
    ASSERT_TRUE(add(versioned()));
    ASSERT_TRUE(renew(plugin_file("versioned_two")));
    EXPECT_EQ(set->info("v")->use, plugin_file("versioned_two"));
    ASSERT_TRUE(ask([&](auto done) { set->restart("v", std::move(done)); }));
    EXPECT_EQ(version()["version"], "2.0");
}

TEST_F(reload, a_stop_in_the_middle_stops_both) {
    ASSERT_TRUE(add(versioned()));
    for (int i = 0; i < 20; ++i) {
        put(i % 2 ? "one" : "two");
        std::promise<void> answered;
        set->reload("v", {}, [&](result<plugin_info>) { answered.set_value(); });
        auto s = stop("v");
        ASSERT_TRUE(s) << s.error().message;
        answered.get_future().get();
        EXPECT_EQ(set->info("v")->phase, instance_phase::stopped);
        if (isolated()) { EXPECT_TRUE(until([&] { return spawner->running() == 0; })) << i; }
        ASSERT_TRUE(ask([&](auto done) { set->start("v", std::move(done)); }));
    }
}

TEST_F(reload, a_hundred_times_under_load_without_a_failed_call) {
    ASSERT_TRUE(add(versioned()));
    std::atomic<bool> over{false};
    std::atomic<int> ok{0};
    std::mutex first_mutex;
    std::string first;
    struct callers : std::vector<std::thread> {
        std::atomic<bool>& over;
        explicit callers(std::atomic<bool>& o) : over(o) {}
        ~callers() { join(); }
        void join() {
            over = true;
            for (auto& t : *this) t.join();
            clear();
        }
    } load(over);
    for (int t = 0; t < 4; ++t)
        load.emplace_back([&] {
            auto port = make_call_port(set->resolve<hf_llm>("v", HF_EXT_LLM), rt, "v");
            while (!over) {
                std::promise<result<json>> one;
                port->submit("version", json::object(), milliseconds(0), {}, [&](result<json> r) { one.set_value(std::move(r)); });
                auto r = one.get_future().get();
                if (r) {
                    ++ok;
                    continue;
                }
                std::lock_guard lock(first_mutex);
                first = r.error().message;
            }
        });
    const int times = isolated() ? 30 : 100;
    for (int i = 0; i < times; ++i) {
        put(i % 2 ? "one" : "two");
        auto r = renew();
        for (int again = 0; !r && r.error().code == errc::overloaded && again < 1000; ++again) {
            ASSERT_TRUE(until([&] { return node("v")["children"].size() < 8; }));
            r = renew();
        }
        ASSERT_TRUE(r) << r.error().message;
    }
    load.join();
    EXPECT_EQ(first, "");
    EXPECT_GT(ok, times);
    EXPECT_EQ(set->info("v")->replaced, static_cast<std::uint32_t>(times));
    EXPECT_TRUE(drained());
    if (isolated()) { EXPECT_TRUE(until([&] { return spawner->running() == 1; })); }
}

}  // namespace
}  // namespace holdfast::plugins::testing
