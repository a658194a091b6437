// The C++ layer over the host's services, against the fake host; and the wrappers around a whole plugin.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "holdfast/plugin.hpp"
#include "holdfast/testing/loader.hpp"
#include "holdfast/transport.hpp"

namespace {
using namespace holdfast::sdk;
using namespace std::chrono_literals;
using holdfast::testing::api_reply;
using holdfast::testing::fake_host;
using holdfast::testing::plugin_file;
using holdfast::testing::plugin_instance;

struct services : ::testing::Test {
    fake_host fake;
    host h{fake.abi()};
};

TEST_F(services, log_lines_carry_fields_and_respect_the_level) {
    h.log().info("opened", {{"n", 3}, {"who", "x"}});
    fake.set_log_level(HF_LOG_WARN);
    h.log().info("not this");
    h.log().warn("this");
    const auto logs = fake.logs();
    ASSERT_EQ(logs.size(), 2u);
    EXPECT_EQ(logs[0].message, "opened");
    EXPECT_EQ(logs[0].fields, R"({"n":3,"who":"x"})");
    EXPECT_EQ(logs[1].message, "this");
    EXPECT_EQ(h.id(), "under-test");
}

TEST_F(services, metrics_and_config) {
    h.metrics().add("calls");
    h.metrics().add("calls", 2);
    h.metrics().set("depth", 7);
    EXPECT_EQ(fake.metric("calls"), 3);
    EXPECT_EQ(fake.metric("depth"), 7);
    EXPECT_EQ(h.config().settings(), "{}");
    EXPECT_EQ(h.config().data_dir(), fake.data_dir());
}

TEST_F(services, a_listening_socket_is_the_same_one_each_time) {
    const int a = h.listeners().open("127.0.0.1", 0), b = h.listeners().open("127.0.0.1", 0);
    struct stat first {}, second {};
    ASSERT_EQ(::fstat(a, &first) | ::fstat(b, &second), 0);
    EXPECT_NE(a, b);
    EXPECT_EQ(first.st_ino, second.st_ino);
    ::close(a);
    ::close(b);
    try {
        (void)h.listeners().open("192.0.2.1", 0);  // for documentation: no machine's own
        FAIL();
    } catch (const plugin_error& e) {
        EXPECT_EQ(e.status().code, HF_E_INVALID);
        EXPECT_NE(std::string(e.what()).find("192.0.2.1"), std::string::npos) << e.what();
    }
}

TEST(services_missing, throw_or_do_nothing) {
    fake_host fake({.without = {"hf.metrics/1", "hf.timer/1", "hf.worker/1", "hf.api/1", "hf.events/1", "hf.process/1", "hf.config/1", "hf.log/1", "hf.listen/1"}});
    host h(fake.abi());
    h.metrics().add("x");
    h.log().info("x");
    EXPECT_THROW((void)h.timers().after(1s, [] {}), plugin_error);
    EXPECT_THROW(h.workers().start({.name = "w"}, [](worker_ctl&) {}), plugin_error);
    EXPECT_THROW(h.events().publish("t", {}), plugin_error);
    EXPECT_THROW((void)h.events().subscribe("{}", [](std::string_view) {}), plugin_error);
    EXPECT_THROW((void)h.processes().spawn("{}", {}), plugin_error);
    EXPECT_THROW(h.config().settings(), plugin_error);
    EXPECT_THROW((void)h.listeners().open("127.0.0.1", 0), plugin_error);
    std::int32_t code = HF_OK;
    h.api().call("x", "{}", [&](const status& s, std::string_view) { code = s.code; });
    EXPECT_EQ(code, HF_E_UNSUPPORTED);
}

TEST_F(services, timers_fire_in_order_and_cancel) {
    std::string order;
    const auto a = h.timers().after(2s, [&] { order += 'a'; });
    auto b = h.timers().after(1s, [&] { order += 'b'; });
    auto c = h.timers().after(1500ms, [&] { order += 'c'; });
    timer d = h.timers().after(3s, [&] {
        order += 'd';
        d = timer();  // from inside itself
        throw std::runtime_error("a timer throws");
    });
    c.cancel();
    fake.advance(1s);
    EXPECT_EQ(order, "b");
    b.cancel();
    fake.advance(5s);
    EXPECT_EQ(order, "bad");
    EXPECT_TRUE(fake.wait_for_log("a timer throws"));
    EXPECT_EQ(fake.pending_timers(), 0u);
}

TEST_F(services, a_timer_that_is_over_frees_what_it_holds) {
    const auto held = std::make_shared<int>(1);
    {
        const auto t = h.timers().after(1s, [held] {});
        EXPECT_EQ(held.use_count(), 2);
    }
    EXPECT_EQ(held.use_count(), 1);
    auto t = h.timers().after(1s, [held] {});
    fake.advance(2s);
    EXPECT_EQ(held.use_count(), 1);
    t = timer();

    const auto own = std::make_shared<timer>();
    *own = h.timers().after(1s, [own, held] {});
    fake.advance(2s);
    EXPECT_EQ(own.use_count(), 1);
}

TEST_F(services, events_are_published_and_received) {
    std::vector<std::string> got;
    auto s = h.events().subscribe(R"({"topic":"session:*"})", [&](std::string_view e) { got.emplace_back(json_text(e, "type")); });
    fake.emit("session:1", R"({"type":"one"})");
    fake.emit("other", R"({"type":"two"})");
    EXPECT_EQ(got, std::vector<std::string>{"one"});
    s.close();
    fake.emit("session:1", R"({"type":"three"})");
    EXPECT_EQ(got.size(), 1u);
    EXPECT_EQ(fake.subscriptions(), 0u);
    h.events().publish("Ready", {{"n", 1}});
    h.events().publish("Bare", {});
    EXPECT_EQ(fake.published(), (std::vector<std::string>{R"({"type":"Ready","n":1})", R"({"type":"Bare"})"}));
    EXPECT_THROW(h.events().publish("not json"), plugin_error);
}

TEST_F(services, a_subscription_may_end_itself_and_waits_for_others) {
    subscription s;
    int n = 0;
    s = h.events().subscribe(R"({"topic":"t"})", [&](std::string_view) {
        ++n;
        s.close();
    });
    fake.emit("t", R"({"type":"x"})");
    fake.emit("t", R"({"type":"x"})");
    EXPECT_EQ(n, 1);

    std::promise<void> inside, go;
    std::atomic<bool> left{false};
    auto slow = h.events().subscribe(R"({"topic":"t"})", [&](std::string_view) {
        inside.set_value();
        go.get_future().wait();
        left = true;
    });
    std::thread emitter([&] { fake.emit("t", R"({"type":"x"})"); });
    inside.get_future().wait();
    std::thread releaser([&] { go.set_value(); });
    slow.close();
    EXPECT_TRUE(left) << "close returned while the handler ran";
    emitter.join();
    releaser.join();
}

TEST_F(services, a_throwing_handler_is_logged) {
    const auto s = h.events().subscribe(R"({"topic":"t"})", [](std::string_view) { throw std::runtime_error("handler trouble"); });
    fake.emit("t", R"({"type":"x"})");
    EXPECT_TRUE(fake.wait_for_log("handler trouble"));
}

TEST_F(services, workers_run_throw_and_run_again) {
    std::atomic<int> runs{0};
    h.workers().start({.name = "w", .heartbeat = 100ms}, [&](worker_ctl& ctl) {
        ++runs;
        if (ctl.incarnation() == 1) throw plugin_error(HF_E_IO, "first run fails");
        while (!ctl.wait(1ms)) ctl.beat();
    });
    ASSERT_TRUE(fake.wait_for_worker("w", [](const auto& w) { return !w.running; }));
    EXPECT_EQ(fake.workers()[0].last_code, HF_E_IO);
    EXPECT_EQ(fake.workers()[0].last_message, "first run fails");
    ASSERT_TRUE(fake.restart_worker("w"));
    ASSERT_TRUE(fake.wait_for_worker("w", [](const auto& w) { return w.beats > 3; }));
    EXPECT_THROW(h.workers().start({.name = "w"}, [](worker_ctl&) {}), plugin_error);
    EXPECT_TRUE(h.workers().stop_and_wait("w", std::chrono::steady_clock::now() + 5s));
    EXPECT_EQ(runs, 2);
    EXPECT_TRUE(h.workers().stop_and_wait("never was", std::chrono::steady_clock::now()));
}

TEST_F(services, stop_and_wait_gives_up_at_the_deadline) {
    std::promise<void> inside, go;
    h.workers().start({.name = "stuck"}, [&](worker_ctl&) {
        inside.set_value();
        go.get_future().wait();
    });
    inside.get_future().wait();
    EXPECT_FALSE(h.workers().stop_and_wait("stuck", std::chrono::steady_clock::now()));
    go.set_value();
    fake.revoke();
}

TEST_F(services, temporary_workers_free_what_they_hold) {
    const auto held = std::make_shared<int>(1);
    h.workers().start({.name = "t", .restart = "temporary"}, [held](worker_ctl&) {});
    ASSERT_TRUE(fake.wait_for_worker("t", [](const auto& w) { return !w.running; }));
    EXPECT_EQ(held.use_count(), 1);
}

TEST_F(services, wake_ends_a_wait) {
    std::promise<void> woken;
    h.workers().start({.name = "w"}, [&](worker_ctl& ctl) {
        if (!ctl.wait()) woken.set_value();
        ctl.wait();
    });
    h.workers().wake("w");
    EXPECT_EQ(woken.get_future().wait_for(5s), std::future_status::ready);
    fake.stop_workers();
}

TEST_F(services, processes_speak_and_end) {
    std::promise<std::string> line, exit;
    auto p = h.processes().spawn(R"({"name":"cat","command":"cat"})",
                                 {.on_stdout = [&](std::string_view l) { line.set_value(std::string(l)); },
                                  .on_exit = [&](std::string_view s) { exit.set_value(std::string(s)); }});
    EXPECT_GT(p.pid(), 0);
    EXPECT_TRUE(p.write("hello\n").ok());
    EXPECT_EQ(line.get_future().get(), "hello");
    EXPECT_EQ(json_number<std::int64_t>(p.stats(), "pid"), p.pid());
    p.stop(1000ms);
    EXPECT_EQ(json_text(exit.get_future().get(), "kind"), "exited");
}

TEST_F(services, processes_report_errors_overflow_and_codes) {
    try {
        (void)h.processes().spawn(R"({"command":"/nonexistent"})", {});
        FAIL();
    } catch (const plugin_error& e) {
        EXPECT_EQ(e.status().code, HF_E_COMMAND_NOT_FOUND);
    }
    std::promise<std::string> exit;
    std::string out, err;
    std::uint64_t dropped = 0;
    auto p = h.processes().spawn(
        R"({"command":"sh","args":["-c","echo \"$X\"; echo problem >&2; head -c 100000 /dev/zero | tr '\\0' a; echo; echo end; exit 7"],
            "env":{"X":"from env"},"max_line_bytes":1000})",
        {.on_stdout = [&](std::string_view l) { out += std::string(l) + "|"; },
         .on_stderr = [&](std::string_view l) { err += l; },
         .on_overflow = [&](std::uint64_t n) { dropped = n; },
         .on_exit = [&](std::string_view s) { exit.set_value(std::string(s)); }});
    const std::string status = exit.get_future().get();
    EXPECT_EQ(json_number<int>(status, "code"), 7);
    EXPECT_EQ(out, "from env|end|");
    EXPECT_EQ(err, "problem");
    EXPECT_EQ(dropped, 100000u);
}

TEST_F(services, destroying_a_process_stops_it_in_silence) {
    {
        auto p = h.processes().spawn(R"({"command":"sleep","args":["1000"]})", {.on_exit = [](std::string_view) { ADD_FAILURE(); }});
        EXPECT_EQ(fake.processes_running(), 1u);
    }
    fake.revoke();
    EXPECT_EQ(fake.processes_running(), 0u);
}

TEST_F(services, handlers_that_own_their_process_go_when_it_has_ended) {
    struct told {
        std::promise<void>& that;
        ~told() { that.set_value(); }
    };
    struct link {
        told gone;
        process child;
    };
    std::promise<void> gone;
    {
        std::shared_ptr<link> l(new link{{gone}, {}});
        l->child = h.processes().spawn(R"({"command":"cat","lines":true})", {.on_stdout = [l](std::string_view) {}, .on_exit = [l](std::string_view) {}});
        l->child.stop(1000ms);
    }
    EXPECT_EQ(gone.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(services, api_calls_complete_once) {
    fake.on_api("sum", [](const std::string& r) { return api_reply{HF_OK, r}; });
    fake.on_api("no", [](const std::string&) { return api_reply{HF_E_NOT_FOUND, "nothing there"}; });
    int n = 0;
    h.api().call("sum", R"({"a":1})", [&](const status& s, std::string_view r) {
        ++n;
        EXPECT_TRUE(s.ok());
        EXPECT_EQ(r, R"({"params":{"a":1},"identity":{"user":"u"}})");
    }, {.identity_json = R"({"user":"u"})"});
    h.api().call("no", "", [&](const status& s, std::string_view r) {
        ++n;
        EXPECT_EQ(s.code, HF_E_NOT_FOUND);
        EXPECT_EQ(json_text(r, "message"), "nothing there");
    });
    h.api().call("unknown", "", [&](const status& s, std::string_view) {
        ++n;
        EXPECT_EQ(s.code, HF_E_UNSUPPORTED);
    });
    EXPECT_EQ(n, 3);
    fake.on_api("authenticate", [](const std::string& t) { return t == "good" ? api_reply{HF_OK, "{}"} : api_reply{HF_E_AUTH, "no"}; });
    EXPECT_EQ(h.api().authenticate("good"), "{}");
    EXPECT_THROW(h.api().authenticate("bad"), plugin_error);
}

// A sink that counts what the host would see.
struct closes {
    int n = 0, messages = 0;
    std::string why;
    hf_transport_sink table() {
        hf_transport_sink s{};
        s.size = sizeof s;
        s.ctx = this;
        s.on_open = [](void*, hf_bytes) {};
        s.on_message = [](void* c, hf_bytes) { ++static_cast<closes*>(c)->messages; };
        s.on_request_failed = [](void*, hf_bytes, const hf_error*) {};
        s.on_log = [](void*, hf_str) {};
        s.on_closed = [](void* c, const hf_error* e) {
            ++static_cast<closes*>(c)->n;
            static_cast<closes*>(c)->why = from_error(e).message;
        };
        return s;
    }
};

TEST(transport_sink, is_closed_once_however_often) {
    closes c;
    const auto table = c.table();
    {
        const transport_sink a(&table);
        const transport_sink b = a;
        b.message("{}");
        a.closed();
        b.closed({HF_E_IO, "late"});
        b.message("{}");
    }
    EXPECT_EQ(c.n, 1);
    EXPECT_EQ(c.messages, 1);
    EXPECT_EQ(c.why, "");
}

TEST(transport_sink, tells_when_the_last_copy_goes) {
    closes c;
    const auto table = c.table();
    { const transport_sink a(&table), b = a; }
    EXPECT_EQ(c.n, 1);
    EXPECT_NE(c.why, "");
}

std::string plugin(const char* name) { return std::string(TEST_PLUGINS) + "/" + name + ".so"; }

TEST(boundary, exceptions_in_every_function_become_errors) {
    const plugin_file file(plugin("bad_throws_caught"));
    for (const std::string where : {"create", "init", "start", "quiesce", "stop"}) {
        plugin_instance p(file, {.settings = R"({"throw_in":")" + where + "\"}"});
        status s = p.up();
        if (s.ok()) s = p.down();
        EXPECT_EQ(s.code, HF_E_INTERNAL) << where;
        EXPECT_EQ(s.message, "bad_throws_caught in " + where);
    }
    plugin_instance p(file, {.settings = R"({"throw_in":"get_ext"})"});
    ASSERT_TRUE(p.up().ok());
    EXPECT_EQ(p.ext<void>("hf.llm/1"), nullptr);
}

TEST(boundary, missing_symbols_are_named) {
    const auto why = [](const char* name) {
        try {
            plugin_file file(plugin(name));
        } catch (const std::exception& e) {
            return std::string(e.what());
        }
        return std::string();
    };
    EXPECT_NE(why("bad_no_entry").find("hf_plugin_entry_v1"), std::string::npos);
    EXPECT_NE(why("bad_no_manifest").find("hf_plugin_manifest"), std::string::npos);
}

TEST(three_workers, one_throws_and_runs_again) {
    const plugin_file file(plugin("three_workers"));
    fake_host dir_owner;
    plugin_instance p(file, {.settings = json_object({{"trigger_dir", dir_owner.data_dir()}})});
    ASSERT_TRUE(p.up().ok());
    ASSERT_EQ(p.host().workers().size(), 3u);
    ASSERT_TRUE(p.host().wait_for_worker("w2", [](const auto& w) { return w.beats > 1; }));
    std::fclose(std::fopen((dir_owner.data_dir() + "/throw-w2").c_str(), "w"));
    ASSERT_TRUE(p.host().wait_for_worker("w2", [](const auto& w) { return !w.running; }));
    EXPECT_EQ(p.host().workers()[1].last_message, "three_workers: w2 was told to throw");
    EXPECT_TRUE(p.host().restart_worker("w2"));
    EXPECT_TRUE(p.host().wait_for_worker("w2", [](const auto& w) { return w.running && w.incarnation == 2; }));
    EXPECT_TRUE(p.down().ok());
}

}  // namespace
