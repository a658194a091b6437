// Which model answers, and what happens when it does not.
#include "fakes.hpp"

namespace holdfast::sessions::testing {
namespace {

struct router_test : ::testing::Test {
    manual_clock clock;
    std::shared_ptr<llm_router> llm = llm_router::create(clock);
    std::shared_ptr<fake_model> a = std::make_shared<fake_model>(), b = std::make_shared<fake_model>(), demo = std::make_shared<fake_model>();
    std::vector<std::string> chunks, chosen;
    std::optional<result<json>> outcome;

    void SetUp() override {
        demo->description["demonstration"] = true;
        for (auto& m : {a, b, demo}) m->automatic = nullptr;
    }
    void TearDown() override {
        for (auto& m : {a, b, demo})
            while (!m->pending.empty()) m->end(text_answer(""), m->pending.begin()->first);
    }
    void configure(std::vector<std::string> fallback = {}, std::string preferred = "auto") {
        llm->configure({{"demo", "llm-demo", demo}, {"a", "llm-a", a}, {"b", "llm-b", b}}, std::move(preferred), std::move(fallback));
    }
    std::uint64_t chat(const std::string& wanted = {}, json request = {{"messages", json::array()}}, std::vector<std::string> hints = {}) {
        outcome.reset();
        llm_events on;
        on.chosen = [this](const std::string& id, const std::string&) { chosen.push_back(id); };
        on.chunk = [this](const json& c) { chunks.push_back(string_or(c, "text")); };
        on.done = [this](result<json> r) { outcome = std::move(r); };
        return llm->chat(wanted, std::move(request), std::move(on), std::move(hints));
    }
};

TEST_F(router_test, auto_prefers_the_first_available_real_model) {
    configure();
    chat();
    EXPECT_TRUE(a->asked());
    a->speak("x");
    a->end(text_answer("x"));
    ASSERT_TRUE(outcome && *outcome);
    EXPECT_EQ((**outcome)["adapter"], "a");
    EXPECT_EQ(chosen, std::vector<std::string>{"a"});
    const json list = llm->list();
    EXPECT_EQ(list["chosen"], "a");
    EXPECT_EQ(list["adapters"].size(), 3u);
}

TEST_F(router_test, a_hint_prefers_the_first_model_that_fits) {
    const auto end_of = [](fake_model& m) { m.asked() ? m.end(text_answer("x")) : ADD_FAILURE() << "another one was asked"; };
    a->description["model"] = "gpt-test";
    b->description["model"] = "claude-sonnet-9";
    demo->description["model"] = "opus-demo";
    configure({}, "a");
    chat({}, {{"messages", json::array()}}, {"gemini", "Sonnet", "gpt"});
    end_of(*b);
    chat({}, {{"messages", json::array()}}, {"gemini", "opus"});
    end_of(*a);  // nothing fits: the demonstration only pretends to be a model
    b->description["available"] = false;
    clock.advance(seconds(20));
    chat({}, {{"messages", json::array()}}, {"sonnet"});
    end_of(*a);
}

TEST_F(router_test, auto_falls_to_the_demonstration_and_says_why) {
    a->description = {{"available", false}, {"reason", "no API key"}};
    b->description = {{"available", false}, {"reason", "not running"}};
    configure();
    chat();
    EXPECT_TRUE(demo->asked());
    const json choice = llm->choice();
    EXPECT_EQ(choice["chosen"], "demo");
    EXPECT_NE(string_or(choice, "reason").find("a: no API key"), std::string::npos);
}

TEST_F(router_test, descriptions_are_asked_again_after_a_while) {
    a->description = {{"available", false}, {"reason", "starting"}};
    configure();
    chat();
    EXPECT_TRUE(b->asked());
    a->description = {{"available", true}};
    chat();
    EXPECT_FALSE(a->asked());
    clock.advance(seconds(11));
    chat();
    EXPECT_TRUE(a->asked());
}

TEST_F(router_test, a_failure_before_the_first_byte_goes_to_the_next) {
    configure();
    chat();
    a->end(fail(errc::rate_limited, "slow down"));
    EXPECT_TRUE(b->asked());
    EXPECT_FALSE(outcome);
    b->end(text_answer("b"));
    ASSERT_TRUE(outcome && *outcome);
    EXPECT_EQ((**outcome)["adapter"], "b");
    // A demonstration never answers instead of a real model that failed.
    chat();
    a->end(fail(errc::rate_limited, "slow down"));
    b->end(fail(errc::timeout, "silent"));
    ASSERT_TRUE(outcome);
    EXPECT_EQ((*outcome).error().code, errc::timeout);
    EXPECT_FALSE(demo->asked());
}

TEST_F(router_test, a_failure_after_the_first_byte_is_the_answer) {
    configure({"b"});
    chat("a");
    a->speak("half");
    a->end(fail(errc::transport_lost, "reset"));
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->error().code, errc::transport_lost);
    EXPECT_FALSE(b->asked());
}

TEST_F(router_test, a_chosen_model_falls_back_in_the_configured_order) {
    configure({"demo", "b"}, "a");
    chat();
    a->end(fail(errc::server_error, "500"));
    EXPECT_TRUE(demo->asked());
    demo->end(fail(errc::server_error, "500"));
    EXPECT_TRUE(b->asked());
}

TEST_F(router_test, an_open_breaker_is_passed_over_and_every_permit_reported) {
    configure();
    std::map<std::string, bool> open{{"a", true}};
    std::vector<std::string> reports;
    llm->set_gate({.acquire = [&](const std::string& id) { return llm_gate::permit{!open[id], 7, milliseconds(500)}; },
                   .report = [&](const std::string& id, std::uint64_t g, llm_gate::outcome how, nanoseconds) { reports.push_back(id + std::to_string(g) + std::to_string(static_cast<int>(how))); },
                   .state = [&](const std::string& id) { return open[id] ? "open" : "closed"; }});
    chat();
    EXPECT_FALSE(a->asked());
    b->end(fail(errc::server_error, "500"));
    ASSERT_TRUE(outcome);
    EXPECT_EQ(reports, std::vector<std::string>{"b71"});
    const auto id = chat("b");
    llm->cancel(id);
    EXPECT_EQ(reports.back(), "b72");
    EXPECT_EQ(outcome->error().code, errc::cancelled);
    open["b"] = true;
    chat("b");
    EXPECT_EQ(outcome->error().code, errc::unavailable);
    EXPECT_EQ(outcome->error().retry_after, milliseconds(500));
    EXPECT_EQ(llm->list()["adapters"][1]["breaker"], "open");
}

TEST_F(router_test, nothing_configured_is_an_error_that_helps) {
    chat();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->error().code, errc::unavailable);
    configure();
    chat("nobody");
    EXPECT_NE(outcome->error().message.find("nobody"), std::string::npos);
}

TEST_F(router_test, opaque_parts_return_only_to_their_own_adapter) {
    configure();
    const json own{{"type", "thinking"}, {"signature", "s"}};
    const json request{{"messages", json::array({{{"role", "assistant"},
                                                  {"content", json::array({{{"type", "opaque"}, {"adapter", "a"}, {"part", own}}, {{"type", "opaque"}, {"adapter", "b"}, {"part", 1}},
                                                                           {{"type", "text"}, {"text", "t"}}})}}})}};
    chat("a", request);
    const json& content = a->last_request["messages"][0]["content"];
    ASSERT_EQ(content.size(), 2u);
    EXPECT_EQ(content[0], own);
    chat("demo", request);
    EXPECT_EQ(demo->last_request["messages"][0]["content"].size(), 1u);
}

}  // namespace
}  // namespace holdfast::sessions::testing
