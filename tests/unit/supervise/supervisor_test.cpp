// The shell: actors as children, in simulated time where that says enough and on the pool where threads matter.
#include <gtest/gtest.h>

#include <thread>

#include "kernel/supervise/supervisor.hpp"

using namespace holdfast;
using namespace holdfast::supervise;

namespace {

class worker final : public actor {
  public:
    worker(runtime& rt, std::string argument) : actor(rt), argument(std::move(argument)) {}
    const std::string argument;
    void quit(exit_reason r) { exit(std::move(r)); }
};

child_spec worker_spec(std::string id, restart_type type = restart_type::permanent) {
    auto spec = actor_child(id, "worker", [id](const child_context& c) -> result<actor_ref> {
        return actor_ref(make_actor<worker>(c.rt(), "argument of " + id));
    });
    spec.restart = type;
    return spec;
}

template <class... Specs>
std::vector<child_spec> list(Specs... specs) {
    std::vector<child_spec> out;
    (out.push_back(std::move(specs)), ...);
    return out;
}

supervisor_options quick_options(strategy how, name_registry* names) {
    supervisor_options o;
    o.rules.how = how;
    o.rules.intensity = {1000, seconds(1000)};
    o.rules.backoff = backoff_policy::none();
    o.names = names;
    return o;
}

std::string shape(const json& tree) {  // "a1 b2(…)": ids with incarnations
    std::string out;
    for (const auto& c : tree["children"]) {
        out += c["id"].get<std::string>() + std::to_string(c["incarnation"].get<int>());
        if (!c["children"].empty()) out += "(" + shape(c) + ")";
        out += ' ';
    }
    if (!out.empty()) out.pop_back();
    return out;
}

void crash(name_registry& names, const std::string& id) {
    auto w = names.find_as<worker>(id);
    ASSERT_TRUE(w) << id;
    ASSERT_TRUE(w->tell([](worker&) { throw std::runtime_error("boom"); }));
}

}  // namespace

TEST(supervisor, restarts_crashed_actors_under_each_strategy) {
    for (const auto& [how, expected] : {std::pair{strategy::one_for_one, "a1 b2 c1"}, {strategy::one_for_all, "a2 b2 c2"}, {strategy::rest_for_one, "a1 b2 c2"}}) {
        manual_runtime rt;
        name_registry names;
        bool up = false;
        auto s = supervisor::start(rt, "root", quick_options(how, &names), list(worker_spec("a"), worker_spec("b"), worker_spec("c")), [&](result<void> r) { up = r.has_value(); });
        rt.run_until_idle();
        ASSERT_TRUE(up);
        crash(names, "b");
        rt.run_until_idle();
        const auto t = s->tree();
        EXPECT_EQ(shape(t), expected);
        EXPECT_EQ(t["children"][1]["last_exit"]["text"], "error: boom");
        EXPECT_EQ(t["children"][1]["state"], "running");
        s->request_stop();
        rt.run_until_idle();
        EXPECT_FALSE(s->alive());
    }
}

TEST(supervisor, a_restart_uses_the_same_arguments) {  // elixir#7369
    manual_runtime rt;
    name_registry names;
    auto s = supervisor::start(rt, "root", quick_options(strategy::one_for_one, &names), list(worker_spec("a")));
    rt.run_until_idle();
    for (int i = 0; i < 3; ++i) {
        crash(names, "a");
        rt.run_until_idle();
        EXPECT_EQ((*names.find_as<worker>("a"))->argument, "argument of a");
    }
    s->request_stop();
    rt.run_until_idle();
}

TEST(supervisor, nested_supervisors_escalate_and_come_back_whole) {
    manual_runtime rt;
    name_registry names;
    auto inner = supervisor_child(
        "inner",
        [] {
            supervisor_options o;
            o.rules.intensity = {1, seconds(5)};
            o.rules.backoff = backoff_policy::none();
            return o;
        },
        [] { return list(worker_spec("x"), worker_spec("y")); });
    std::vector<std::string> seen;
    auto options = quick_options(strategy::one_for_one, &names);
    options.reports = [&](const supervision_report& r) {
        if (r.kind == report_kind::child_terminated) seen.push_back(r.supervisor + "/" + r.id);
    };
    auto s = supervisor::start(rt, "root", std::move(options), list(worker_spec("a"), std::move(inner)));
    rt.run_until_idle();
    EXPECT_EQ(shape(s->tree()), "a1 inner1(x1 y1)");
    crash(names, "x");
    rt.run_until_idle();
    EXPECT_EQ(shape(s->tree()), "a1 inner1(x2 y1)");
    crash(names, "x");
    rt.run_until_idle();
    EXPECT_EQ(shape(s->tree()), "a1 inner2(x1 y1)");
    EXPECT_EQ(seen, (std::vector<std::string>{"root/inner/x", "root/inner/x", "root/inner"}));
    s->request_stop();
    rt.run_until_idle();
    EXPECT_EQ(names.size(), 0u);
}

TEST(supervisor, S1_a_child_that_cannot_start_fails_the_supervisor_with_its_error) {
    manual_runtime rt;
    auto bad = actor_child("bad", "worker", [](const child_context&) -> result<actor_ref> { return fail(errc::plugin_refused, "no such thing"); });
    result<void> up;
    auto s = supervisor::start(rt, "root", quick_options(strategy::one_for_one, nullptr), list(worker_spec("a"), std::move(bad)), [&](result<void> r) { up = std::move(r); });
    rt.run_until_idle();
    ASSERT_FALSE(up);
    EXPECT_EQ(up.error().code, errc::plugin_refused);
    EXPECT_NE(up.error().message.find("\"bad\""), std::string::npos);
    EXPECT_FALSE(s->alive());
}

TEST(supervisor, refuses_bad_rules_and_duplicate_ids) {
    manual_runtime rt;
    result<void> up;
    supervisor_options o;
    o.rules.intensity = {6, seconds(60)};  // B4
    auto s = supervisor::start(rt, "root", o, {}, [&](result<void> r) { up = std::move(r); });
    rt.run_until_idle();
    EXPECT_EQ(up.error().code, errc::config_invalid);
    auto t = supervisor::start(rt, "root", quick_options(strategy::one_for_one, nullptr), list(worker_spec("a"), worker_spec("a")), [&](result<void> r) { up = std::move(r); });
    rt.run_until_idle();
    EXPECT_EQ(up.error().code, errc::already_present);
}

TEST(supervisor, a_throwing_callback_or_start_function_does_not_end_it) {
    manual_runtime rt;
    name_registry names;
    auto options = quick_options(strategy::one_for_one, &names);
    options.reports = [](const supervision_report&) { throw std::runtime_error("sink"); };
    auto s = supervisor::start(rt, "root", std::move(options), {});
    s->start_child(worker_spec("a"), [](result<child_ref>) { throw std::runtime_error("done"); });
    child_spec throwing;
    throwing.id = "t";
    throwing.start = [](child_context) { throw std::runtime_error("start"); };
    errc code{};
    s->start_child(std::move(throwing), [&](result<child_ref> r) { code = r.error().code; });
    rt.run_until_idle();
    EXPECT_EQ(code, errc::internal);
    EXPECT_TRUE(s->alive());
    EXPECT_EQ(shape(s->tree()), "a1");
    s->request_stop();
    rt.run_until_idle();
}

TEST(supervisor, one_that_is_killed_orphans_nobody) {  // erlang/otp#3670
    manual_runtime rt;
    name_registry names;
    auto s = supervisor::start(rt, "root", quick_options(strategy::one_for_one, &names), list(worker_spec("a"), worker_spec("b")));
    rt.run_until_idle();
    auto a = *names.find("a"), b = *names.find("b");
    s->request_kill();
    rt.run_until_idle();
    EXPECT_FALSE(s->alive());
    EXPECT_FALSE(a->alive());
    EXPECT_FALSE(b->alive());
    EXPECT_EQ(names.size(), 0u);
}

TEST(S9, a_report_as_an_event_has_every_field) {
    manual_runtime rt;
    name_registry names;
    std::vector<json> events;
    auto o = quick_options(strategy::one_for_one, &names);
    o.reports = [&](const supervision_report& r) { events.push_back(r.to_json()); };
    auto s = supervisor::start(rt, "root", std::move(o), list(worker_spec("a", restart_type::transient)));
    rt.run_until_idle();
    crash(names, "a");
    rt.run_until_idle();
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[1], (json{{"report", "child_terminated"}, {"supervisor", "root"}, {"id", "a"}, {"kind", "worker"}, {"incarnation", 1},
                               {"reason", {{"kind", "error"}, {"code", 0}, {"text", "error: boom"}}},
                               {"spec", {{"restart", "transient"}, {"significant", false}}}}));
    s->request_stop();
    rt.run_until_idle();
}

TEST(A1, get_or_start_from_many_threads_starts_one) {
    pool_runtime rt({.threads = 4});
    name_registry names;
    auto o = quick_options(strategy::one_for_one, &names);
    o.rules.dynamic = true;
    auto s = supervisor::start(rt, "root", std::move(o), {});
    std::atomic<int> made{0};
    std::vector<std::thread> threads;
    std::mutex m;
    std::vector<std::uint64_t> incarnations;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                auto r = await<child_ref>(seconds(20), [&](auto done) {
                    s->ensure_child(actor_child("one", "session", [&](const child_context& c) -> result<actor_ref> {
                        ++made;
                        return actor_ref(make_actor<worker>(c.rt(), "x"));
                    }), std::move(done));
                });
                ASSERT_TRUE(r);
                std::lock_guard lock(m);
                incarnations.push_back(r->who.incarnation());
            }
        });
    for (auto& t : threads) t.join();
    EXPECT_EQ(made, 1);
    EXPECT_EQ(std::count(incarnations.begin(), incarnations.end(), incarnations[0]), 200);
    EXPECT_TRUE(s->stop_and_wait(seconds(20)));
}

TEST(supervisor, a_stop_that_comes_while_it_gives_up_is_answered) {
    struct nothing final : child {
        void stop() override {}
        void kill() override {}
    };
    manual_runtime rt;
    std::optional<child_context> context;
    child_spec spec;
    spec.id = "c";
    spec.start = [&](child_context ctx) {
        context = ctx;
        ctx.started(std::make_shared<nothing>());
    };
    auto options = quick_options(strategy::one_for_one, nullptr);
    options.rules.intensity = {0, seconds(1)};
    auto s = supervisor::start(rt, "root", std::move(options), list(std::move(spec)));
    rt.run_until_idle();
    ASSERT_TRUE(context);
    bool stopped = false;
    context->exited({exit_kind::error, 0, "boom"});  // what ends it, and behind it, never to be heard:
    s->stop_all([&](result<void> r) { stopped = r.has_value(); });
    context.reset();
    rt.run_until_idle();
    EXPECT_FALSE(s->alive());
    EXPECT_TRUE(stopped);
}

TEST(supervisor, a_late_start_of_a_dead_incarnation_is_killed_and_not_used) {
    struct probe final : child {
        explicit probe(int& kills) : kills(kills) {}
        void stop() override {}
        void kill() override { ++kills; }
        int& kills;
    };
    manual_runtime rt;
    std::vector<child_context> contexts;
    int kills = 0;
    child_spec slow;
    slow.id = "slow";
    slow.start_deadline = milliseconds(100);
    slow.start = [&](child_context c) { contexts.push_back(c); };
    auto s = supervisor::start(rt, "root", quick_options(strategy::one_for_one, nullptr), {});
    errc code{};
    s->start_child(std::move(slow), [&](result<child_ref> r) { code = r.error().code; });
    rt.advance(seconds(30));
    EXPECT_EQ(code, errc::timeout);
    ASSERT_EQ(contexts.size(), 1u);
    contexts[0].started(std::make_shared<probe>(kills));
    rt.run_until_idle();
    EXPECT_EQ(kills, 1);
    EXPECT_EQ(s->child_count(), 0u);
    contexts.clear();
    s->request_stop();
    rt.run_until_idle();
}

TEST(S10, between_death_and_restart_a_name_answers_stale) {
    manual_runtime rt;
    name_registry names;
    supervisor_options o;
    o.names = &names;  // default backoff: the second restart waits a second
    auto s = supervisor::start(rt, "root", o, list(worker_spec("a")));
    rt.run_until_idle();
    crash(names, "a");
    rt.run_until_idle();
    crash(names, "a");
    rt.run_until_idle();
    EXPECT_EQ(names.find("a").error().code, errc::stale);
    EXPECT_EQ(s->tree()["children"][0]["state"], "restarting");
    rt.advance(seconds(2));
    EXPECT_TRUE(names.find("a"));
    s->request_stop();
    rt.run_until_idle();
}

TEST(A3, stopping_ten_thousand_dynamic_children_is_quick) {
    pool_runtime rt;
    name_registry names;
    auto o = quick_options(strategy::one_for_one, &names);
    o.rules.dynamic = true;
    auto s = supervisor::start(rt, "sessions", std::move(o), {});
    constexpr int n = 10'000;
    std::atomic<int> up{0};
    for (int i = 0; i < n; ++i) {
        // The supervisor's own mailbox is bounded: retry when it says so.
        for (bool sent = false; !sent;) {
            auto r = std::make_shared<std::atomic<int>>(0);
            s->start_child(worker_spec("s" + std::to_string(i), restart_type::transient), [&up, r](result<child_ref> c) {
                if (c) ++up;
                *r = c ? 1 : c.error().code == errc::overloaded ? 2 : 1;
            });
            sent = *r != 2;
            if (!sent) std::this_thread::yield();
        }
    }
    const auto deadline = std::chrono::steady_clock::now() + seconds(60);
    while (up < n && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    ASSERT_EQ(up, n);
    EXPECT_EQ(names.size(), static_cast<std::size_t>(n));
    ASSERT_TRUE(s->stop_and_wait(seconds(30)));
    EXPECT_EQ(s->child_count(), 0u);
    EXPECT_EQ(names.size(), 0u);
}

TEST(supervisor, on_the_pool_crashes_from_many_threads_are_all_recovered) {
    pool_runtime rt({.threads = 4});
    name_registry names;
    ref<supervisor> s;
    const auto up = await<void>(seconds(20), [&](auto done) {
        s = supervisor::start(rt, "root", quick_options(strategy::one_for_one, &names), list(worker_spec("a"), worker_spec("b"), worker_spec("c")), std::move(done));
    });
    ASSERT_TRUE(up) << up.error().message;
    std::vector<std::thread> threads;
    std::atomic<int> crashed{0};
    for (const char* id : {"a", "b", "c"})
        threads.emplace_back([&, id] {
            for (int i = 0; i < 200;)
                if (auto w = names.find_as<worker>(id); w && w->tell([](worker&) { throw 1; })) {
                    ++i;
                    ++crashed;
                } else {
                    std::this_thread::yield();
                }
        });
    std::atomic<bool> stop{false};
    std::thread viewer([&] {
        while (!stop) EXPECT_EQ(s->tree()["children"].size(), 3u);
    });
    for (auto& t : threads) t.join();
    stop = true;
    viewer.join();
    for (const char* id : {"a", "b", "c"}) {
        result<int> alive = fail(errc::timeout, "");
        for (const auto end = std::chrono::steady_clock::now() + seconds(20); !alive && std::chrono::steady_clock::now() < end;) {
            if (auto w = names.find_as<worker>(id)) alive = await<int>(seconds(10), [&](auto done) { w->call([](worker&) { return 1; }, std::move(done)); });
            if (!alive) std::this_thread::yield();
        }
        EXPECT_TRUE(alive) << id;
    }
    ASSERT_TRUE(s->stop_and_wait(seconds(20)));
}
