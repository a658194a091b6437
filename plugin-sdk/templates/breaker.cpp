// A circuit breaker that opens after `failure_threshold` failures in a row, and for twice as long each time it opens again.
// Time is an argument: a breaker that reads no clock can be tested exactly.
#include <algorithm>

#include "holdfast/breaker.hpp"

using namespace holdfast::sdk;

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t half_open_limit = 30 * second;  // a probe that takes longer counts as failed
constexpr std::int64_t longest_wait = 600 * second;

class my_policy final : public breaker_policy {
  public:
    my_policy(std::uint32_t threshold, std::int64_t wait) : threshold_(threshold), wait_(wait) { s_.generation = 1; }

    void permit(std::int64_t now, hf_permit& out) override {
        catch_up(now);
        out.generation = s_.generation;
        out.granted = s_.state == HF_BREAKER_CLOSED || (s_.state == HF_BREAKER_HALF_OPEN && !probing_);
        if (!out.granted) {
            ++s_.rejected;
            out.retry_after_ns = s_.state == HF_BREAKER_DISABLED ? -1 : s_.until_ns - now;
            return;
        }
        ++s_.calls;
        if (s_.state == HF_BREAKER_HALF_OPEN) probing_ = true, s_.until_ns = now + half_open_limit;
    }
    void report(std::uint64_t generation, std::int32_t outcome, std::int64_t, std::int64_t now) override {
        catch_up(now);
        if (outcome == HF_OUTCOME_FAILURE) ++s_.failures;
        if (generation != s_.generation) return;  // of a permit given before the last change of state
        if (s_.state == HF_BREAKER_HALF_OPEN) {
            probing_ = false;
            if (outcome == HF_OUTCOME_FAILURE) open(now);
            if (outcome == HF_OUTCOME_SUCCESS) enter(HF_BREAKER_CLOSED, 0), s_.open_count = 0;
        } else if (outcome == HF_OUTCOME_SUCCESS) {
            s_.consecutive_failures = 0;
        } else if (outcome == HF_OUTCOME_FAILURE && ++s_.consecutive_failures >= threshold_) {
            open(now);
        }
    }
    void state(std::int64_t now, hf_breaker_state& out) override {
        catch_up(now);
        out = s_;
    }
    void force(std::int32_t to, std::int64_t now) override {
        if (to == HF_BREAKER_OPEN) return open(now);
        enter(to == HF_BREAKER_DISABLED ? HF_BREAKER_DISABLED : HF_BREAKER_CLOSED, 0);
        s_.open_count = 0;
    }

  private:
    void enter(std::int32_t state, std::int64_t until) {
        s_.state = state, s_.until_ns = until, s_.consecutive_failures = 0;
        ++s_.generation;
        probing_ = false;
    }
    void open(std::int64_t now) {
        enter(HF_BREAKER_OPEN, now + std::min(wait_ << std::min(s_.open_count, 10u), longest_wait));
        ++s_.open_count;
    }
    void catch_up(std::int64_t now) {  // what the passing of time alone does
        if (s_.state == HF_BREAKER_OPEN && now >= s_.until_ns) enter(HF_BREAKER_HALF_OPEN, s_.until_ns + half_open_limit);
        if (s_.state == HF_BREAKER_HALF_OPEN && probing_ && now >= s_.until_ns) open(now);
    }
    const std::uint32_t threshold_;
    const std::int64_t wait_;
    bool probing_ = false;
    hf_breaker_state s_{};
};

class my_breaker final : public breaker {
  public:
    using breaker::breaker;
    std::unique_ptr<breaker_policy> make(std::string_view config, std::uint64_t, std::int64_t) override {
        const bool object = config.starts_with('{') && config.ends_with('}');
        const double threshold = json_number<double>(config, "failure_threshold", json_member(config, "failure_threshold").empty() ? 5 : 0);
        const double wait = json_number<double>(config, "recovery_timeout_s", json_member(config, "recovery_timeout_s").empty() ? 30 : 0);
        if (!object || threshold < 1 || wait <= 0 || wait > 600)
            throw plugin_error(HF_E_INVALID, "failure_threshold and recovery_timeout_s are numbers above 0");
        return std::make_unique<my_policy>(static_cast<std::uint32_t>(threshold), static_cast<std::int64_t>(wait * static_cast<double>(second)));
    }
};

HOLDFAST_PLUGIN(my_breaker, R"({"id":"my-plugin","kind":"breaker","version":"0.1.0","abi":[1,1],"interfaces":["hf.breaker/1"],"needs":[],
    "description":"Opens after failures in a row","settings":{"type":"object","properties":{},"additionalProperties":false}})")
