#include "servers/status_machine.hpp"

namespace holdfast::servers {
namespace {
constexpr nanoseconds soonest_retry = milliseconds(100);  // after a refused permit
}

void status_machine::on(const status_event& event, steady_time now, actions& out) {
    status_state& s = state;
    if (std::get_if<ev::begin>(&event)) {
        if (s.begun) return;
        s.begun = true;
        s.since = s.last_healthy = s.down_since = now;
        if (s.disabled != disabled_by::nobody) {
            go(status::disabled, s.reason, {}, now, out);
            return;
        }
        s.reason = "starting";
        attempt(now, out);
        return;
    }
    if (!s.begun) {  // a person may decide before the first attempt
        if (std::get_if<ev::disable>(&event)) s.disabled = disabled_by::person, s.reason = "disabled by a person";
        if (std::get_if<ev::stop>(&event) && s.disabled == disabled_by::nobody)
            s.disabled = disabled_by::stopped, s.reason = "stopped by a person";
        if (std::get_if<ev::enable>(&event)) s.disabled = disabled_by::nobody;
        if (std::get_if<ev::start>(&event) && s.disabled == disabled_by::stopped) s.disabled = disabled_by::nobody;
        return;
    }
    if (std::get_if<ev::attempt_ok>(&event)) {
        if (s.attempting) succeeded(now, out);
    } else if (auto* f = std::get_if<ev::attempt_failed>(&event)) {
        if (s.attempting) failed(f->reason, now, out);
    } else if (auto* r = std::get_if<ev::refused>(&event)) {
        if (!s.attempting) return;
        s.attempting = false;
        if (r->retry_after >= nanoseconds(0)) schedule(std::max(r->retry_after, soonest_retry), now);
    } else if (auto* l = std::get_if<ev::lost>(&event)) {
        if (s.now == status::healthy) lost(l->reason, l->how, now, out);
    } else if (std::get_if<ev::disable>(&event)) {
        disable(disabled_by::person, "disabled by a person", now, out);
    } else if (std::get_if<ev::stop>(&event)) {
        if (s.now != status::disabled) disable(disabled_by::stopped, "stopped by a person", now, out);
    } else if (std::get_if<ev::enable>(&event)) {
        if (s.now != status::disabled) return;
        s.exponent = 0;  // B3: a person's decision is a fresh start
        out.push_back(act::health{"manually_enabled", "by a person"});
        bring_back("enabled by a person", now, out);
    } else if (std::get_if<ev::start>(&event)) {
        if (s.now == status::disabled) {
            if (s.disabled == disabled_by::stopped) bring_back("started by a person", now, out);
        } else if (s.now != status::healthy && !s.attempting) {
            attempt(now, out);
        }
    } else if (auto* again = std::get_if<ev::restart>(&event)) {
        if (s.now == status::disabled) {
            if (s.disabled == disabled_by::stopped) bring_back(again->reason, now, out);
            return;
        }
        out.push_back(act::close{});
        s.attempting = false;
        s.failures = 0;
        s.short_lives = 0;
        s.restarted = {};
        if (s.now == status::healthy) s.last_healthy = s.down_since = now;
        if (s.now != status::disconnected) go(status::disconnected, again->reason, nanoseconds(0), now, out);
        s.reason = again->reason;
        attempt(now, out);
    } else {
        tick(now, out);
    }
}

std::optional<steady_time> status_machine::next_deadline() const {
    if (!state.begun || state.now == status::healthy || state.now == status::disabled) return {};
    const steady_time give_up = state.last_healthy + rules_.disable_after;
    return state.scheduled && !state.attempting ? std::min(state.next_attempt, give_up) : give_up;
}

void status_machine::tick(steady_time now, actions& out) {
    status_state& s = state;
    if (s.now == status::healthy || s.now == status::disabled) return;
    if (now >= s.last_healthy + rules_.disable_after) {
        const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(rules_.disable_after).count();
        const std::string why = "not healthy for " + std::to_string(minutes) + " minutes (last: " + s.reason +
                                "); enable it when it is repaired";
        disable(disabled_by::automatic, why, now, out);
        out.push_back(act::auto_disabled{why});
        return;
    }
    if (s.scheduled && !s.attempting && now >= s.next_attempt) attempt(now, out);
}

void status_machine::go(status to, std::string reason, std::optional<nanoseconds> eta, steady_time now, actions& out) {
    const status from = state.now;
    state.now = to;
    state.since = now;
    state.reason = reason;
    if (from != to) out.push_back(act::changed{from, to, std::move(reason), eta});
    out.push_back(act::persist{});
}

void status_machine::attempt(steady_time now, actions& out) {
    status_state& s = state;
    s.attempting = true;
    s.scheduled = false;
    const bool first = s.last_attempt == steady_time{};
    s.last_attempt = now;
    const bool probe = s.now == status::circuit_open;
    if (!first) {
        out.push_back(act::health{"recovery_attempt", (probe ? "probe after attempt " : "attempt ") + std::to_string(s.failures + (probe ? 0 : 1))});
        out.push_back(act::progress{s.failures + 1, rules_.attempts, {}});
    }
    out.push_back(act::connect{s.failures + 1, probe});
}

void status_machine::schedule(nanoseconds delay, steady_time now) {
    state.scheduled = true;
    state.next_attempt = now + delay;
}

nanoseconds status_machine::quick_delay(std::uint32_t n) const {
    supervise::backoff_policy p;
    p.initial = rules_.first_delay;
    p.multiplier = rules_.multiplier;
    p.cap = rules_.open_initial;
    return supervise::base_delay(p, n);
}

nanoseconds status_machine::probe_delay() {
    supervise::backoff_policy p;
    p.initial = p.floor = rules_.open_initial;
    p.cap = rules_.open_max;
    p.multiplier = rules_.multiplier;
    p.jitter = rules_.jitter;
    if (state.exponent < UINT32_MAX) ++state.exponent;
    return supervise::jittered_delay(p, state.exponent, *random_);
}

void status_machine::open_circuit(std::string reason, steady_time now, actions& out) {
    const nanoseconds delay = probe_delay();
    schedule(delay, now);
    go(status::circuit_open, reason, delay, now, out);
    out.push_back(act::health{"circuit_opened", reason});
    out.push_back(act::opened{std::move(reason), delay});
}

void status_machine::failed(const std::string& reason, steady_time now, actions& out) {
    status_state& s = state;
    s.attempting = false;
    s.reason = reason;
    if (s.failures < UINT32_MAX) ++s.failures;
    if (rules_.restarts == restart_limits{})
        return disable(disabled_by::stopped, reason + "; it is never started again by itself", now, out);
    out.push_back(act::close{});
    if (s.now == status::disconnected && s.failures >= rules_.attempts) {
        open_circuit(std::to_string(s.failures) + " attempts failed, the last: " + reason, now, out);
        return;
    }
    const nanoseconds delay = s.now == status::circuit_open ? probe_delay() : quick_delay(s.failures);
    schedule(delay, now);
    out.push_back(act::progress{s.failures, rules_.attempts, delay});
    out.push_back(act::persist{});
}

void status_machine::succeeded(steady_time now, actions& out) {
    status_state& s = state;
    const bool recovered = s.failures > 0 || s.recoveries > 0 || s.healthy_since != steady_time{};
    const bool was_open = s.now == status::circuit_open;
    s.attempting = false;
    s.scheduled = false;
    s.failures = 0;
    s.downtime += now - s.down_since;
    s.healthy_since = s.last_healthy = now;
    if (recovered) ++s.recoveries;
    go(status::healthy, recovered ? "recovered" : "connected", {}, now, out);
    out.push_back(act::health{"connected", {}});
    if (recovered) out.push_back(act::health{"recovery_success", {}});
    if (was_open) out.push_back(act::health{"circuit_closed", {}});
}

std::string status_machine::why_not_again(loss how) const {
    const std::uint32_t allowed = rules_.restarts[static_cast<std::size_t>(how)];
    if (rules_.restarts == restart_limits{}) return "it is never started again by itself";
    if (how == loss::exit && allowed == 0) return "it is not started again after a normal end";
    const std::string kind(loss_names[static_cast<std::size_t>(how)]);
    if (allowed == 0) return "restart_policy." + kind + " does not let it be started again";
    return "it was started again " + std::to_string(allowed) + " times after this, which is all restart_policy." + kind + " allows";
}

void status_machine::lost(const std::string& reason, loss how, steady_time now, actions& out) {
    status_state& s = state;
    const nanoseconds lived = now - s.healthy_since;
    if (lived >= rules_.reset_after) {  // B2: continuous health, never a spawn
        s.exponent = 0;
        s.restarted = {};
    }
    s.short_lives = lived < rules_.short_life ? s.short_lives + 1 : 0;
    s.last_healthy = s.down_since = now;
    s.failures = 0;
    const auto kind = static_cast<std::size_t>(how);
    if (s.restarted[kind] >= rules_.restarts[kind]) return disable(disabled_by::stopped, reason + "; " + why_not_again(how), now, out);
    ++s.restarted[kind];
    out.push_back(act::close{});
    const std::uint32_t over = s.short_lives > rules_.short_lives_allowed ? s.short_lives - rules_.short_lives_allowed : 0;
    if (over >= rules_.attempts) {
        // It starts and dies at once, again and again: that is a crash loop, not a recovery.
        s.short_lives = 0;
        out.push_back(act::health{"disconnected", reason});
        open_circuit("it does not stay up: " + reason, now, out);
        return;
    }
    const nanoseconds delay = over == 0 ? nanoseconds(0) : quick_delay(over);
    go(status::disconnected, reason, delay, now, out);
    out.push_back(act::health{"disconnected", reason});
    if (over == 0)
        attempt(now, out);
    else
        schedule(delay, now);
}

void status_machine::disable(disabled_by by, std::string reason, steady_time now, actions& out) {
    status_state& s = state;
    if (s.now == status::disabled && (s.disabled == by || by == disabled_by::stopped)) return;
    if (s.now == status::disconnected || s.now == status::circuit_open) s.downtime += now - s.down_since;
    out.push_back(act::close{});
    s.disabled = by;
    s.attempting = s.scheduled = false;
    go(status::disabled, std::move(reason), {}, now, out);
    if (by == disabled_by::person) out.push_back(act::health{"manually_disabled", s.reason});
    if (by == disabled_by::stopped) out.push_back(act::health{"disconnected", s.reason});
    if (by == disabled_by::automatic) out.push_back(act::health{"auto_disabled", s.reason});
}

void status_machine::bring_back(std::string reason, steady_time now, actions& out) {
    status_state& s = state;
    s.disabled = disabled_by::nobody;
    s.failures = s.short_lives = 0;
    s.restarted = {};
    s.last_healthy = s.down_since = now;
    go(status::disconnected, std::move(reason), nanoseconds(0), now, out);
    attempt(now, out);
}

}  // namespace holdfast::servers
