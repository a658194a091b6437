#include "fixture.hpp"
#include "holdfast/ext/breaker.h"

namespace holdfast::plugins::testing {
namespace {

using lifecycle = plugin_host;

TEST_F(lifecycle, goes_through_every_phase_in_order) {
    const auto log = dir.path + "/calls";
    auto up = add(spec("c", "counting", {{"log_file", log}}));
    ASSERT_TRUE(up) << up.error().message;
    EXPECT_EQ(up->phase, instance_phase::active);
    EXPECT_EQ(up->version, "1.0.0");
    EXPECT_EQ(up->kind, "breaker");
    EXPECT_EQ(set->first_of_kind("breaker").value(), "c");
    auto down = stop("c");
    ASSERT_TRUE(down);
    EXPECT_EQ(down->phase, instance_phase::stopped);
    EXPECT_EQ(slurp(log), "c create\nc init\nc start\nc quiesce\nc stop\nc destroy\n");
    EXPECT_EQ(phases("c"), (std::vector<std::string>{"verified", "loaded", "created", "ready", "active", "quiescing", "stopped"}));
    EXPECT_FALSE(set->first_of_kind("breaker"));
}

TEST_F(lifecycle, stops_all_in_reverse_order_when_the_tree_stops) {
    const auto log = dir.path + "/calls";
    for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(add(spec(id, "counting", {{"log_file", log}})));
    std::ofstream(log, std::ios::trunc);
    shut_down();
    EXPECT_EQ(slurp(log), "c quiesce\nc stop\nc destroy\nb quiesce\nb stop\nb destroy\na quiesce\na stop\na destroy\n");
}

TEST_F(lifecycle, starts_again_after_a_stop_and_removes_while_running) {
    ASSERT_TRUE(add(spec("c", "counting")));
    ASSERT_TRUE(stop("c"));
    auto again = ask([&](auto done) { set->start("c", std::move(done)); });
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->incarnation, 2u);
    EXPECT_EQ(again->restarts, 0u) << "a start by hand is no restart";
    auto running = ask([&](auto done) { set->start("c", std::move(done)); });
    EXPECT_EQ(running.error().code, errc::running);
    auto gone = ask([&](auto done) { set->remove("c", std::move(done)); });
    ASSERT_TRUE(gone);
    EXPECT_EQ(gone->phase, instance_phase::retired);
    EXPECT_EQ(set->info("c").error().code, errc::not_found);
    EXPECT_TRUE(node("c").is_null());
    ASSERT_TRUE(add(spec("c", "counting"))) << "the id is free again";
}

TEST_F(lifecycle, restart_and_reconfigure_make_a_fresh_instance) {
    const auto log = dir.path + "/calls";
    ASSERT_TRUE(add(spec("c", "counting")));
    auto r = ask([&](auto done) { set->restart("c", std::move(done)); });
    ASSERT_TRUE(r) << r.error().message;
    auto changed_spec = ask([&](auto done) { set->reconfigure(spec("c", "counting", {{"log_file", log}}), std::move(done)); });
    ASSERT_TRUE(changed_spec) << changed_spec.error().message;
    EXPECT_EQ(slurp(log), "c create\nc init\nc start\n");
}

TEST_F(lifecycle, refuses_duplicate_and_malformed_ids) {
    ASSERT_TRUE(add(spec("x", "counting")));
    EXPECT_EQ(add(spec("x", "counting")).error().code, errc::already_exists);
    EXPECT_EQ(add(spec("", "counting")).error().code, errc::invalid_argument);
    EXPECT_EQ(add(spec("a/b", "counting")).error().code, errc::invalid_argument);
    EXPECT_EQ(set->list().size(), 1u);
}

TEST_F(lifecycle, two_instances_share_one_loaded_file) {
    if (isolated()) GTEST_SKIP() << "each process loads its own copy";
    ASSERT_TRUE(add(spec("one", "counting")));
    ASSERT_TRUE(add(spec("two", "counting")));
    EXPECT_EQ(set->info("one")->sha256, set->info("two")->sha256);
    std::size_t copies = 0;
    for (const auto& f : fs::directory_iterator(dir.path + "/run/generations")) copies += f.path().string().find("counting") != std::string::npos;
    EXPECT_EQ(copies, 1u);
}

TEST_F(lifecycle, a_changed_file_is_a_new_generation) {
    if (isolated()) GTEST_SKIP() << "a process's copy goes with it";
    const auto file = dir.copy("counting", "counting.so");
    ASSERT_TRUE(add(spec("c", file)));
    const auto before = set->info("c")->sha256;
    std::ofstream(file, std::ios::app | std::ios::binary) << "x";  // trailing bytes: another hash, the same code
    auto r = ask([&](auto done) { set->restart("c", std::move(done)); });
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_NE(r->sha256, before);
    std::size_t copies = 0;
    for ([[maybe_unused]] const auto& f : fs::directory_iterator(dir.path + "/run/generations")) ++copies;
    EXPECT_EQ(copies, 2u);
}

TEST_F(lifecycle, a_lease_delays_destroy_and_not_stop) {
    const auto log = dir.path + "/calls";
    ASSERT_TRUE(add(spec("c", "counting", {{"log_file", log}})));
    auto held = set->resolve<hf_llm>("c", "hf.breaker/1")();
    ASSERT_TRUE(held);
    ASSERT_TRUE(stop("c"));
    EXPECT_EQ(slurp(log).find("destroy"), std::string::npos);
    EXPECT_TRUE(logged("still holds an interface"));
    held = fail(errc::internal, "let go");
    const auto until = std::chrono::steady_clock::now() + patience;
    while (slurp(log).find("destroy") == std::string::npos && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_NE(slurp(log).find("destroy"), std::string::npos);
}

TEST_F(lifecycle, resolves_anew_after_a_restart) {
    ASSERT_TRUE(add(spec("p", "plugins_probe")));
    auto resolve = set->resolve<hf_llm>("p", HF_EXT_LLM);
    EXPECT_TRUE(resolve());
    ASSERT_TRUE(stop("p"));
    auto down = resolve();
    ASSERT_FALSE(down);
    EXPECT_EQ(down.error().code, errc::unavailable);
    ASSERT_TRUE(ask([&](auto done) { set->start("p", std::move(done)); }));
    EXPECT_TRUE(resolve());
    EXPECT_EQ(set->resolve<hf_llm>("nobody", HF_EXT_LLM)().error().code, errc::not_found);
    EXPECT_EQ(set->resolve<hf_store>("p", HF_EXT_STORE)().error().code, errc::plugin_failed);
}

TEST_F(lifecycle, fast_port_follows_the_active_incarnation) {
    auto port = set->fast<hf_breaker>("c", HF_EXT_BREAKER);
    EXPECT_FALSE(port.pin()) << "not added yet";
    ASSERT_TRUE(add(spec("c", "counting")));
    {
        auto p = port.pin();
        ASSERT_TRUE(p);
        void* breaker = nullptr;
        hf_error err{};
        err.size = sizeof err;
        ASSERT_EQ(p->open(p.self(), {"{}", 2}, 1, 0, &breaker, &err), HF_OK) << err.message;
        hf_permit permit{};
        permit.size = sizeof permit;
        p->permit(p.self(), breaker, 0, &permit);
        EXPECT_EQ(permit.granted, 1);
        p->close(p.self(), breaker);
    }
    ASSERT_TRUE(stop("c"));
    EXPECT_FALSE(port.pin());
}

TEST_F(lifecycle, unloads_when_told_to_and_proven_unused) {
    const auto file = dir.copy("plugins_probe", "plugins_probe.so");
    auto s = spec("p", file);
    s.unload = true;
    ASSERT_TRUE(add(s));
    ASSERT_TRUE(stop("p"));
    const auto until = std::chrono::steady_clock::now() + patience;
    auto mapped = [&] { return slurp("/proc/self/maps").find(dir.path + "/run/generations") != std::string::npos; };
    while (mapped() && !logged("not unloaded") && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_FALSE(mapped()) << "this one touches no thread-local storage";
    ASSERT_TRUE(ask([&](auto done) { set->start("p", std::move(done)); })) << "and it can be loaded again";
}

TEST_F(lifecycle, control_calls_run_on_the_control_thread) {
    ASSERT_TRUE(add(spec("c", "counting")));
    auto name = await<json>(patience, [&](auto done) {
        set->control("c", "hf.breaker/1", [](const void*, void*) -> result<json> {
            char text[32] = {};
            pthread_getname_np(pthread_self(), text, sizeof text);
            return json(text);
        }, std::move(done));
    });
    ASSERT_TRUE(name) << name.error().message;
    EXPECT_NE(name->get<std::string>().find(":c"), std::string::npos);
    auto none = await<json>(patience, [&](auto done) { set->control("c", "hf.ui/1", {}, std::move(done)); });
    EXPECT_EQ(none.error().code, errc::plugin_failed);
}

TEST_F(lifecycle, added_before_the_node_runs_starts_with_it) {
    shut_down();
    plugin_set_options o;
    o.rt = &rt;
    o.processes = spawner.get();
    o.runner = HF_TEST_RUNNER;
    o.search_path = {HF_TEST_PLUGINS};
    o.use_environment = false;
    o.runtime_dir = dir.path + "/run2";
    set = plugin_set::create(std::move(o)).value();
    std::promise<result<plugin_info>> got;
    auto future = got.get_future();
    set->add(spec("early", "counting"), [&](result<plugin_info> r) { got.set_value(std::move(r)); });
    std::vector<supervise::child_spec> children;
    children.push_back(set->node());
    root = supervise::supervisor::start(rt, "root", {}, std::move(children));
    ASSERT_EQ(future.wait_for(patience), std::future_status::ready);
    EXPECT_TRUE(future.get());
}

}  // namespace
}  // namespace holdfast::plugins::testing
