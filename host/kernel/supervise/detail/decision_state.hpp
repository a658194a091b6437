#pragma once
// The state behind supervisor_decision, and the small steps on it that take no decision. Private to supervisor_decision.cpp.
#include <map>
#include <unordered_map>

#include "kernel/supervise/supervisor_decision.hpp"

namespace holdfast::supervise::detail {

/// Why a child is being stopped; a stronger cause replaces a weaker one.
enum class stop_cause : std::uint8_t { none, group, start_timeout, api, shutdown };
enum class phase : std::uint8_t { idle, initialising, running, stopping, finished };

struct child_record {
    child_rules rules;
    child_key key = 0;
    child_state state = child_state::stopped;
    std::uint32_t incarnation = 0, first_incarnation = 0, restarts = 0;
    bool want_up = false;      ///< nobody stopped it, and it did not end for good
    bool first_start = false;  ///< asked for by somebody, so a failure is answered, not retried
    bool needs_stop = false;   ///< part of a group that is being restarted
    bool killed = false;
    bool in_flight = false;    ///< counted in stopping_now
    bool abandoned = false;    ///< its last incarnation never confirmed its exit
    stop_cause cause = stop_cause::none;
    std::uint64_t token = 0;   ///< its one timer
    steady_time running_since{};
    backoff_state backoff;
    std::optional<exit_reason> last_exit;
    std::unique_ptr<restart_window> own_window;
    std::vector<request_id> waiting_start, waiting_stop;

    bool alive() const { return state == child_state::starting || state == child_state::running || state == child_state::stopping; }
    child_view view() const {
        return {key, rules.significant, rules.id, rules.kind, state, rules.restart, restarts, incarnation, last_exit, running_since};
    }
};

inline steady_time saturating_add(steady_time t, nanoseconds d) { return d > steady_time::max() - t ? steady_time::max() : t + d; }

struct decision_state {
    decision_state(supervisor_rules r, random_source& source) : rules(std::move(r)), random(source), window(rules.intensity) {}

    supervisor_rules rules;
    random_source& random;
    restart_window window;
    phase mode = phase::idle;
    std::map<child_key, child_record> children;  // keys grow, so this is spec order
    std::unordered_map<std::string, child_key> ids;
    std::unordered_map<std::uint64_t, std::pair<child_key, timer_purpose>> timers;
    std::uint64_t last_token = 0;
    child_key last_key = 0;
    std::size_t alive_count = 0;
    exit_reason final_reason;
    // one group restart at a time
    bool group_pending = false, group_due = false;
    std::uint64_t group_token = 0;
    child_key group_trigger = 0;
    // stop of dynamic children
    std::uint64_t stop_token = 0;
    child_key stop_cursor = 0;
    std::size_t stopping_now = 0;
    // set during one event
    steady_time now{};
    std::vector<supervisor_action>* out = nullptr;

    child_record* find(child_key key) {
        const auto it = children.find(key);
        return it == children.end() ? nullptr : &it->second;
    }
    child_record* by_id(const std::string& id) {
        const auto it = ids.find(id);
        return it == ids.end() ? nullptr : find(it->second);
    }
    /// The child, if this incarnation is the one that is alive. Everything else is late news of a dead one.
    child_record* current(child_key key, std::uint32_t incarnation) {
        auto* c = find(key);
        return c && c->alive() && c->incarnation == incarnation ? c : nullptr;
    }
    const backoff_policy& policy(const child_record& c) const { return c.rules.backoff ? *c.rules.backoff : rules.backoff; }

    void answer(request_id request, result<child_key> outcome) {
        if (request) out->push_back(action::answer{request, std::move(outcome)});
    }
    void report(report_kind kind, const child_record& c, exit_reason why) {
        out->push_back(action::report{kind, c.key, c.rules.id, c.rules.kind, c.incarnation, std::move(why), c.rules.restart, c.rules.significant});
    }
    void arm(child_record& c, timer_purpose purpose, nanoseconds delay) {
        disarm(c);
        c.token = ++last_token;
        timers.emplace(c.token, std::pair(c.key, purpose));
        out->push_back(action::arm{c.token, purpose, saturating_add(now, delay)});
    }
    void disarm(child_record& c) {
        if (!c.token) return;
        timers.erase(c.token);
        out->push_back(action::disarm{std::exchange(c.token, 0)});
    }
    /// It is down and stays so: answers who waits, and forgets temporary and dynamic children.
    void settle(child_record& c) {
        c.state = std::exchange(c.abandoned, false) ? child_state::quarantined : child_state::stopped;
        for (auto r : std::exchange(c.waiting_start, {}))
            answer(r, fail(errc::cancelled, "\"" + c.rules.id + "\" was stopped before it ran"));
        for (auto r : std::exchange(c.waiting_stop, {})) answer(r, c.key);
        if (rules.dynamic || c.rules.restart == restart_type::temporary) forget(c);
    }
    void forget(child_record& c) {
        disarm(c);
        const auto key = c.key;
        out->push_back(action::removed{key});
        ids.erase(c.rules.id);
        children.erase(key);
    }
};

}  // namespace holdfast::supervise::detail
