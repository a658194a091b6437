#include "kernel/plugins/instance_state.hpp"

#include <array>

namespace holdfast::plugins {

using namespace std::string_literals;

using step = instance_step;

std::string_view to_string(instance_phase p) noexcept {
    static constexpr std::array<std::string_view, instance_phase_count> names{"discovered", "verified", "loaded",  "created",  "ready",       "active",
                                                                             "quiescing",  "stopped",  "retired", "backoff", "quarantined", "failed"};
    return names[static_cast<std::size_t>(p)];
}
std::string_view to_string(step s) noexcept {
    static constexpr std::array<std::string_view, instance_step_count> names{"verify", "load", "create", "init", "start", "quiesce", "stop", "revoke", "destroy"};
    return names[static_cast<std::size_t>(s)];
}

void instance_machine::on(const any_instance_event& event, actions& out) {
    if (finished_) return;
    if (const auto* begin = std::get_if<instance_event::begin>(&event)) {
        if (begun_) return;
        begun_ = true;
        hold_ = begin->hold;
        if (stop_asked_) return finish(out);
        run(step::verify, out);
    } else if (std::holds_alternative<instance_event::go>(event)) {
        hold_ = false;
        if (std::exchange(held_, false)) run(step::start, out);
    } else if (const auto* done = std::get_if<instance_event::step_done>(&event)) {
        step_done(*done, out);
    } else if (std::holds_alternative<instance_event::stop_asked>(event)) {
        if (stop_asked_) return;
        stop_asked_ = true;
        if (!begun_) return finish(out);
        if (std::exchange(held_, false)) return unwind(out);
        if (draining_) return quiesce(out);
        if (phase_ == instance_phase::active && !unwinding_) {
            out.push_back(instance_action::withdraw{"it is being stopped"});
            move(instance_phase::quiescing, {}, out);
            run(step::quiesce, out);
        }
        // else: a step is under way and what follows it looks at ending()
    } else if (std::holds_alternative<instance_event::retired>(event)) {
        if (stop_asked_ || draining_) return;
        if (phase_ != instance_phase::active || unwinding_) return on(instance_event::stop_asked{}, out);
        out.push_back(instance_action::withdraw{"another version serves in its place"});
        move(instance_phase::quiescing, {}, out);
        draining_ = true;
        out.push_back(instance_action::await_leases{true});
    } else if (const auto* crash = std::get_if<instance_event::crashed>(&event)) {
        if (!begun_ || unwinding_) return;  // on its way out already: the first reason stands
        if (fault_.empty()) fault_ = crash->why.empty() ? "crashed"s : crash->why;
        if (phase_ == instance_phase::active) {
            out.push_back(instance_action::withdraw{fault_});
            move(instance_phase::failed, fault_, out);
            if (!running_) unwind(out);
        } else if (held_ || draining_) {
            held_ = draining_ = false;
            unwind(out);
        }
    } else if (draining_ && (std::holds_alternative<instance_event::leases_gone>(event) || std::holds_alternative<instance_event::leases_late>(event))) {
        quiesce(out);
    } else if (std::holds_alternative<instance_event::leases_gone>(event)) {
        if (!awaiting_leases_) return;
        awaiting_leases_ = false;
        run(step::destroy, out);
    } else if (std::holds_alternative<instance_event::leases_late>(event)) {
        if (!awaiting_leases_) return;
        awaiting_leases_ = false;
        out.push_back(instance_action::defer_destroy{});
        exists_ = false;
        finish(out);
    } else {  // kill
        if (running_) {
            hang_ = true;
            lost_control_ |= *running_ != step::revoke;
            if (fault_.empty()) fault_ = std::string(to_string(*running_)) + " did not end in time";
            running_.reset();
        } else if (fault_.empty() && !stop_asked_) {
            fault_ = "killed";
        }
        if (published_) out.push_back(instance_action::withdraw{fault_});
        if (need_revoke_) out.push_back(instance_action::end_calls{fault_.empty() ? "killed"s : fault_});
        if (awaiting_leases_ && !hang_) out.push_back(instance_action::defer_destroy{});
        else if (exists_ || hang_) out.push_back(instance_action::abandon{});
        exists_ = false;
        finish(out);
    }
}

void instance_machine::step_done(const instance_event::step_done& e, actions& out) {
    if (running_ != e.step) return;
    running_.reset();
    // After these calls the instance exists, or start has to be undone, even if they failed.
    if (e.step == step::create && e.outcome == step_outcome::ok) exists_ = true;
    if (e.outcome == step_outcome::timed_out) hang_ = true, lost_control_ |= e.step != step::revoke;
    if (e.outcome != step_outcome::ok && fault_.empty()) {
        fault_ = std::string(to_string(e.step)) + (e.outcome == step_outcome::threw ? " threw: " : e.outcome == step_outcome::timed_out ? " did not return in time: " : " failed: ") + e.why;
        // Refusing to stop nicely is no reason to call an asked stop a failure; losing a thread is.
        if (stop_asked_ && e.outcome == step_outcome::failed) fault_.clear();
    }
    if (e.outcome == step_outcome::threw && e.step == step::destroy) {
        out.push_back(instance_action::abandon{});  // half destroyed: neither usable nor freeable
        exists_ = false;
    }
    advance(e.step, out);
}

void instance_machine::advance(step done, actions& out) {
    if (unwinding_ || done >= step::quiesce) {
        if (done == step::stop) need_stop_ = false;
        if (done == step::revoke) need_revoke_ = false;
        if (done == step::destroy) exists_ = false;
        return unwind(out);
    }
    if (fault_.empty()) {
        static constexpr std::array<instance_phase, 4> reached{instance_phase::verified, instance_phase::loaded, instance_phase::created, instance_phase::ready};
        if (done == step::start && !stop_asked_) {
            was_ready_ = published_ = true;
            out.push_back(instance_action::publish{});  // before it is said: whoever hears "active" can resolve
            move(instance_phase::active, {}, out);
            return;
        }
        if (done != step::start) move(reached[static_cast<std::size_t>(done)], {}, out);
    }
    if (ending()) return unwind(out);
    if (done == step::init && hold_) {
        held_ = true;
        out.push_back(instance_action::held{});
        return;
    }
    run(static_cast<step>(static_cast<int>(done) + 1), out);
}

void instance_machine::run(step s, actions& out) {
    if (s == step::create) need_revoke_ = true;
    if (s == step::start) need_stop_ = true;
    running_ = s;
    out.push_back(instance_action::run{s});
}

void instance_machine::quiesce(actions& out) {
    draining_ = false;
    stop_asked_ = true;
    run(step::quiesce, out);
}

void instance_machine::move(instance_phase to, std::string reason, actions& out) {
    if (phase_ == to) return;
    out.push_back(instance_action::moved{phase_, to, std::move(reason)});
    phase_ = to;
}

/// One step of the way out; called again when that step is done.
void instance_machine::unwind(actions& out) {
    const bool first = !unwinding_;
    unwinding_ = true;
    if (!fault_.empty()) {
        if (published_ && first && phase_ == instance_phase::active) out.push_back(instance_action::withdraw{fault_});
        move(instance_phase::failed, fault_, out);
    }
    if (need_stop_ && !hang_) return run(step::stop, out);
    if (need_revoke_) {
        out.push_back(instance_action::end_calls{fault_.empty() ? "it was stopped" : fault_});
        return run(step::revoke, out);  // host-side: has a thread of its own when the instance's is lost
    }
    if (hang_) {
        out.push_back(instance_action::abandon{});
        exists_ = false;
        return finish(out);
    }
    if (exists_) {
        if (fault_.empty()) move(instance_phase::stopped, {}, out);
        awaiting_leases_ = true;
        out.push_back(instance_action::await_leases{});
        return;
    }
    finish(out);
}

void instance_machine::finish(actions& out) {
    finished_ = true;
    move(fault_.empty() ? instance_phase::stopped : instance_phase::failed, fault_, out);
    out.push_back(instance_action::finished{was_ready_, stop_asked_ && fault_.empty(), lost_control_, fault_});
}

}  // namespace holdfast::plugins
