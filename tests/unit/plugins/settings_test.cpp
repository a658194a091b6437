#include <gtest/gtest.h>

#include "kernel/plugins/abi_errors.hpp"
#include "kernel/plugins/plugin_set.hpp"

namespace holdfast::plugins {
namespace {

TEST(supervision_settings, defaults_and_every_member) {
    auto d = supervision_from(json());
    ASSERT_TRUE(d);
    EXPECT_EQ(d->limit.intensity, 5u);
    auto s = supervision_from({{"strategy", "rest_for_one"}, {"restart", "transient"}, {"max_restarts", 2}, {"window_s", 30},
                               {"backoff", {{"initial_ms", 500}, {"multiplier", 3}, {"max_ms", 4000}, {"jitter", 0.1}}}});
    ASSERT_TRUE(s) << s.error().message;
    EXPECT_EQ(s->how, supervise::strategy::rest_for_one);
    EXPECT_EQ(s->restart, supervise::restart_type::transient);
    EXPECT_EQ(s->limit.intensity, 2u);
    EXPECT_EQ(s->limit.period, seconds(30));
    EXPECT_EQ(s->backoff.initial, milliseconds(500));
    EXPECT_EQ(s->backoff.cap, milliseconds(4000));
}
TEST(supervision_settings, faults_are_named) {
    const std::pair<json, const char*> cases[] = {{json(3), "object"}, {{{"strategy", "all"}}, "strategy"}, {{{"restart", 1}}, ""}, {{{"restart", "often"}}, "restart"},
                                                  {{{"max_restarts", -1}}, "max_restarts"}, {{{"window_s", "x"}}, "window_s"}, {{{"backoff", {{"jitter", 2}}}}, "jitter"}};
    for (const auto& [config, what] : cases) {
        auto r = supervision_from(config);
        if (std::string(what).empty()) continue;  // another type falls back to the default; the schema of the file catches it
        ASSERT_FALSE(r) << config;
        EXPECT_EQ(r.error().code, errc::config_invalid);
        EXPECT_NE(r.error().message.find(what), std::string::npos) << r.error().message;
    }
    EXPECT_FALSE(supervision_from({{"max_restarts", 20}, {"window_s", 1}})) << "B4: it could never trip";
}

TEST(abi_errors, survive_the_round_trip) {
    for (const auto code : {errc::timeout, errc::not_found, errc::read_only, errc::rate_limited, errc::unavailable, errc::cancelled, errc::command_not_found}) {
        const auto abi = make_hf_error({code, "m", milliseconds(1500)});
        const auto back = from_abi(abi.code, &abi);
        EXPECT_EQ(back.code, code);
        EXPECT_EQ(back.message, "m");
        EXPECT_EQ(back.retry_after, milliseconds(1500));
    }
}
TEST(abi_errors, long_messages_are_cut_between_characters) {
    std::string text;
    while (text.size() < 2 * HF_ERROR_MESSAGE_SIZE) text += "ü";
    const auto e = make_hf_error({errc::internal, "x" + text});
    const auto n = std::strlen(e.message);
    EXPECT_LT(n, HF_ERROR_MESSAGE_SIZE);
    EXPECT_EQ((n - 1) % 2, 0u);
}
TEST(abi_errors, a_shorter_struct_is_respected) {
    struct { hf_error e; } guard{};
    std::memset(&guard, 0x5a, sizeof guard);
    guard.e.size = 12;
    fill(&guard.e, {errc::timeout, "text"});
    EXPECT_EQ(guard.e.code, HF_E_TIMEOUT);
    EXPECT_EQ(guard.e.message[0], 0x5a);
    fill(nullptr, {errc::timeout, "text"});
}

}  // namespace
}  // namespace holdfast::plugins
