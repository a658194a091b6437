#pragma once
// Drives supervisor_decision in simulated time and writes what it does as a line: "start a1", "stop b1", "kill c2" …
#include <gtest/gtest.h>

#include <map>

#include "kernel/supervise/supervisor_decision.hpp"

namespace holdfast::supervise {

inline const exit_reason boom{exit_kind::error, 0, "boom"};
inline const exit_reason fine{exit_kind::normal, 0, {}};
inline const exit_reason told{exit_kind::shutdown, 0, {}};

struct fixed_random final : random_source {
    double value = 0.5;  // no jitter
    double uniform() override { return value; }
};

class rig {
  public:
    explicit rig(supervisor_rules rules = {}) : decision(std::move(rules), random) {}

    static child_rules child(std::string id, restart_type type = restart_type::permanent) {
        child_rules c;
        c.id = std::move(id);
        c.restart = type;
        return c;
    }
    /// Adds children and starts all; every start succeeds at once.
    rig& with(std::vector<child_rules> list) {
        for (auto& c : list) feed(event::add_child{std::move(c), 0});
        feed(event::start_all{});
        while (bring_up()) {
        }
        take();
        return *this;
    }
    template <class E>
    void feed(E e) {
        std::vector<supervisor_action> out;
        decision.on(std::move(e), now, out);
        for (auto& a : out) std::visit([this](auto& x) { this->note(x); }, a);
    }
    child_view at(const std::string& id) const { return decision.find(id).value(); }
    bool has(const std::string& id) const { return decision.find(id).has_value(); }
    child_state state(const std::string& id) const { return at(id).state; }
    void up(const std::string& id) { feed(event::started{at(id).key, at(id).incarnation}); }
    void start_fails(const std::string& id, errc code = errc::io_error) {
        feed(event::start_failed{at(id).key, at(id).incarnation, {exit_kind::start_failure, static_cast<int>(code), "no"}});
    }
    void ends(const std::string& id, exit_reason why = boom) { feed(event::exited{at(id).key, at(id).incarnation, std::move(why)}); }
    /// Confirms one pending start. false: none.
    bool bring_up() {
        for (const auto& c : decision.children())
            if (c.state == child_state::starting) {
                feed(event::started{c.key, c.incarnation});
                return true;
            }
        return false;
    }
    void run_starts() { while (bring_up()) {} }
    /// Confirms every stop until nothing is stopping.
    void run_stops() {
        for (bool again = true; again;) {
            again = false;
            for (const auto& c : decision.children())
                if (c.state == child_state::stopping) {
                    feed(event::exited{c.key, c.incarnation, told});
                    again = true;
                    break;
                }
        }
    }
    /// Moves time, firing timers on the way.
    void pass(nanoseconds d) {
        const auto end = now + d;
        for (;;) {
            auto next = timers.end();
            for (auto it = timers.begin(); it != timers.end(); ++it)
                if (it->second <= end && (next == timers.end() || it->second < next->second)) next = it;
            if (next == timers.end()) break;
            const auto token = next->first;
            now = std::max(now, next->second);
            timers.erase(next);
            feed(event::timer{token});
        }
        now = end;
    }
    std::string take() { return std::exchange(trace, {}); }

    fixed_random random;
    steady_time now{std::chrono::hours(1)};
    supervisor_decision decision;
    std::string trace;
    std::map<std::uint64_t, steady_time> timers;
    std::vector<action::report> reports;
    std::map<request_id, std::string> answers;  // "ok" or the code's name
    std::optional<exit_reason> finished;
    bool initialised = false;

  private:
    void say(const std::string& verb, child_key key, std::uint32_t incarnation) {
        if (!trace.empty()) trace += ", ";
        trace += verb + " " + ids[key] + std::to_string(incarnation);
    }
    void learn() {
        for (const auto& c : decision.children()) ids[c.key] = c.id;
    }
    void note(action::start& a) { learn(); say("start", a.key, a.incarnation); }
    void note(action::stop& a) { say("stop", a.key, a.incarnation); }
    void note(action::kill& a) { say("kill", a.key, a.incarnation); }
    void note(action::abandon& a) { say("abandon", a.key, a.incarnation); }
    void note(action::arm& a) { timers[a.token] = a.at; }
    void note(action::disarm& a) { timers.erase(a.token); }
    void note(action::report& a) { reports.push_back(a); }
    void note(action::answer& a) {
        EXPECT_EQ(answers.count(a.request), 0u) << "answered twice: " << a.request;
        answers[a.request] = a.outcome ? "ok" : std::string(holdfast::to_string(a.outcome.error().code));
    }
    void note(action::removed&) {}
    void note(action::initialised&) { initialised = true; }
    void note(action::finished& a) {
        EXPECT_FALSE(finished.has_value());
        finished = a.reason;
    }
    std::map<child_key, std::string> ids;
};

inline supervisor_rules rules_of(strategy how, restart_intensity limit = {1000, std::chrono::hours(1000)}) {
    supervisor_rules r;
    r.how = how;
    r.intensity = limit;
    r.backoff = backoff_policy::none();
    return r;
}
inline supervisor_rules dynamic_rules(std::uint32_t max = default_max_children) {
    auto r = rules_of(strategy::one_for_one);
    r.dynamic = true;
    r.max_children = max;
    return r;
}

}  // namespace holdfast::supervise
