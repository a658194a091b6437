// Exactly one completion, whatever the plugin does (bad_calls breaks each rule).
#include "fixture.hpp"

namespace holdfast::plugins::testing {
namespace {

struct outcome {
    std::mutex mutex;
    std::condition_variable arrived;
    std::vector<result<json>> done;
    std::vector<json> chunks;
    bool wait() {
        std::unique_lock lock(mutex);
        return arrived.wait_for(lock, patience, [&] { return !done.empty(); });
    }
};

class call_ports : public plugin_host {
  protected:
    std::shared_ptr<outcome> submit(const std::string& mode, milliseconds timeout = milliseconds(0)) {
        EXPECT_TRUE(add(spec("b", "bad_calls", {{"mode", mode}})));
        port = make_call_port(set->resolve<hf_llm>("b", HF_EXT_LLM), rt, "b");
        auto o = std::make_shared<outcome>();
        id = port->submit("chat", json::object(), timeout,
                          [o](const json& c) {
                              std::lock_guard lock(o->mutex);
                              o->chunks.push_back(c);
                          },
                          [o](result<json> r) {
                              std::lock_guard lock(o->mutex);
                              o->done.push_back(std::move(r));
                              o->arrived.notify_all();
                          });
        return o;
    }
    /// After the plugin is gone nothing more can come.
    void expect_once(outcome& o) {
        ASSERT_TRUE(stop("b"));
        std::lock_guard lock(o.mutex);
        EXPECT_EQ(o.done.size(), 1u);
    }
    std::shared_ptr<call_port> port;
    std::uint64_t id = 0;
};

TEST_F(call_ports, good_answer_after_its_chunks) {
    auto o = submit("ok");
    ASSERT_TRUE(o->wait());
    EXPECT_TRUE(o->done[0]);
    EXPECT_EQ(o->chunks.size(), 1u);
    expect_once(*o);
}
TEST_F(call_ports, second_answer_is_dropped_and_counted) {
    const auto before = late_answers();
    auto o = submit("twice");
    ASSERT_TRUE(o->wait());
    expect_once(*o);
    EXPECT_TRUE(until([&] { return late_answers() == before + 1; })) << late_answers();
}
TEST_F(call_ports, chunk_after_the_answer_is_dropped) {
    const auto before = late_answers();
    auto o = submit("chunk_after_done");
    ASSERT_TRUE(o->wait());
    EXPECT_EQ(o->chunks.size(), 1u);
    EXPECT_TRUE(until([&] { return late_answers() == before + 1; })) << late_answers();
    expect_once(*o);
}
TEST_F(call_ports, answer_and_error_is_the_answer) {
    auto o = submit("done_and_error");
    ASSERT_TRUE(o->wait());
    EXPECT_TRUE(o->done[0]);
    expect_once(*o);
}
TEST_F(call_ports, garbage_is_a_protocol_error) {
    auto o = submit("garbage");
    ASSERT_TRUE(o->wait());
    EXPECT_EQ(o->done[0].error().code, errc::protocol_error);
    expect_once(*o);
}
TEST_F(call_ports, no_answer_is_a_timeout) {
    auto o = submit("never", milliseconds(20));
    ASSERT_TRUE(o->wait());
    EXPECT_EQ(o->done[0].error().code, errc::timeout);
    expect_once(*o);
}
TEST_F(call_ports, stop_completes_what_is_under_way) {
    auto o = submit("never");
    auto r = stop("b");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->phase, instance_phase::stopped) << r->reason;
    ASSERT_TRUE(o->wait());
    EXPECT_EQ(o->done[0].error().code, errc::plugin_failed);
    EXPECT_FALSE(logged("still holds")) << "the call let go of the plugin";
}
TEST_F(call_ports, an_answer_given_in_stop_counts) {
    auto o = submit("late");
    ASSERT_TRUE(stop("b"));
    ASSERT_TRUE(o->wait());
    EXPECT_TRUE(o->done[0]);
}
TEST_F(call_ports, a_cancel_that_is_ignored_is_completed_by_the_host) {
    auto o = submit("never");
    port->cancel(id);
    ASSERT_TRUE(o->wait());
    EXPECT_EQ(o->done[0].error().code, errc::cancelled);
    expect_once(*o);
}
TEST_F(call_ports, not_active_is_said_at_once) {
    auto o = submit("ok");
    ASSERT_TRUE(o->wait());
    ASSERT_TRUE(stop("b"));
    auto r = call("b", "chat");
    EXPECT_EQ(r.error().code, errc::unavailable);
}
TEST_F(call_ports, many_calls_while_the_plugin_restarts_all_complete) {
    auto s = spec("b", "bad_throws");
    s.supervision = quick(100);
    ASSERT_TRUE(add(s));
    port = make_call_port(set->resolve<hf_llm>("b", HF_EXT_LLM), rt, "b");
    constexpr int threads = 4, each = 500;
    std::atomic<int> done{0};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&] {
            for (int i = 0; i < each; ++i) port->submit("chat", json::object(), seconds(10), {}, [&](result<json>) { ++done; });
        });
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(ask([&](auto finished) { set->restart("b", std::move(finished)); }));
    for (auto& t : all) t.join();
    ASSERT_TRUE(stop("b"));
    EXPECT_EQ(done.load(), threads * each);
}

/// A plugin that keeps its calls until told to answer.
struct keeper {
    std::vector<hf_call> kept;
    template <class Table>
    static const Table* table() {
        static const Table t{sizeof(Table), 0,
                             [](void* self, const hf_call* c, hf_error*) -> std::int32_t {
                                 static_cast<keeper*>(self)->kept.push_back(*c);
                                 return HF_PENDING;
                             },
                             [](void*, std::uint64_t) {}};
        return &t;
    }
    void answer(std::string_view text) {
        for (const hf_call& c : kept) c.on_done(c.ctx, c.id, nullptr, {text.data(), text.size()});
        kept.clear();
    }
};

TEST(CallPorts, calls_of_two_interfaces_are_never_mistaken_for_one_another) {
    supervise::manual_runtime rt;
    keeper model, store;
    auto llm = make_call_port(resolver<hf_llm>([&]() -> result<bound<hf_llm>> { return bound<hf_llm>{keeper::table<hf_llm>(), &model, nullptr}; }), rt, "llm");
    auto db = make_call_port(resolver<hf_store>([&]() -> result<bound<hf_store>> { return bound<hf_store>{keeper::table<hf_store>(), &store, nullptr}; }), rt, "store");
    std::vector<std::string> answers;
    for (int i = 0; i < 4; ++i) {
        llm->submit("describe", json::object(), milliseconds(0), {}, [&](result<json> r) { answers.push_back(r ? string_or(*r, "from") : r.error().message); });
        db->submit("get", json::object(), milliseconds(0), {}, [&](result<json> r) { answers.push_back(r ? string_or(*r, "from") : r.error().message); });
    }
    store.answer(R"({"from":"store"})");
    model.answer(R"({"from":"llm"})");
    EXPECT_EQ(answers, (std::vector<std::string>{"store", "store", "store", "store", "llm", "llm", "llm", "llm"}));
}

}  // namespace
}  // namespace holdfast::plugins::testing
