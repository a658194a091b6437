// How many calls a model gets at once, who waits, and what becomes of those who wait in vain. In simulated time.
#include "fakes.hpp"

namespace holdfast::sessions::testing {
namespace {

struct llm_pool_test : ::testing::Test {
    supervise::manual_runtime rt;
    std::shared_ptr<llm_router> llm = llm_router::create(rt.clock());
    std::shared_ptr<llm_pools> pools = llm_pools::create(rt);
    std::shared_ptr<fake_model> a = std::make_shared<fake_model>(), b = std::make_shared<fake_model>();
    struct call {
        std::uint64_t id = 0;
        std::optional<result<json>> outcome;
        std::string by;
    };

    void SetUp() override {
        llm->configure({{"a", "llm-a", a}, {"b", "llm-b", b}}, "a", {});
        llm->set_pools(pools);
        pool({{"size", 1}, {"max_overflow", 1}, {"wait_s", 5}});
    }
    void TearDown() override {
        while (!a->pending.empty() || !b->pending.empty()) {  // who waited for a slot has it then
            for (auto& m : {a, b})
                while (!m->pending.empty()) m->end(text_answer(""), m->pending.begin()->first);
            rt.run_until_idle();
        }
    }
    void pool(json rules, const std::string& of = "a") { pools->configure({{of, supervise::pool_rules_from(rules).value()}}); }
    std::shared_ptr<call> chat(const std::string& wanted = {}) {
        auto c = std::make_shared<call>();  // second owner: the chat
        llm_events on;
        on.chosen = [c](const std::string& id, const std::string&) { c->by = id; };
        on.done = [c](result<json> r) { c->outcome = std::move(r); };
        c->id = llm->chat(wanted, {{"messages", json::array()}}, std::move(on));
        rt.run_until_idle();
        return c;
    }
    void answer(fake_model& m, result<json> r = text_answer("x")) {
        m.end(std::move(r), m.pending.begin()->first);
        rt.run_until_idle();
    }
    json row(const std::string& of = "a") { return pools->row(of); }
};

TEST_F(llm_pool_test, P1_no_more_calls_at_once_than_size_and_overflow_and_the_next_waits_its_turn) {
    std::vector<std::shared_ptr<call>> calls;
    for (int i = 0; i < 4; ++i) calls.push_back(chat());
    EXPECT_EQ(a->chats, 2);
    EXPECT_EQ(row()["in_use"], 2);
    EXPECT_EQ(row()["waiting"], 2);
    answer(*a);
    EXPECT_TRUE(calls[0]->outcome && *calls[0]->outcome);
    EXPECT_EQ(a->chats, 3) << "who waited longest goes next";
    answer(*a);
    answer(*a);
    EXPECT_TRUE(calls[2]->outcome && !calls[3]->outcome);
    answer(*a);
    for (const auto& c : calls) EXPECT_TRUE(c->outcome && *c->outcome);
    EXPECT_EQ(row()["made"], 2);
    EXPECT_EQ(row()["in_use"], 0);
    EXPECT_EQ(llm->list()["adapters"][0]["pool"]["most"], 2);
    EXPECT_FALSE(llm->list()["adapters"][1].contains("pool"));
}

TEST_F(llm_pool_test, who_waits_in_vain_hears_that_the_overflow_is_reached) {
    chat(), chat();
    const auto late = chat();
    rt.advance(milliseconds(4'999));
    EXPECT_FALSE(late->outcome);
    rt.advance(milliseconds(1));
    ASSERT_TRUE(late->outcome && !*late->outcome);
    EXPECT_EQ(late->outcome->error().code, errc::max_overflow_reached);
    EXPECT_EQ(late->outcome->error().message.rfind("a: ", 0), 0u) << late->outcome->error().message;
    EXPECT_EQ(row()["refused"], 1);
    answer(*a);
    EXPECT_EQ(a->chats, 2) << "P2: one that has given up never owns a slot";
    EXPECT_EQ(row()["idle"], 1);
}

TEST_F(llm_pool_test, the_next_in_the_chain_answers_when_the_overflow_is_reached) {
    llm->configure({{"a", "llm-a", a}, {"b", "llm-b", b}}, "a", {"b"});
    chat(), chat();
    const auto late = chat();
    rt.advance(seconds(5));
    ASSERT_EQ(b->chats, 1);
    answer(*b);
    EXPECT_TRUE(late->outcome && *late->outcome);
    EXPECT_EQ(late->by, "b");
}

TEST_F(llm_pool_test, a_call_that_is_cancelled_while_it_waits_is_not_sent_and_costs_nobody_a_turn) {
    chat(), chat();
    const auto gone = chat(), next = chat();
    llm->cancel(gone->id);
    rt.run_until_idle();
    ASSERT_TRUE(gone->outcome && !*gone->outcome);
    EXPECT_EQ(gone->outcome->error().code, errc::cancelled);
    EXPECT_EQ(row()["waiting"], 1);
    answer(*a);
    EXPECT_EQ(a->chats, 3);
    answer(*a), answer(*a);
    EXPECT_TRUE(next->outcome && *next->outcome);
}

TEST_F(llm_pool_test, P2_a_slot_whose_call_was_not_answered_is_replaced_and_one_with_an_error_is_kept) {
    chat();
    answer(*a, fail(errc::server_error, "500"));
    chat();
    EXPECT_EQ(row()["made"], 1);
    answer(*a, fail(errc::transport_lost, "reset"));
    chat();
    EXPECT_EQ(row()["made"], 2);
    const auto cut = chat();
    llm->cancel(cut->id);
    rt.run_until_idle();
    EXPECT_EQ(row()["in_use"], 1);
    EXPECT_EQ(row()["idle"], 0);
}

TEST_F(llm_pool_test, a_slot_is_looked_at_before_it_is_made_and_after_it_was_idle) {
    a->description = {{"available", false}, {"reason", "no API key"}};
    const auto refused = chat();
    ASSERT_TRUE(refused->outcome && !*refused->outcome);
    EXPECT_EQ(refused->outcome->error().message, "a: no API key");
    EXPECT_EQ(a->chats, 0);
    a->description = {{"available", true}};
    rt.advance(seconds(11));  // what it said counts for ten seconds
    chat();
    answer(*a);
    EXPECT_EQ(row()["idle"], 1);
    rt.advance(seconds(31));
    a->description = {{"available", false}, {"reason", "gone"}};
    const auto again = chat();
    ASSERT_TRUE(again->outcome && !*again->outcome);
    EXPECT_EQ(again->outcome->error().message, "a: gone");
    EXPECT_EQ(row()["idle"], 0);
    EXPECT_GE(row()["replaced"].get<int>(), 1) << "unhealthy";
    EXPECT_EQ(a->chats, 1);
}

TEST_F(llm_pool_test, P3_overflow_that_is_idle_goes_after_its_linger) {
    chat(), chat();
    answer(*a), answer(*a);
    EXPECT_EQ(row()["idle"], 2);
    rt.advance(seconds(30));
    EXPECT_EQ(row()["idle"], 1);
}

TEST_F(llm_pool_test, the_breaker_is_asked_when_the_slot_is_there_and_a_refusal_gives_it_back) {
    bool open = false;
    int granted = 0, reported = 0;
    llm->set_gate({.acquire = [&](const std::string&) { return llm_gate::permit{!open && ++granted, 1, milliseconds(0)}; },
                   .report = [&](const std::string&, std::uint64_t, llm_gate::outcome, nanoseconds) { ++reported; }, .state = {}});
    chat(), chat(), chat();
    EXPECT_EQ(granted, 2) << "who waits holds no permit";
    open = true;
    answer(*a);
    EXPECT_EQ(row()["waiting"], 0);
    EXPECT_EQ(row()["in_use"], 1);
    EXPECT_EQ(row()["idle"], 1);
    answer(*a);
    EXPECT_EQ(reported, granted);
}

TEST_F(llm_pool_test, other_rules_make_another_pool_and_calls_under_way_end_in_theirs) {
    const auto first = chat();
    chat();
    pool({{"size", 3}, {"max_overflow", 0}}, "*");
    for (int i = 0; i < 4; ++i) chat();
    EXPECT_EQ(a->chats, 2 + 3);
    EXPECT_EQ(row()["in_use"], 3);
    answer(*a);
    EXPECT_TRUE(first->outcome && *first->outcome);
    EXPECT_EQ(a->chats, 5) << "the old pool's room is not the new one's";
    EXPECT_EQ(row("b")["size"], 3) << "* is for every adapter";
    pools->configure({});
    chat();
    EXPECT_EQ(a->chats, 6) << "no pool, no limit";
    EXPECT_TRUE(row().is_null());
}

TEST_F(llm_pool_test, a_thousand_waiters_whose_calls_all_end_at_once_do_not_nest) {
    pool({{"size", 1}, {"max_overflow", 0}, {"wait_s", 5}});
    const auto first = chat();
    std::vector<std::shared_ptr<call>> calls;
    for (int i = 0; i < 1000; ++i) calls.push_back(chat());
    EXPECT_EQ(a->chats, 1);
    a->automatic = [](const json&) { return text_answer("x"); };
    answer(*a);
    for (const auto& c : calls) ASSERT_TRUE(c->outcome && *c->outcome);
}

}  // namespace
}  // namespace holdfast::sessions::testing
