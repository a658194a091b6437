// Many sessions: found, started once, hibernated, restarted, quarantined, ended. Rules A1–A3.
#include <future>
#include <thread>

#include "fakes.hpp"
#include "kernel/supervise/supervisor.hpp"

namespace holdfast::sessions::testing {
namespace {

struct directory_test : ::testing::Test {
    std::shared_ptr<disk> rows = std::make_shared<disk>();
    std::shared_ptr<deeds> world = std::make_shared<deeds>();
};

TEST_F(directory_test, unknown_sessions_are_told_so) {
    life l(rows, world);
    EXPECT_EQ(l.call("session.get", {{"session_id", "nobody"}}).error().code, errc::session_not_found);  // not indexed yet
    l.boot();
    EXPECT_EQ(l.call("session.get", {{"session_id", "nobody"}}).error().code, errc::session_not_found);
    EXPECT_EQ(l.call("session.get", {{"session_id", "../etc"}}).error().code, errc::session_not_found);
    EXPECT_EQ(l.call("session.create", {{"session_id", "a b"}}).error().code, errc::invalid_argument);
    EXPECT_EQ(l.call("session.create", {{"session_id", "system"}}).error().code, errc::invalid_argument);
    EXPECT_EQ(l.dir->stats().known, 0u);
    l.must("session.create", {{"session_id", "s1"}});
    EXPECT_EQ(l.call("session.create", {{"session_id", "s1"}}).error().code, errc::already_exists);
    EXPECT_FALSE(string_or(l.must("session.create", json::object()), "session_id").empty());
    EXPECT_EQ(l.must("session.list", json::object())["sessions"].size(), 2u);
}

TEST_F(directory_test, a_session_created_before_the_store_is_there_waits_for_it) {
    life l(rows, world);
    l.store->absent = true;
    std::optional<result<json>> created;
    l.dir->invoke("session.create", {}, {{"session_id", "s1"}}, [&](result<json> r) { created = std::move(r); });
    l.rt.advance(seconds(2));
    EXPECT_FALSE(created);
    EXPECT_EQ(l.dir->stats().live, 1u) << "the actor waits, it is not started again and again";
    l.store->absent = false;
    l.rt.advance(store_look);
    ASSERT_TRUE(created && *created) << "answered by the same start";
    EXPECT_EQ(rows->streams.count("session:s1"), 1u);
}

TEST_F(directory_test, a_store_that_does_not_come_is_reported_after_its_time) {
    session_options o;
    o.store_timeout = seconds(3);
    life l(rows, world, o);
    l.store->absent = true;
    std::optional<result<json>> created;
    l.dir->invoke("session.create", {}, {{"session_id", "s1"}}, [&](result<json> r) { created = std::move(r); });
    l.rt.advance(seconds(2));
    EXPECT_FALSE(created);
    l.rt.advance(seconds(2));
    ASSERT_TRUE(created);
    EXPECT_EQ(created->error().code, errc::unavailable);
    EXPECT_EQ(l.dir->stats().live, 0u);
}

TEST_F(directory_test, the_list_begins_with_the_newest_activity_and_pages_without_loss) {
    life l(rows, world);
    l.boot();
    l.model->automatic = [](const json&) { return text_answer("a"); };
    for (const char* id : {"a", "b", "c", "d", "e"}) {
        l.must("session.create", {{"session_id", id}});
        l.rt.advance(milliseconds(10));
    }
    ASSERT_TRUE(l.send("b", "hi"));
    const auto ids = [](const json& page) {
        std::string out;
        for (const json& s : page["sessions"]) out += string_or(s, "session_id");
        return out;
    };
    EXPECT_EQ(ids(l.must("session.list", json::object())), "bedca");
    const json first = l.must("session.list", {{"limit", 2}});
    EXPECT_EQ(ids(first), "be");
    l.rt.advance(milliseconds(10));
    ASSERT_TRUE(l.send("c", "now the newest"));  // before the page: whoever reads on does not see it twice, nor misses others
    ASSERT_TRUE(l.send("e", "on to the first page's front"));
    const json second = l.must("session.list", {{"limit", 2}, {"after", first["next"]}});
    EXPECT_EQ(ids(second), "da");
    EXPECT_FALSE(second.contains("next"));
    EXPECT_EQ(ids(l.must("session.list", {{"after", "d"}})), "a") << "an id will do as well";
    // In the next life, from the store, and of equal age by id.
    l.end();
    life later(rows, world, {}, seconds(5));
    later.boot();
    EXPECT_EQ(ids(later.must("session.list", json::object())).substr(2), "bda");
}

TEST_F(directory_test, A1_many_who_ask_start_a_session_once) {
    {
        life l(rows, world);
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        l.end();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    EXPECT_EQ(l.dir->stats().live, 0u);
    int answers = 0;
    for (int i = 0; i < 50; ++i) l.dir->invoke("session.get", {}, {{"session_id", "s1"}}, [&](result<json> r) { answers += r.has_value(); });
    l.run();
    EXPECT_EQ(answers, 50);
    EXPECT_EQ(l.dir->stats().woken, 1u);
}

TEST_F(directory_test, A2_an_idle_session_hibernates_and_a_message_wakes_it_once) {
    session_options o;
    o.hibernate_after = seconds(60);
    life l(rows, world, o);
    l.boot();
    l.model->automatic = [](const json&) { return text_answer("a"); };
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    const json before = l.snapshot("s1");
    l.rt.advance(seconds(130));
    EXPECT_EQ(l.dir->stats().live, 0u);
    EXPECT_EQ(l.dir->stats().hibernated, 1u);
    EXPECT_TRUE(l.bus.replay("session:s1", 1).events.empty()) << "the ring is given back, only the numbering stays";
    EXPECT_EQ(l.must("session.list", json::object())["sessions"][0]["live"], false);
    EXPECT_EQ(rows->tables["snapshots"].count("s1"), 1u);
    EXPECT_EQ(l.snapshot("s1"), before);  // within one life even the numbers and the epoch go on
    EXPECT_EQ(l.dir->stats().woken, 2u);
    EXPECT_TRUE(l.send("s1", "again"));
}

TEST_F(directory_test, A2_a_session_with_a_turn_under_way_does_not_hibernate) {
    session_options o;
    o.hibernate_after = seconds(10);
    life l(rows, world, o);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.rt.advance(seconds(60));
    EXPECT_EQ(l.dir->stats().live, 1u);
}

TEST_F(directory_test, A2_restoring_from_a_snapshot_and_from_the_log_alone_gives_the_same) {
    session_options o;
    o.snapshot_every = 10;
    json before;
    {
        life l(rows, world, o);
        l.boot();
        l.model->automatic = [](const json& r) {
            return r["messages"].back()["role"] == "tool" ? text_answer("done") : tool_answer({{"demo__count", {{"n", r["messages"].size()}}}}, static_cast<int>(r["messages"].size()));
        };
        l.tools->automatic = true;
        l.must("session.create", {{"session_id", "s1"}});
        l.must("session.configure", {{"session_id", "s1"}, {"allow", {"demo/*"}}});
        for (int i = 0; i < 10; ++i) ASSERT_TRUE(l.send("s1", "go", "k" + std::to_string(i)));
        before = l.snapshot("s1");
        l.cut();
    }
    ASSERT_EQ(rows->tables["snapshots"].count("s1"), 1u);
    const auto restored = [&](int later) {
        life l(rows, world, o, seconds(later));
        l.boot();
        json s = l.snapshot("s1");
        for (const char* k : {"epoch", "seq"}) s.erase(k);
        l.cut();
        return s;
    };
    for (const char* k : {"epoch", "seq"}) before.erase(k);
    EXPECT_EQ(restored(5), before);
    {  // At rest, its messages packed, and back.
        life l(rows, world, o, seconds(7));
        l.boot();
        json s = l.snapshot("s1");
        l.rt.advance(seconds(600));
        EXPECT_EQ(l.snapshot("s1"), s);
        l.rt.advance(seconds(600));
        EXPECT_TRUE(l.must("session.history", {{"session_id", "s1"}})["messages"] == s["messages"]);
        l.cut();
    }
    rows->tables["snapshots"].clear();
    EXPECT_EQ(restored(10), before);
    rows->tables["snapshots"]["s1"] = {{"seq", 3}, {"state", {{"version", 99}}}};
    EXPECT_EQ(restored(15), before);
}

TEST_F(directory_test, a_crashed_session_is_back_from_the_journal_and_others_are_untouched) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    l.must("session.create", {{"session_id", "s2"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    l.model->end(text_answer("a"));
    l.run();
    // A late write of another incarnation: the journal holds what this one did not write.
    const std::uint64_t last = rows->streams["session:s1"].rbegin()->first;
    rows->streams["session:s1"][last + 2] = {{"stream", "session:s1"}, {"seq", last + 2}, {"type", "SessionConfigured"}, {"at", "x"}, {"data", {{"session_id", "s1"}, {"title", "foreign"}}}};
    auto r = l.send("s1", "boom", "k");
    EXPECT_FALSE(r);
    EXPECT_EQ(l.dir->stats().restarts, 1u);
    EXPECT_EQ(l.snapshot("s1")["title"], "foreign");
    EXPECT_TRUE(l.send("s1", "boom", "k"));
    EXPECT_EQ(l.dir->stats().live, 2u);
    EXPECT_EQ(l.snapshot("s2")["messages"].size(), 0u);
}

TEST_F(directory_test, A2_restored_three_times_without_success_is_quarantined_until_retried) {
    {
        life l(rows, world);
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        l.must("session.create", {{"session_id", "s2"}});
        l.end();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    // The store says that the stream is damaged.
    struct damaged final : plugins::call_port {
        std::shared_ptr<plugins::call_port> inner;
        bool on = true;
        std::uint64_t submit(std::string m, json r, milliseconds t, on_chunk c, on_done d) override {
            if (on && m == "read" && string_or(r, "stream") == "session:s1") return d(fail(errc::corrupt, "checksum")), 0;
            return inner->submit(std::move(m), std::move(r), t, std::move(c), std::move(d));
        }
        void cancel(std::uint64_t) override {}
    };
    auto bad = std::make_shared<damaged>();
    bad->inner = l.store;
    session_services s;
    s.rt = &l.rt;
    s.bus = &l.bus;
    s.store = bad;
    s.tools = l.tools;
    s.llm = l.llm;
    s.start_child = unsupervised(l.rt);
    auto dir = session_directory::create(s, {});
    dir->start({});
    l.run();
    const auto get = [&](const char* method, const char* id) {
        std::optional<result<json>> out;
        dir->invoke(method, {}, {{"session_id", id}}, [&](result<json> r) { out = std::move(r); });
        l.run();
        return out ? *out : result<json>(fail(errc::timeout, "none"));
    };
    auto r = get("session.get", "s1");
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("session.retry"), std::string::npos) << r.error().message;
    EXPECT_EQ(dir->stats().restarts, 3u);
    EXPECT_EQ(dir->stats().quarantined, 1u);
    EXPECT_TRUE(get("session.get", "s2"));
    bad->on = false;
    EXPECT_TRUE(get("session.retry", "s1"));
    bool done = false;
    dir->stop(seconds(1), [&] { done = true; });
    l.run();
    EXPECT_TRUE(done);
}

TEST_F(directory_test, the_limit_of_live_sessions_makes_idle_ones_hibernate) {
    session_options o;
    o.max_live = 2;
    life l(rows, world, o);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    l.must("session.create", {{"session_id", "s2"}});
    EXPECT_EQ(l.call("session.create", {{"session_id", "s3"}}).error().code, errc::overloaded);
    l.must("session.create", {{"session_id", "s3"}});
    EXPECT_EQ(l.dir->stats().live, 2u);
}

TEST_F(directory_test, a_destroyed_session_leaves_nothing) {
    life l(rows, world);
    l.boot();
    l.must("session.create", {{"session_id", "s1"}});
    ASSERT_TRUE(l.send("s1", "hi"));
    auto sub = l.bus.subscribe("session:s1");
    l.must("session.destroy", {{"session_id", "s1"}});
    EXPECT_TRUE(rows->streams.empty());
    for (const auto& [table, content] : rows->tables) EXPECT_EQ(content.count("s1"), 0u) << table;
    EXPECT_EQ(l.call("session.get", {{"session_id", "s1"}}).error().code, errc::session_not_found);
    std::string last;
    for (const auto& i : sub.poll(100))
        if (i.ev) last = i.ev->type();
    EXPECT_EQ(last, "SessionStateChanged");
    l.must("session.create", {{"session_id", "s1"}});
    EXPECT_EQ(l.snapshot("s1")["messages"].size(), 0u);
}

TEST_F(directory_test, the_start_waits_for_the_store) {
    life l(rows, world);
    l.store->fail_reads = 2;
    bool up = false;
    l.dir->start([&](result<void>) { up = true; });
    l.run();
    EXPECT_FALSE(up);
    l.rt.advance(seconds(3));
    EXPECT_TRUE(up);
}

TEST_F(directory_test, a_store_that_is_down_does_not_quarantine) {
    {
        life l(rows, world);
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        l.end();
    }
    life l(rows, world, {}, seconds(5));
    l.boot();
    for (int i = 0; i < 5; ++i) {
        l.store->fail_reads = 1;
        EXPECT_FALSE(l.call("session.get", {{"session_id", "s1"}}));
    }
    EXPECT_TRUE(l.call("session.get", {{"session_id", "s1"}}));
}

TEST_F(directory_test, old_idle_sessions_are_destroyed_when_the_rule_is_on) {
    {
        life l(rows, world);
        l.boot();
        l.must("session.create", {{"session_id", "s1"}});
        l.end();
    }
    session_options o;
    o.delete_after = seconds(3600);
    life l(rows, world, o, seconds(60));
    l.boot();
    EXPECT_EQ(l.dir->stats().known, 1u);
    l.rt.advance(seconds(7200));
    EXPECT_EQ(l.dir->stats().known, 0u);
    EXPECT_TRUE(rows->streams.empty());
}

TEST_F(directory_test, A3_stop_saves_and_ends_every_session) {
    life l(rows, world);
    l.boot();
    for (int i = 0; i < 300; ++i) l.must("session.create", {{"session_id", "s" + std::to_string(i)}});
    EXPECT_EQ(l.dir->stats().live, 300u);
    bool done = false;
    l.dir->stop(seconds(5), [&] { done = true; });
    l.stopped = true;
    l.run();
    EXPECT_TRUE(done);
    EXPECT_EQ(l.dir->stats().live, 0u);
    EXPECT_EQ(rows->tables["snapshots"].size(), 300u);
    EXPECT_EQ(l.call("session.get", {{"session_id", "s1"}}).error().code, errc::unavailable);
}

/// On real threads under a real supervisor: callers, chunks and exits race.
TEST_F(directory_test, A1_real_threads_lose_and_mix_nothing) {
    supervise::pool_runtime rt({.threads = 4});
    events::bus bus;
    auto store = std::make_shared<fake_store>(rows);
    auto model = std::make_shared<fake_model>();
    model->automatic = [](const json&) { return text_answer("hello you"); };
    auto llm = llm_router::create(rt.clock());
    llm->configure({{"fake", "llm-fake", model}}, "auto", {});
    supervise::supervisor_options so;
    so.rules.dynamic = true;
    auto sup = supervise::supervisor::start(rt, "sessions", std::move(so), {});
    session_options o;
    o.hibernate_after = milliseconds(1);  // all the time
    auto dir = session_directory::create({&rt, &bus, store, std::make_shared<fake_tools>(world), llm, children_of([sup] { return sup; })}, o);
    std::mutex mutex;
    std::condition_variable changed;
    int open = 0;
    std::map<std::string, std::set<std::string>> acknowledged;
    const auto ask = [&](const std::string& method, json params, std::function<void(result<json>)> then) {
        {
            std::lock_guard lock(mutex);
            ++open;
        }
        dir->invoke(method, {"u", "t"}, std::move(params), [&, then](result<json> r) {
            then(std::move(r));
            std::lock_guard lock(mutex);
            --open;
            changed.notify_all();
        });
    };
    const auto settle = [&] {
        std::unique_lock lock(mutex);
        return changed.wait_for(lock, seconds(30), [&] { return open == 0; });
    };
    ask("session.create", {{"session_id", "s0"}}, [](result<json>) {});
    ask("session.create", {{"session_id", "s1"}}, [](result<json>) {});
    ask("session.create", {{"session_id", "s2"}}, [](result<json>) {});
    ASSERT_TRUE(settle());
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; ++t)
        callers.emplace_back([&, t] {
            for (int i = 0; i < 60; ++i) {
                const std::string id = "s" + std::to_string(i % 3), key = std::to_string(t) + "-" + std::to_string(i);
                ask("session.send", {{"session_id", id}, {"content", key}, {"idem_key", key}}, [&, id](result<json> r) {
                    if (!r) return;
                    std::lock_guard lock(mutex);
                    EXPECT_TRUE(acknowledged[id].insert(string_or(*r, "message_id")).second);
                });
                if (i % 5 == 0) ask("session.get", {{"session_id", id}}, [](result<json> r) { EXPECT_TRUE(r) << r.error().message; });
                if (i % 10 == 9) (void)settle();
            }
        });
    for (auto& c : callers) c.join();
    ASSERT_TRUE(settle());
    ask("session.list", json::object(), [](result<json>) {});
    std::promise<void> stopped;
    dir->stop(seconds(20), [&] { stopped.set_value(); });
    ASSERT_EQ(stopped.get_future().wait_for(seconds(30)), std::future_status::ready);
    for (const auto& [id, messages] : acknowledged)
        for (const std::string& m : messages) {
            int found = 0;
            for (const auto& [n, row] : rows->streams["session:" + id]) found += row["type"] == "MessageAdded" && row["data"]["message_id"] == m;
            EXPECT_EQ(found, 1) << id << " " << m;
        }
    EXPECT_EQ(acknowledged.size(), 3u);
    EXPECT_TRUE(sup->stop_and_wait(seconds(10)));
    rt.stop(seconds(5));
}

}  // namespace
}  // namespace holdfast::sessions::testing
