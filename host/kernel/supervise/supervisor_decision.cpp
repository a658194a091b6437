// Static supervisors are reconciled: every child has a wanted and an actual state, and after each event the next step of the
// ordered stop (last first) or of the ordered start (first first) is taken. Dynamic children and one_for_one need no order while
// running, so each is handled alone, in constant time.
#include "kernel/supervise/supervisor_decision.hpp"

#include "kernel/supervise/detail/decision_state.hpp"

namespace holdfast::supervise {

using detail::child_record;
using detail::phase;
using detail::saturating_add;
using detail::stop_cause;

struct supervisor_decision::impl : detail::decision_state {
    using detail::decision_state::decision_state;

    // ---- events

    void on(event::start_all&) {
        if (mode != phase::idle) return;
        mode = phase::initialising;
        for (auto& [key, c] : children) {
            c.want_up = c.first_start = true;
            c.state = child_state::restarting;
        }
        reconcile();
    }

    void on(event::add_child& e) {
        if (mode == phase::stopping || mode == phase::finished)
            return answer(e.request, fail(errc::cancelled, "the supervisor is stopping"));
        if (auto ok = check_rules(e.rules, rules); !ok) return answer(e.request, tl::unexpected<error>(ok.error()));
        if (auto* c = by_id(e.rules.id)) return add_existing(*c, e);
        if (children.size() >= rules.max_children)
            return answer(e.request, fail(errc::max_children, "the limit of " + std::to_string(rules.max_children) + " children is reached"));
        const child_key key = ++last_key;
        auto& c = children[key];
        c.key = key;
        ids[e.rules.id] = key;
        c.rules = std::move(e.rules);
        if (mode == phase::idle) return answer(e.request, key);
        begin_first_start(c, e.request);
    }
    void add_existing(child_record& c, const event::add_child& e) {
        const auto id = '"' + c.rules.id + '"';
        if (e.join && mode != phase::idle) switch (c.state) {
                case child_state::running: return answer(e.request, c.key);
                case child_state::starting:
                case child_state::restarting: return c.waiting_start.push_back(e.request);
                case child_state::stopped:
                case child_state::quarantined: return begin_first_start(c, e.request);
                case child_state::stopping: break;
            }
        switch (c.state) {
            case child_state::restarting: return answer(e.request, fail(errc::restarting, id + " is being restarted"));
            case child_state::stopped:
            case child_state::quarantined: return answer(e.request, fail(errc::already_present, id + " exists and is stopped; restart or delete it"));
            default: return answer(e.request, fail(errc::already_started, id + " is running already"));
        }
    }
    void begin_first_start(child_record& c, request_id request) {
        if (request) c.waiting_start.push_back(request);
        c.want_up = c.first_start = true;
        c.state = child_state::restarting;
        if (ordered())
            reconcile();
        else
            attempt(c);
    }

    void on(event::terminate_child& e) {
        auto* c = by_id(e.id);
        if (!c) return answer(e.request, fail(errc::not_found, "no child \"" + e.id + "\""));
        c->want_up = false;
        if (c->alive()) {
            if (e.request) c->waiting_stop.push_back(e.request);
            begin_stop(*c, stop_cause::api);
        } else {
            disarm(*c);
            if (e.request) c->waiting_stop.push_back(e.request);
            settle(*c);
        }
        reconcile();
    }

    void on(event::restart_child& e) {
        auto* c = by_id(e.id);
        if (!c) return answer(e.request, fail(errc::not_found, "no child \"" + e.id + "\""));
        if (mode == phase::stopping || mode == phase::finished)
            return answer(e.request, fail(errc::cancelled, "the supervisor is stopping"));
        switch (c->state) {
            case child_state::stopped:
            case child_state::quarantined: return begin_first_start(*c, e.request);
            case child_state::restarting:
            case child_state::starting: return answer(e.request, fail(errc::restarting, "\"" + e.id + "\" is being restarted"));
            default: return answer(e.request, fail(errc::running, "\"" + e.id + "\" is running; terminate it first"));
        }
    }

    void on(event::delete_child& e) {
        auto* c = by_id(e.id);
        if (!c) return answer(e.request, fail(errc::not_found, "no child \"" + e.id + "\""));
        switch (c->state) {
            case child_state::stopped:
            case child_state::quarantined: {
                const auto key = c->key;
                forget(*c);
                return answer(e.request, key);
            }
            case child_state::restarting:
            case child_state::starting: return answer(e.request, fail(errc::restarting, "\"" + e.id + "\" is being restarted"));
            default: return answer(e.request, fail(errc::running, "\"" + e.id + "\" is running; terminate it first"));
        }
    }

    void on(event::started& e) {
        auto* c = current(e.key, e.incarnation);
        if (!c) return;
        if (c->state == child_state::stopping) {  // it came up while it was being stopped: now there is something to stop
            if (c->killed)
                out->push_back(action::kill{c->key, c->incarnation});
            else
                out->push_back(action::stop{c->key, c->incarnation});
            return;
        }
        if (c->state != child_state::starting) return;
        disarm(*c);
        c->state = child_state::running;
        c->running_since = now;
        c->first_start = false;
        c->backoff.healthy(now);
        report(report_kind::progress, *c, {});
        for (auto r : std::exchange(c->waiting_start, {})) answer(r, c->key);
        if (ordered()) reconcile();
    }

    void on(event::start_failed& e) {
        auto* c = current(e.key, e.incarnation);
        if (!c) return;
        if (c->state == child_state::stopping) return stopped(*c, std::move(e.reason));
        if (c->state == child_state::starting) did_not_start(*c, std::move(e.reason));
    }

    void on(event::exited& e) {
        auto* c = current(e.key, e.incarnation);
        if (!c) return;
        switch (c->state) {
            case child_state::stopping: return stopped(*c, std::move(e.reason));
            case child_state::starting: {
                if (e.reason.kind != exit_kind::start_failure && e.reason.kind != exit_kind::start_timeout)
                    e.reason = {exit_kind::start_failure, static_cast<int>(errc::internal), "ended while starting: " + e.reason.text()};
                return did_not_start(*c, std::move(e.reason));
            }
            case child_state::running: return ended_itself(*c, std::move(e.reason));
            default: return;
        }
    }

    void on(event::timer& e) {
        if (e.token == group_token && group_token) {
            group_token = 0;
            group_due = true;
            return reconcile();
        }
        if (e.token == stop_token && stop_token) {
            stop_token = 0;
            for (auto& [key, c] : children)
                if (c.alive() && !c.killed) {
                    if (c.state != child_state::stopping) begin_stop(c, stop_cause::shutdown);
                    if (!c.killed) kill(c);
                }
            return;
        }
        const auto it = timers.find(e.token);
        if (it == timers.end()) return;  // cancelled in the meantime: a no-op (S5)
        const auto [key, purpose] = it->second;
        timers.erase(it);
        auto& c = children.at(key);
        c.token = 0;
        switch (purpose) {
            case timer_purpose::retry: return attempt(c);
            case timer_purpose::shutdown_deadline: return kill(c);
            case timer_purpose::start_deadline:
                c.state = child_state::stopping;
                c.cause = stop_cause::start_timeout;
                return kill(c);
            case timer_purpose::kill_deadline: {
                exit_reason why{exit_kind::hang, 0, "did not end when it was killed; left behind"};
                report(report_kind::shutdown_error, c, why);
                out->push_back(action::abandon{c.key, c.incarnation});
                c.abandoned = true;
                return stopped(c, std::move(why));
            }
            case timer_purpose::stop_deadline: return;
        }
    }

    void on(event::stop& e) {
        if (mode == phase::stopping || mode == phase::finished) return;
        shut_down(std::move(e.reason));
    }

    // ---- ends

    /// The exit of a child that was being stopped is confirmed.
    void stopped(child_record& c, exit_reason why) {
        disarm(c);
        const auto cause = std::exchange(c.cause, stop_cause::none);
        const bool forced = std::exchange(c.killed, false) && c.rules.shutdown.how != shutdown_policy::mode::immediate;
        --alive_count;
        if (std::exchange(c.in_flight, false)) --stopping_now;
        c.last_exit = why;
        if (cause == stop_cause::start_timeout && mode != phase::stopping) {
            c.state = child_state::starting;  // as if its start had failed just now
            ++alive_count;
            return did_not_start(c, {exit_kind::start_timeout, static_cast<int>(errc::timeout),
                                     "not ready within " + std::to_string(c.rules.start_deadline.count()) + " ms"});
        }
        if (!c.abandoned) report(forced || why.abnormal() ? report_kind::shutdown_error : report_kind::shutdown, c, why);
        const bool again = cause == stop_cause::group && c.want_up && c.rules.restart != restart_type::temporary;
        if (again && mode != phase::stopping) {
            c.state = child_state::restarting;
            c.abandoned = false;
        } else {
            settle(c);
        }
        reconcile();
    }

    void did_not_start(child_record& c, exit_reason why) {
        const auto key = c.key;
        disarm(c);
        --alive_count;
        c.state = child_state::restarting;
        c.last_exit = why;
        report(report_kind::start_error, c, why);
        if (mode == phase::stopping) {
            settle(c);
            return drive_stop();
        }
        if (c.first_start) {
            const error cause{static_cast<errc>(why.code), "\"" + c.rules.id + "\" did not start: " + why.detail};
            c.want_up = false;
            for (auto r : std::exchange(c.waiting_start, {})) answer(r, tl::unexpected<error>(cause));
            if (mode == phase::initialising) {
                why.detail = cause.message;
                return shut_down(std::move(why));
            }
            const bool added_now = c.incarnation == c.first_incarnation;  // start_child that failed leaves nothing behind
            settle(c);
            if (added_now && find(key)) forget(c);
            return reconcile();
        }
        const auto what = decide(c, why);
        if (what == failure_action::escalate) return escalate(c, why);
        if (what == failure_action::stop) return stays_down(c);
        c.backoff.failed(policy(c), now);
        schedule(c, true);
    }

    void ended_itself(child_record& c, exit_reason why) {
        --alive_count;
        c.last_exit = why;
        c.state = child_state::stopped;
        report(report_kind::child_terminated, c, why);
        if (mode == phase::stopping) {  // nothing restarts any more
            settle(c);
            return drive_stop();
        }
        switch (decide(c, why)) {
            case failure_action::escalate: return escalate(c, why);
            case failure_action::stop: return stays_down(c);
            case failure_action::restart: break;
        }
        c.backoff.failed(policy(c), now);
        schedule(c, false);
    }

    /// It ended by itself and is not restarted.
    void stays_down(child_record& c) {
        c.want_up = false;
        const bool significant = c.rules.significant;
        const auto id = c.rules.id;
        settle(c);
        if (significant && mode != phase::stopping && mode != phase::finished) {
            bool last = true;
            for (const auto& [key, other] : children) last = last && !(other.rules.significant && other.want_up);
            if (rules.shutdown_when == auto_shutdown::any_significant ||
                (rules.shutdown_when == auto_shutdown::all_significant && last))
                return shut_down({exit_kind::shutdown, 0, "significant child \"" + id + "\" ended"});
        }
        reconcile();
    }

    failure_action decide(const child_record& c, const exit_reason& why) const {
        for (const auto& rule : c.rules.failures)
            if (rule.kind == why.kind && (!rule.code || *rule.code == why.code)) {
                if (rule.action == failure_action::restart && c.rules.restart == restart_type::temporary) break;  // S3: never
                return rule.action;
            }
        switch (c.rules.restart) {
            case restart_type::permanent: return failure_action::restart;
            case restart_type::transient: return why.abnormal() ? failure_action::restart : failure_action::stop;
            case restart_type::temporary: break;
        }
        return failure_action::stop;
    }

    // ---- restarts

    /// `queued`: through a timer even when there is no delay, so that a stop that is waiting wins (S5).
    void schedule(child_record& c, bool queued) {
        c.state = child_state::restarting;
        if (rules.how == strategy::one_for_one) {
            const auto delay = c.backoff.next(policy(c), random);
            if (delay.count() == 0 && !queued) return attempt(c);
            return arm(c, timer_purpose::retry, delay);
        }
        mark_group(c.key);
        if (!group_pending) {
            group_pending = true;
            group_trigger = c.key;
            const auto delay = c.backoff.next(policy(c), random);
            group_due = delay.count() == 0 && !queued;
            if (!group_due) {
                group_token = ++last_token;
                out->push_back(action::arm{group_token, timer_purpose::retry, saturating_add(now, delay)});
            }
        }
        reconcile();
    }

    void mark_group(child_key failed) {
        for (auto& [key, c] : children)
            if (c.alive() && (rules.how == strategy::one_for_all || key > failed)) c.needs_stop = true;
    }

    /// Stamps a restart. false: the budget is exceeded and has been dealt with.
    bool within_budget(child_record& c) {
        if (c.rules.budget) {
            if (!c.own_window) c.own_window = std::make_unique<restart_window>(c.rules.budget->limit);
            if (c.own_window->exceeded_by(now)) {
                if (!c.rules.budget->give_up) return escalate(c, *c.last_exit), false;
                exit_reason why{exit_kind::start_failure, static_cast<int>(errc::unavailable),
                                "given up: more restarts than its own budget allows"};
                report(report_kind::start_error, c, why);
                c.want_up = false;
                settle(c);
                reconcile();
                return false;
            }
        }
        if (window.exceeded_by(now)) return escalate(c, *c.last_exit), false;
        return true;
    }

    void attempt(child_record& c) {
        if (!c.first_start && !within_budget(c)) return;
        launch(c);
    }

    void launch(child_record& c) {
        c.state = child_state::starting;
        c.cause = stop_cause::none;
        c.killed = c.needs_stop = c.abandoned = false;
        ++alive_count;
        if (!c.first_start) ++c.restarts;
        ++c.incarnation;
        if (!c.first_incarnation) c.first_incarnation = c.incarnation;
        arm(c, timer_purpose::start_deadline, c.rules.start_deadline);
        out->push_back(action::start{c.key, c.incarnation});
    }

    void escalate(child_record& c, const exit_reason& why) {
        exit_reason last{exit_kind::shutdown, 0, "restart intensity exceeded by \"" + c.rules.id + "\" (" + why.text() + ")"};
        c.want_up = false;
        shut_down(std::move(last));
    }

    // ---- the next step

    bool ordered() const { return !rules.dynamic && (mode == phase::initialising || rules.how != strategy::one_for_one); }

    void reconcile() {
        if (mode == phase::stopping) return drive_stop();
        if (mode != phase::initialising && mode != phase::running) return;
        if (rules.dynamic && mode == phase::initialising) {  // nothing to wait for: its children come and go
            mode = phase::running;
            out->push_back(action::initialised{});
            for (auto& [key, c] : children)
                if (c.want_up && c.first_start && c.state == child_state::restarting) launch(c);
            return;
        }
        if (!ordered()) return;
        // Last first: one child of the group stops at a time, each confirmed before the next (S1, S6).
        for (auto it = children.rbegin(); it != children.rend(); ++it) {
            auto& c = it->second;
            if (!c.needs_stop) continue;
            if (!c.alive()) {
                c.needs_stop = false;
                continue;
            }
            if (c.state != child_state::stopping) begin_stop(c, stop_cause::group);
            return;
        }
        for (const auto& [key, c] : children)
            if (c.state == child_state::starting) return;  // one start at a time, each finished before the next (S1)
        for (auto& [key, c] : children) {
            if (!c.want_up || c.state == child_state::running) continue;
            if (c.state != child_state::restarting) return;  // stopping: wait for it
            if (!c.first_start && rules.how == strategy::one_for_one) continue;  // has a retry timer of its own
            if (!c.first_start && group_pending) {
                if (!group_due) return;
                group_pending = group_due = false;
                auto* trigger = find(group_trigger);
                // Its trigger may have been terminated by hand meanwhile: then the first of the group stands for it.
                if (!within_budget(trigger && trigger->want_up ? *trigger : c)) return;
            }
            return launch(c);
        }
        group_pending = false;
        if (mode == phase::initialising) {
            mode = phase::running;
            out->push_back(action::initialised{});
        }
    }

    void begin_stop(child_record& c, stop_cause cause) {
        c.needs_stop = false;
        if (c.state == child_state::stopping) {
            c.cause = std::max(c.cause, cause);
            return;
        }
        disarm(c);
        c.state = child_state::stopping;
        c.cause = cause;
        if (cause == stop_cause::group) c.needs_stop = true;
        if (c.rules.shutdown.how == shutdown_policy::mode::immediate) return kill(c);
        if (c.rules.shutdown.how == shutdown_policy::mode::timeout) arm(c, timer_purpose::shutdown_deadline, c.rules.shutdown.timeout);
        out->push_back(action::stop{c.key, c.incarnation});
    }

    void kill(child_record& c) {
        disarm(c);
        c.killed = true;
        arm(c, timer_purpose::kill_deadline, rules.kill_deadline);
        out->push_back(action::kill{c.key, c.incarnation});
    }

    void shut_down(exit_reason reason) {
        mode = phase::stopping;
        final_reason = std::move(reason);
        if (group_token) out->push_back(action::disarm{std::exchange(group_token, 0)});
        group_pending = false;
        std::vector<child_key> idle;
        for (auto& [key, c] : children) {
            c.want_up = c.needs_stop = false;
            if (!c.alive()) idle.push_back(key);
        }
        for (auto key : idle) {
            auto& c = children.at(key);
            disarm(c);
            settle(c);
        }
        if (rules.dynamic && alive_count > 0) {
            stop_token = ++last_token;
            out->push_back(action::arm{stop_token, timer_purpose::stop_deadline, saturating_add(now, rules.stop_deadline)});
        }
        drive_stop();
    }

    void drive_stop() {
        if (rules.dynamic) {  // unordered, in parallel, each child visited once: linear
            while (alive_count > 0 && stopping_now < dynamic_stop_parallelism) {
                auto it = children.upper_bound(stop_cursor);
                if (it == children.end()) break;
                stop_cursor = it->first;
                if (it->second.alive()) {
                    it->second.in_flight = true;
                    ++stopping_now;
                    begin_stop(it->second, stop_cause::shutdown);
                }
            }
        } else {
            for (auto it = children.rbegin(); it != children.rend(); ++it)
                if (it->second.alive()) {
                    begin_stop(it->second, stop_cause::shutdown);
                    return;
                }
        }
        if (alive_count > 0) return;
        if (stop_token) out->push_back(action::disarm{std::exchange(stop_token, 0)});
        mode = phase::finished;
        out->push_back(action::report{report_kind::shutdown, 0, {}, {}, 0, final_reason});
        out->push_back(action::finished{final_reason});
    }
};

supervisor_decision::supervisor_decision(supervisor_rules rules, random_source& random)
    : impl_(std::make_unique<impl>(std::move(rules), random)) {}
supervisor_decision::~supervisor_decision() = default;

void supervisor_decision::on(supervisor_event event, steady_time now, std::vector<supervisor_action>& out) {
    impl_->now = now;
    impl_->out = &out;
    std::visit([this](auto& e) { impl_->on(e); }, event);
    impl_->out = nullptr;
}

std::vector<child_view> supervisor_decision::children() const {
    std::vector<child_view> views;
    views.reserve(impl_->children.size());
    for (const auto& [key, c] : impl_->children) views.push_back(c.view());
    return views;
}

std::optional<child_view> supervisor_decision::find(std::string_view id) const {
    if (const auto* c = impl_->by_id(std::string(id))) return c->view();
    return std::nullopt;
}

std::optional<child_view> supervisor_decision::find(child_key key) const {
    if (const auto* c = impl_->find(key)) return c->view();
    return std::nullopt;
}

std::size_t supervisor_decision::size() const noexcept { return impl_->children.size(); }
bool supervisor_decision::stopping() const noexcept { return impl_->mode == detail::phase::stopping; }
bool supervisor_decision::finished() const noexcept { return impl_->mode == detail::phase::finished; }
const supervisor_rules& supervisor_decision::rules() const noexcept { return impl_->rules; }

}  // namespace holdfast::supervise
