#include "health-phi/phi.hpp"
#include "health-threshold/threshold.hpp"
#include "unit/policies/support.hpp"

namespace {

std::string refusal(const std::function<void()>& f) {
    try {
        f();
    } catch (const holdfast::sdk::plugin_error& e) {
        EXPECT_EQ(e.status().code, HF_E_INVALID);
        return e.what();
    }
    return {};
}
std::string consecutive(const char* text) {
    return refusal([&] { breaker_consecutive::rules::from(text); });
}
std::string window(const char* text) {
    return refusal([&] { breaker_window::rules::from(text); });
}

TEST(policy_settings, an_unknown_key_is_refused_with_the_nearest_one) {
    EXPECT_EQ(consecutive(R"({"failure_treshold":3})"), "there is no setting \"failure_treshold\" here; did you mean \"failure_threshold\"?");
    EXPECT_EQ(window(R"({"windowsize":3})"), "there is no setting \"windowsize\" here; did you mean \"window_size\"?");
    EXPECT_EQ(refusal([] { health_threshold::threshold t(R"({"intervall_s":3})", 1, 0); }), "there is no setting \"intervall_s\" here; did you mean \"interval_s\"?");
}

TEST(policy_settings, the_host_s_own_keys_are_accepted) {
    constexpr const char* breaker = R"({"use":"x","failure_threshold":5,"recovery_timeout_s":30,"max_timeout_s":600,"backoff_multiplier":2,"disable_after_minutes":30,"first_delay_s":1,"reset_after_s":600,"jitter":0.2})";
    EXPECT_EQ(consecutive(breaker), "");
    EXPECT_EQ(window(breaker), "");
    constexpr const char* health = R"({"use":"x","interval_s":30,"timeout_s":5,"failure_threshold":1,"success_threshold":1,"probe":{"tool":"t"}})";
    EXPECT_EQ(refusal([&] { health_threshold::threshold t(health, 1, 0); }), "");
    EXPECT_EQ(refusal([&] { health_phi::phi t(health, 1, 0); }), "");
}

TEST(policy_settings, wrong_values_are_refused_with_what_would_be_right) {
    EXPECT_EQ(consecutive(R"({"failure_threshold":0})"), "failure_threshold has to be a number from 1 to 10000");
    EXPECT_EQ(consecutive(R"({"failure_threshold":1.5})"), "failure_threshold has to be a whole number");
    EXPECT_EQ(consecutive(R"({"failure_threshold":"5"})"), "failure_threshold has to be a number from 1 to 10000");
    EXPECT_EQ(consecutive(R"({"recovery_timeout_s":0})"), "recovery_timeout_s has to be above 0");
    EXPECT_EQ(consecutive(R"({"recovery_timeout_s":60,"max_timeout_s":30})"), "max_timeout_s must not be below recovery_timeout_s");
    EXPECT_EQ(window(R"({"window_type":"sliding"})"), "window_type has to be \"count\" or \"time\"");
    EXPECT_EQ(window(R"({"window_size":5,"min_calls":6})"), "min_calls must not be above window_size: it could never open");
    EXPECT_EQ(consecutive("[1]"), "the settings of a policy have to be a JSON object");
    EXPECT_EQ(consecutive(R"({"failure_threshold":null})"), "") << "null is as if it were absent";
}

}  // namespace
